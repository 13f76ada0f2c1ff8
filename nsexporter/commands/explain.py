"""One container, cgroup or process: every number with its file, and what happens when it grows."""

from __future__ import annotations

import argparse
import json
import math
import re
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import replace

from nsexporter.collector import Collector
from nsexporter.commands import oom
from nsexporter.config import Config
from nsexporter.families.columns import Columns
from nsexporter.views import terminal
from nsexporter.views.explanation import Explanation, Figure, NotFoundError, Place, explain, find
from nsexporter.views.outlook import Step
from nsexporter.views.overview import title
from nsexporter.views.terminal import Cell, Column, Terminal
from nsexporter.views.units import printable, size

HELP = "one container, cgroup or process: its limits up to the root and what will happen"

_LOG = "journalctl _SYSTEMD_INVOCATION_ID"
_LONG_ID = re.compile(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b")
_STEPS = (
    Column(title=""),
    Column(title="USAGE", right=True),
    Column(title="LIMIT", right=True),
    Column(title="HEADROOM", right=True),
    Column(title="CGROUP", flexible=True),
)
_HIGH = Column(title="HIGH", right=True)
_PLACES = (Column(title="TYPE"), Column(title="INODE"), Column(title="WITH", flexible=True))
_FIGURES = (
    Column(title="VALUE", right=True),
    Column(title="METRIC"),
    Column(title="FROM", flexible=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "target",
        metavar="CONTAINER|CGROUP|PID",
        help="a container's name or id (or how it begins), a cgroup's path, or a PID",
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0, or 1 where there is no such container, cgroup or process.

    Of every cgroup, also those that are not exported.
    """
    all_ = replace(config.collection, max_cgroups=0, cgroup_allow=(), cgroup_deny=())
    collector = Collector(replace(config, collection=all_))
    try:
        columns = Columns(collector.collect())
        hierarchies = collector.hierarchies
    finally:
        collector.close()
    target: str = arguments.target
    if hierarchies is not None and f"{target}/".startswith(f"{hierarchies.memory}/"):
        target = target.removeprefix(str(hierarchies.memory)) or "/"
    try:
        told = explain(columns, find(columns.snapshot, target))
    except NotFoundError as error:
        print(f"nsexporter: {printable(str(error))}", file=sys.stderr)
        return 1
    if arguments.json:
        lines = [json.dumps(as_json(told), indent=2)]
    else:
        directory = "" if hierarchies is None else f"{hierarchies.memory}{told.cgroup.path}"
        lines = list(_text(told, directory, Terminal.of(sys.stdout)))
    return 0 if terminal.write(lines) else 1


def _text(told: Explanation, directory: str, out: Terminal) -> Iterator[str]:
    out = Terminal(min(out.width or 80, 120), out.colours)
    yield from _head(told, directory, out)
    yield from ("", out.paint("Limits up to the root (> is reached first)", terminal.BOLD))
    high = any(step.high not in (None, math.inf) for step in told.steps)
    columns = (*_STEPS[:2], _HIGH, *_STEPS[2:]) if high else _STEPS
    yield from out.table(columns, [_step(step, high) for step in told.steps])
    yield from ("", out.paint("What will happen when it grows", terminal.BOLD))
    for sentence in told.outlook:
        yield from textwrap.wrap(
            printable(short(sentence)),
            out.width or 80,
            initial_indent="- ",
            subsequent_indent="  ",
            break_on_hyphens=False,
        )
    yield from ("", out.paint("OOM kills in it and below", terminal.BOLD))
    if told.killed:
        yield from out.table(oom.COLUMNS, map(oom.row, told.killed))
    else:
        yield "None is known of."
    if told.places:
        yield from ("", out.paint("Namespaces", terminal.BOLD))
        yield from out.table(_PLACES, map(_place, told.places))
    yield from ("", out.paint("Numbers", terminal.BOLD))
    yield from out.table(_FIGURES, map(_figure, told.figures))


def _head(told: Explanation, directory: str, out: Terminal) -> Iterator[str]:
    container, identity = told.cgroup.container, told.cgroup.identity
    if container is None:
        kind = "cgroup" if identity.kind == "other" else identity.kind
        what = [kind, identity.user_unit or identity.unit or identity.machine or ""]
    else:
        what = [container.runtime, "container", container.label_id, container.name]
    yield out.paint(printable(" ".join(filter(None, what))), terminal.BOLD)
    pod = "/".join(filter(None, (told.cgroup.pod_namespace, told.cgroup.pod_name)))
    for name, text in (
        ("files in", directory),
        ("image", "" if container is None else container.image),
        ("pod", pod),
        ("log", told.cgroup.invocation and f"{_LOG}={told.cgroup.invocation}"),
        ("processes", str(told.processes)),
    ):
        if text:
            yield printable(f"{name:<10}{text}")  # not wrapped: a path is to be copied


def _step(step: Step, high: bool) -> list[Cell | str]:
    return [
        ">" if step.binds else "",
        size(step.usage),
        *([size(step.high)] if high else []),
        size(step.limit),
        size(step.headroom),
        Cell(short(step.path), terminal.YELLOW if step.binds else ""),
    ]


def _place(place: Place) -> list[Cell | str]:
    peers = ", ".join(title(peer) for peer in place.peers)
    who = "the host" if place.host else peers or "nobody else"
    return [place.ns_type, str(place.inode), who]


def _figure(figure: Figure) -> list[Cell | str]:
    name = figure.name.removeprefix("nsexporter_cgroup_").removeprefix("memory_")
    family = name.partition(" ")[0].removesuffix("_total")
    if family.endswith("_bytes") or figure.value == math.inf:
        return [size(figure.value), name, figure.source]
    return [f"{figure.value:.3f}".rstrip("0").rstrip("."), name, figure.source]


def short(text: str) -> str:
    """The ids of a text cut as `docker ps` cuts them.

    >>> short("/docker/" + "0123456789abcdef" * 4)
    '/docker/0123456789ab…'
    """
    return _LONG_ID.sub(r"\1…", text)


def as_json(told: Explanation) -> dict[str, object]:
    """The explanation; null is absent, "none" a limit that is not there."""
    container = told.cgroup.container
    return {
        "cgroup": told.cgroup.path,
        "kind": told.cgroup.identity.kind,
        "unit": told.cgroup.identity.user_unit or told.cgroup.identity.unit,
        "invocation_id": told.cgroup.invocation or None,
        "container": None
        if container is None
        else {
            "id": container.container_id,
            "name": container.name,
            "runtime": container.runtime,
            "image": container.image,
        },
        "pod_name": told.cgroup.pod_name,
        "pod_namespace": told.cgroup.pod_namespace,
        "processes": told.processes,
        "limits": [
            {
                "cgroup": step.path,
                "usage_bytes": step.usage,
                "high_bytes": _limit(step.high),
                "limit_bytes": _limit(step.limit),
                "headroom_bytes": _limit(step.headroom),
                "binds": step.binds,
            }
            for step in told.steps
        ],
        "outlook": list(told.outlook),
        "oom_kills": [oom.as_json(one) for one in told.killed],
        "namespaces": [
            {
                "ns_type": place.ns_type,
                "ns_inode": place.inode,
                "host": place.host,
                "peers": [peer.container_id for peer in place.peers],
            }
            for place in told.places
        ],
        "numbers": [
            {"metric": one.name, "value": _limit(one.value), "source": one.source}
            for one in told.figures
        ],
    }


def _limit(value: float | None) -> float | str | None:
    return "none" if value == math.inf else value
