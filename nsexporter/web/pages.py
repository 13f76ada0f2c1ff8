"""The status page: what a person wants to see without Prometheus. Pure; HTML5, UTF-8."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from zlib import crc32

from nsexporter.model import NS_TYPES
from nsexporter.views.overview import Killed, Member, Node, Status, Use, title
from nsexporter.views.units import number, size, span
from nsexporter.web.document import clip, document, links, table, text
from nsexporter.web.routes import DOCS

_COLOURS = 10  # classes g0 to g9 of status.css
_MAX_KILLED = 20  # cgroups in the table of kills
_MAX_NODES = 2000  # cgroups in the tree: a page is for a person


def status_page(status: Status) -> bytes:
    """The whole page. Every text of the host is escaped and isolated in its direction."""
    parts = [
        *_head(status),
        "<main>\n",
        *_containers(status.uses, status.now),
        *_map(status.members, status.host_inodes),
        *_kills(status),
        *_tree(status.tree),
        *_unseen(status),
        "</main>\n",
    ]
    return document(f"nsexporter on {status.host.name}", parts, refreshed=True)


def landing(telemetry_path: str, version: str) -> bytes:
    """The page at / where the status page is off."""
    pages = links((telemetry_path, telemetry_path), (DOCS, "docs"))
    body = [f"<header>\n<h1>nsexporter {escape(version)}</h1>\n{pages}</header>\n"]
    return document("nsexporter", body)


def _head(status: Status) -> Iterable[str]:
    path = status.telemetry_path
    yield (
        f"<header>\n<h1>nsexporter on {text(status.host.name)}</h1>\n<p id=host>"
        f"{text(status.host.distribution or 'Linux')}, kernel {text(status.host.kernel)},"
        f" cgroup {escape(status.hierarchy)}, {size(status.memory_total)} of memory:"
        f" {status.cgroups} cgroups, {len(status.uses)} containers, {status.processes} processes,"
        f" {status.namespaces} namespaces, {number(status.oom_kills)} OOM kills since boot.</p>\n"
    )
    yield links((path, path), (DOCS, "docs"), ("/-/healthy", "healthy"), ("/-/ready", "ready"))
    seen = datetime.fromtimestamp(status.now, UTC)
    yield (
        f"<p class=mute>Version {escape(status.version)}, as of <time id=asof"
        f' datetime="{seen:%Y-%m-%dT%H:%M:%SZ}">{seen:%Y-%m-%d %H:%M:%S} UTC</time>.'
        "<span id=stale class=bad role=status></span></p>\n</header>\n"
    )


def _bar(share: float) -> str:
    kind = " hot" if share >= 0.9 else " warn" if share >= 0.7 else ""
    return (
        f'<svg class="bar{kind}" viewBox="0 0 100 10" preserveAspectRatio=none aria-hidden=true>'
        f"<rect width={share * 100:.0f} height=10 /></svg>"
    )


def _containers(uses: Sequence[Use], now: float) -> Iterable[str]:
    yield "<section aria-labelledby=c><h2 id=c>Containers, nearest to their limit first</h2>\n"
    if not uses:
        yield "<p>None is running here.</p></section>\n"
        return
    head = (
        "Name", "Of its effective limit", ">Usage", ">Headroom", ">OOM kills", ">failcnt",
        ">Stalled", "Runtime", "Pod", "Id",
    )  # fmt: skip
    yield from table("containers", "Containers", head, (_container(use, now) for use in uses))
    yield "</section>\n"


def _container(use: Use, now: float) -> str:
    one = use.container
    limited = use.limit is not None and use.limit < math.inf
    full = f"{_bar(use.fullness)}{use.fullness:.0%} of {size(use.limit)}" if limited else "no limit"
    kills = number(use.oom_kills)
    if use.oom_kills:
        ago = f", {span(now - use.last_kill)} ago" if use.last_kill is not None else ""
        kills = f"<span class=bad>{kills}{ago}</span>"
    stalled = "-" if use.stalled is None else f"{use.stalled:.1f}s"
    room = size(use.headroom) if limited else "-"
    return (
        f"<tr><th scope=row>{clip(title(one))}</th><td>{full}</td>"
        f"<td class=n>{size(use.usage)}</td><td class=n>{room}</td><td class=n>{kills}</td>"
        f"<td class=n>{number(use.failcnt)}</td><td class=n>{stalled}</td>"
        f"<td>{text(one.runtime or '-')}</td><td>{clip(one.pod_name or '-')}</td>"
        f"<td>{clip(one.label_id)}</td></tr>\n"
    )


def _kills(status: Status) -> Iterable[str]:
    yield "<section aria-labelledby=k><h2 id=k>OOM kills</h2>\n"
    if status.unattributed is None:
        yield "<p>Nothing tells of OOM kills here.</p></section>\n"
        return
    if status.killed:
        head = ("Last", "Of", "Task", ">Kills", "Why", "Cgroup whose limit was hit", "Still there")
        rows = (_kill(one, status.now) for one in status.killed[:_MAX_KILLED])
        yield from table("kills", "OOM kills, newest first", head, rows)
    else:
        yield "<p>None is remembered.</p>\n"
    left = len(status.killed) - _MAX_KILLED
    if left > 0:
        yield f"<p>{left} more cgroups with kills are in the metrics.</p>\n"
    if status.unattributed:
        yield f"<p>{status.unattributed} more since boot, of which nothing tells the cgroup.</p>\n"
    yield "</section>\n"


def _kill(one: Killed, now: float) -> str:
    account, last = one.account, one.account.last
    of = title(account.container) if account.container else account.cgroup
    when = "-" if last.time is None else f"{span(now - last.time)} ago"
    why = ", ".join(f"{name} {count}" for name, count in sorted(account.kills.items()))
    return (
        f"<tr><td>{when}</td><th scope=row>{clip(of)}</th><td>{clip(last.comm or '-')}</td>"
        f"<td class=n>{one.kills}</td><td>{escape(why)}</td><td>{clip(last.oom_memcg or '-')}</td>"
        f"<td>{'yes' if one.alive else 'no'}</td></tr>\n"
    )


def _map(members: Sequence[Member], host: Mapping[str, int]) -> Iterable[str]:
    """Containers by types: the same letter and colour in a column is the same namespace."""
    yield "<section aria-labelledby=n><h2 id=n>Namespaces</h2>\n"
    if not members:
        yield "<p>There is no container whose namespaces could be read.</p></section>\n"
        return
    yield (
        "<p class=mute>The same letter in a column is the same namespace; <em>own</em> is shared"
        " with no other container, <em>host</em> is the host's.</p>\n"
    )
    sharers: defaultdict[tuple[str, int], int] = defaultdict(int)
    for member in members:
        for ns_type, inodes in member.inodes.items():
            for inode in inodes:
                sharers[ns_type, inode] += 1
    letters: dict[tuple[str, int], int] = {}
    used: Counter[str] = Counter()
    for key, count in sharers.items():
        if count > 1 and host.get(key[0]) != key[1]:
            letters[key] = used[key[0]]
            used[key[0]] += 1

    def row(member: Member) -> str:
        cells = []
        for ns_type in NS_TYPES:
            inodes = member.inodes.get(ns_type, ())
            names = []
            colour = "own"
            for inode in inodes:
                letter = letters.get((ns_type, inode))
                if host.get(ns_type) == inode:
                    names.append("host")
                    colour = "host"
                elif letter is not None:
                    names.append(_letters(letter))
                    colour = f"g{letter % _COLOURS}"
                else:
                    names.append("own")
            shown = ", ".join(names) or "-"
            told = ", ".join(map(str, inodes))
            cells.append(f'<td class="ns {colour}" title="{told}">{shown}</td>')
        return f"<tr><th scope=row>{clip(title(member.container))}</th>{''.join(cells)}</tr>\n"

    many = len(letters)

    def sharing(member: Member) -> list[int]:
        """Who shares the network, or else something, stands together; who shares nothing, last."""
        return [
            min((letters.get((kind, i), many) for i in member.inodes.get(kind, ())), default=many)
            for kind in ("net", *NS_TYPES)
        ]

    head = ("Container", *(f"|{ns_type}" for ns_type in NS_TYPES))
    rows = map(row, sorted(members, key=sharing))
    yield from table("namespaces", "Which namespaces containers share", head, rows)
    yield "</section>\n"


def _letters(index: int) -> str:
    """A, B, … Z, AA, AB, …

    >>> _letters(0), _letters(25), _letters(26)
    ('A', 'Z', 'AA')
    """
    letters = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        letters = chr(ord("A") + rest) + letters
    return letters


def _tree(root: Node | None) -> Iterable[str]:
    yield "<section aria-labelledby=t><h2 id=t>Cgroups</h2>\n"
    if root is None:
        yield "<p>No cgroup could be read.</p></section>\n"
        return
    yield "<ul>\n"
    left = _MAX_NODES
    stack: list[Node | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            yield node
            continue
        left -= 1
        if left < 0:
            continue
        limited = node.limit is not None and node.limit < math.inf
        share = min(1.0, (node.usage or 0) / node.limit) if limited and node.limit else 0.0
        figures = f"{_bar(share) if limited else ''}{size(node.usage)}"
        if limited:
            figures += f" of {size(node.limit)}"
        of = f"{clip(node.container)} " if node.container else ""  # an id says little
        line = f"{of}{clip(node.name)} <span class=mute>{figures}</span>"
        if not node.children:
            yield f"<li class=leaf>{line}</li>\n"
            continue
        shown = " open" if node is root else ""
        name = f"d{crc32(node.path.encode('utf-8', 'replace')):x}"  # the same in the next page
        yield f"<li><details id={name}{shown}><summary>{line}</summary><ul>\n"
        stack.append("</ul></details></li>\n")
        stack.extend(reversed(node.children))
    yield "</ul>\n"
    if left < 0:
        yield f"<p>{-left} more cgroups are in the metrics.</p>\n"
    yield "</section>\n"


def _unseen(status: Status) -> Iterable[str]:
    yield "<section aria-labelledby=u><h2 id=u>What is not seen</h2>\n"
    missing = [one for one, holds in status.capabilities if not holds]
    if not missing:
        yield "<p>Nothing is missing.</p></section>\n"
        return
    yield "<ul>\n"
    for one in missing:
        yield (
            f"<li><strong>{escape(one.name)}</strong>: {escape(one.meaning)}"
            f" <span class=mute>To mend it: {escape(one.mend)}.</span></li>\n"
        )
    yield "</ul></section>\n"
