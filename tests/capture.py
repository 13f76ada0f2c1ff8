"""Capture what an exporter reads from a host as one plain-text archive, and expand it again.

    python3 tests/capture.py > host.txtar

The archive is in txtar form: text before the first header is comment, then each entry is a header
line and its content up to the next header.

    -- proc/1234/cgroup --                         a file, its content follows
    -- proc/1234/ns/net -> net:[4026531833] --     a symbolic link, nothing follows
    -- sys/fs/cgroup/memory/empty/ --              an empty directory, nothing follows

There is one escape, the backslash, in names, link targets and content alike:

    \\xNN                       the byte NN (two lower-case hex digits)
    \\ at the end of a line     that line end is not part of the file

Written as ``\\xNN`` are: the backslash; bytes that are not UTF-8; control characters other than tab
and line feed, with U+2028 and U+2029; in names and targets also tab, line feed and ``>``; in
content the first ``-`` of a line that would be taken for a header. A file that does not end in a
line feed ends in a backslash.

Never captured: command lines, environments, and anything else of a process than the files below.
The name of a process becomes ``(comm)`` in stat and is left out of status, of which only the lines
in STATUS_LINES are kept. In mountinfo the source and the options of file systems that an exporter
does not read are left out, for they can hold server and user names.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

STATUS_LINES = (b"State", b"Tgid", b"Pid", b"PPid", b"Uid", b"NSpid", b"Threads")
CGROUP_PREFIXES = (b"memory.", b"pids.", b"cgroup.")
PRESSURE_SUFFIX = b".pressure"
CGROUP_SKIPPED = frozenset(
    {
        b"cgroup.event_control",
        b"cgroup.kill",
        b"memory.force_empty",
        b"memory.kmem.slabinfo",
        b"memory.numa_stat",
        b"memory.pressure_level",
        b"memory.reclaim",
    }
)
HOST_FILES = (b"meminfo", b"vmstat", b"sys/kernel/random/boot_id")
MOUNTS_KEPT_WHOLE = frozenset({b"cgroup", b"cgroup2", b"nsfs", b"proc", b"sysfs"})

_UNSAFE = re.compile("[\\\\\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_UNSAFE_IN_NAME = re.compile("[\\\\>\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_ESCAPE = re.compile(rb"\\(x[0-9a-f]{2}|\n|)")
_HEADER = re.compile(r"-- (.+) --")
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file (content), a symbolic link (target) or an empty directory (neither), by its path."""

    path: bytes
    content: bytes | None = None
    target: bytes | None = None


def _hex(match: re.Match[str]) -> str:
    raw = match[0].encode("utf-8", "surrogateescape")
    return "".join(f"\\x{byte:02x}" for byte in raw)


def _escape_name(name: bytes) -> str:
    return _UNSAFE_IN_NAME.sub(_hex, name.decode("utf-8", "surrogateescape"))


def _escape_content(content: bytes) -> str:
    text = _UNSAFE.sub(_hex, content.decode("utf-8", "surrogateescape"))
    lines = text.split("\n")
    lines = ["\\x2d" + line[1:] if _HEADER.fullmatch(line) else line for line in lines]
    if lines[-1]:
        lines[-1:] = [lines[-1] + "\\", ""]
    return "\n".join(lines)


def _byte(match: re.Match[bytes]) -> bytes:
    if match[1].startswith(b"x"):
        return bytes([int(match[1][1:], 16)])
    if match[1] == b"\n":
        return b""
    raise ValueError(f"a backslash that escapes nothing in {match.string[:80]!r}")


def _unescape(text: str) -> bytes:
    return _ESCAPE.sub(_byte, text.encode())


def render(entries: Iterable[Entry], comment: str = "") -> str:
    """The archive of `entries`, in their order, after `comment`.

    >>> print(render([Entry(b"a/b", b"1\\n"), Entry(b"a/c", target=b"b")], "two entries"))
    two entries
    -- a/b --
    1
    -- a/c -> b --
    <BLANKLINE>
    """
    parts = [comment.rstrip("\n") + "\n" if comment else ""]
    for entry in entries:
        name = _escape_name(entry.path)
        if entry.target is not None:
            parts.append(f"-- {name} -> {_escape_name(entry.target)} --\n")
        elif entry.content is None:
            parts.append(f"-- {name}/ --\n")
        else:
            parts.append(f"-- {name} --\n{_escape_content(entry.content)}")
    return "".join(parts)


def _entry(header: str, lines: list[str]) -> Entry:
    content = _unescape("".join(line + "\n" for line in lines))
    name, arrow, target = header.partition(" -> ")
    if not arrow and not name.endswith("/"):
        return Entry(_unescape(name), content)
    if content:
        raise ValueError(f"{header}: a link or a directory has no content")
    if arrow:
        return Entry(_unescape(name), target=_unescape(target))
    return Entry(_unescape(name.removesuffix("/")))


def entries(text: str) -> list[Entry]:
    """The entries of an archive, in its order; ValueError for a malformed one."""
    found: list[Entry] = []
    header: str | None = None
    lines: list[str] = []
    # Not splitlines(), which also splits at characters that are content here.
    all_lines = text.split("\n")
    if all_lines[-1] == "":
        all_lines.pop()
    for line in all_lines:
        match = _HEADER.fullmatch(line)
        if match is None:
            lines.append(line)
            continue
        if header is not None:
            found.append(_entry(header, lines))
        header, lines = match[1], []
    if header is not None:
        found.append(_entry(header, lines))
    return found


def _inside(root: bytes, path: bytes) -> bytes:
    parts = path.split(b"/")
    if any(part in (b"", b".", b"..") for part in parts) or b"\0" in path:
        raise ValueError(f"{path!r} is not a plain path below the root")
    place = root
    for part in parts[:-1]:
        place += b"/" + part
        if os.path.islink(place):
            raise ValueError(f"{path!r} is below a symbolic link")
    return place + b"/" + parts[-1]


def expand(text: str, root: Path) -> None:
    """Write the files, directories and links of an archive below `root` (root/proc, root/sys).

    ValueError for a malformed archive, for a path that leads out of `root` and for one given twice.
    """
    seen: set[bytes] = set()
    for entry in entries(text):
        if entry.path in seen:
            raise ValueError(f"{entry.path!r} is given twice")
        seen.add(entry.path)
        place = _inside(os.fsencode(root), entry.path)
        os.makedirs(os.path.dirname(place), exist_ok=True)
        if entry.target is not None:
            os.symlink(entry.target, place)
        elif entry.content is None:
            os.makedirs(place, exist_ok=True)
        else:
            with open(place, "xb") as file:
                file.write(entry.content)


def _read(path: bytes) -> bytes | None:
    """The content of a file, None where it has none to give (gone, forbidden, not readable)."""
    try:
        with open(path, "rb") as file:
            return file.read()
    except OSError:
        return None


def _names(path: bytes) -> list[bytes]:
    try:
        return sorted(os.listdir(path))
    except OSError:
        return []


def _file(root: bytes, prefix: bytes, path: bytes) -> Iterator[Entry]:
    content = _read(root + b"/" + path)
    if content is not None:
        yield Entry(prefix + b"/" + path, content)


def _without_sources(mountinfo: bytes) -> bytes:
    """mountinfo with source and super options cut where they are of no use to an exporter."""
    lines = []
    for line in mountinfo.splitlines(keepends=True):
        mount, dash, rest = line.partition(b" - ")
        fields = rest.split()
        if dash and len(fields) == 3 and fields[0] not in MOUNTS_KEPT_WHOLE:
            mode = fields[2].partition(b",")[0]
            line = mount + dash + b" ".join((fields[0], b"none", mode)) + b"\n"
        lines.append(line)
    return b"".join(lines)


def _host(procfs: bytes) -> Iterator[Entry]:
    for pid in (b"1", b"self"):
        for entry in _file(procfs, b"proc", pid + b"/mountinfo"):
            yield Entry(entry.path, _without_sources(entry.content or b""))
    for name in HOST_FILES:
        yield from _file(procfs, b"proc", name)
    for name in _names(procfs + b"/pressure"):
        yield from _file(procfs, b"proc", b"pressure/" + name)
    for name in _names(procfs + b"/sys/user"):
        if name.startswith(b"max_") and name.endswith(b"_namespaces"):
            yield from _file(procfs, b"proc", b"sys/user/" + name)
    for line in (_read(procfs + b"/stat") or b"").splitlines(keepends=True):
        if line.startswith(b"btime "):
            yield Entry(b"proc/stat", line)


def _stat_without_comm(stat: bytes) -> bytes:
    """/proc/PID/stat with `(comm)` for the name, which may itself hold parentheses.

    >>> _stat_without_comm(b"7 (a) b) S 1 7")
    b'7 (comm) S 1 7'
    """
    return stat[: stat.index(b"(")] + b"(comm)" + stat[stat.rindex(b")") + 1 :]


def _status_lines(status: bytes) -> bytes:
    lines = status.splitlines(keepends=True)
    return b"".join(line for line in lines if line.partition(b":")[0] in STATUS_LINES)


@dataclass(frozen=True, slots=True)
class _Process:
    pid: bytes
    cgroup: bytes
    threads: frozenset[bytes]
    entries: tuple[Entry, ...]


def _process(procfs: bytes, pid: bytes) -> _Process | None:
    """A process as entries, None for one that went away meanwhile."""
    place = procfs + b"/" + pid
    stat, status, cgroup = (_read(place + name) for name in (b"/stat", b"/status", b"/cgroup"))
    if not stat or status is None or cgroup is None:
        return None
    prefix = b"proc/" + pid
    found = [
        Entry(prefix + b"/stat", _stat_without_comm(stat)),
        Entry(prefix + b"/status", _status_lines(status)),
        Entry(prefix + b"/cgroup", cgroup),
    ]
    for name in _names(place + b"/ns"):
        try:
            target = os.readlink(place + b"/ns/" + name)
        except OSError:
            continue
        found.append(Entry(prefix + b"/ns/" + name, target=target))
    threads = frozenset(_names(place + b"/task")) or frozenset({pid})
    return _Process(pid, cgroup, threads, tuple(found))


def _processes(procfs: bytes, pids: Collection[int] | None) -> list[_Process]:
    numbers = sorted(int(name) for name in _names(procfs) if name.isdigit())
    if pids is not None:
        numbers = [number for number in numbers if number in pids]
    found = (_process(procfs, b"%d" % number) for number in numbers)
    return [process for process in found if process is not None]


def _limited(processes: list[_Process], limit: int) -> list[_Process]:
    """At most `limit` of them: the first of each cgroup before the others, in order of PID."""
    first: list[_Process] = []
    others: list[_Process] = []
    cgroups: set[bytes] = set()
    for process in processes:
        (others if process.cgroup in cgroups else first).append(process)
        cgroups.add(process.cgroup)
    return sorted((first + others)[:limit], key=lambda process: int(process.pid))


def _below_sys(mount_point: bytes, sysfs: bytes) -> bytes | None:
    """The mount point relative to the sysfs; None for one elsewhere."""
    for root in (b"/sys", sysfs):
        if mount_point.startswith(root + b"/"):
            return mount_point[len(root) + 1 :]
    return None


def _hierarchies(procfs: bytes, sysfs: bytes) -> Iterator[bytes]:
    """Where cgroup2 and the v1 hierarchies of memory and pids are mounted, below the sysfs."""
    seen: set[bytes] = set()
    for pid in (b"1", b"self"):
        for line in (_read(procfs + b"/" + pid + b"/mountinfo") or b"").splitlines():
            mount, _, rest = line.partition(b" - ")
            fields, kind = mount.split(), rest.split()
            if len(fields) < 5 or len(kind) < 3 or kind[0] not in (b"cgroup", b"cgroup2"):
                continue
            if kind[0] == b"cgroup" and not {b"memory", b"pids"} & set(kind[2].split(b",")):
                continue
            point = _OCTAL.sub(lambda match: bytes([int(match[1], 8)]), fields[4])
            place = _below_sys(point, sysfs)
            if place is None or fields[2] in seen or not os.path.isdir(sysfs + b"/" + place):
                continue
            seen.add(fields[2])
            yield place


def _only(keep: frozenset[bytes]) -> Callable[[bytes], bytes]:
    def only(content: bytes) -> bytes:
        return b"".join(line + b"\n" for line in content.split() if line in keep)

    return only


def _wanted(cgroup: bytes, chosen: Collection[bytes] | None) -> bool:
    """Whether a cgroup (`/a/b`, `` for the root) is a chosen one, above one or below one."""
    if chosen is None:
        return True
    return any(
        (one + b"/").startswith(cgroup + b"/") or (cgroup + b"/").startswith(one + b"/")
        for one in chosen
    )


def _cgroup_file(path: bytes) -> bytes | None:
    try:
        if not os.stat(path).st_mode & 0o444:
            return None
    except OSError:
        return None
    return _read(path)


def _cgroups(
    sysfs: bytes,
    mount: bytes,
    cgroup: bytes,
    chosen: Collection[bytes] | None,
    cuts: dict[bytes, Callable[[bytes], bytes]],
) -> Iterator[Entry]:
    path = mount + cgroup
    empty = True
    children: list[bytes] = []
    try:
        with os.scandir(sysfs + b"/" + path) as scan:
            listing = sorted(scan, key=lambda item: item.name)
    except OSError:
        return
    for item in listing:
        name = item.name
        if item.is_dir(follow_symlinks=False):
            children.append(name)
            continue
        if not name.startswith(CGROUP_PREFIXES) and not name.endswith(PRESSURE_SUFFIX):
            continue
        if name in CGROUP_SKIPPED or not item.is_file(follow_symlinks=False):
            continue
        content = _cgroup_file(item.path)
        if content is None:
            continue
        empty = False
        if name in cuts:
            content = cuts[name](content)
        yield Entry(b"sys/" + path + b"/" + name, content)
    for name in children:
        if _wanted(cgroup + b"/" + name, chosen):
            empty = False
            yield from _cgroups(sysfs, mount, cgroup + b"/" + name, chosen, cuts)
    if empty:
        yield Entry(b"sys/" + path)


def capture(
    procfs: Path,
    sysfs: Path,
    *,
    process_limit: int | None = None,
    pids: Collection[int] | None = None,
    cgroups: Collection[str] | None = None,
    comment: str = "",
) -> str:
    """The archive of a host, read below `procfs` and `sysfs`.

    `process_limit` and `pids` cut the processes, and with them the lists in cgroup.procs and
    cgroup.threads, so that the archive stays coherent; `cgroups` keeps those paths with what is
    above and below them.
    """
    proc, sys_root = os.fsencode(procfs), os.fsencode(sysfs)
    processes = _processes(proc, pids)
    if process_limit is not None:
        processes = _limited(processes, process_limit)
    cuts: dict[bytes, Callable[[bytes], bytes]] = {}
    if process_limit is not None or pids is not None:
        cuts[b"cgroup.procs"] = _only(frozenset(process.pid for process in processes))
        cuts[b"cgroup.threads"] = _only(
            frozenset(thread for process in processes for thread in process.threads)
        )
    chosen = None if cgroups is None else [os.fsencode(path.rstrip("/")) for path in cgroups]
    found = list(_host(proc))
    for process in processes:
        found.extend(process.entries)
    for mount in _hierarchies(proc, sys_root):
        found.extend(_cgroups(sys_root, mount, b"", chosen, cuts))
    return render(found, comment)


def main() -> None:
    """Write the archive of this host to standard output."""
    parser = argparse.ArgumentParser(description="Capture what an exporter reads from this host.")
    parser.add_argument("--path.procfs", dest="procfs", type=Path, default=Path("/proc"))
    parser.add_argument("--path.sysfs", dest="sysfs", type=Path, default=Path("/sys"))
    parser.add_argument(
        "--process-limit",
        type=int,
        metavar="N",
        help="keep at most N processes, those of different cgroups first",
    )
    parser.add_argument(
        "--cgroup",
        action="append",
        metavar="PATH",
        help="keep only this cgroup with those above and below it (repeatable)",
    )
    options = parser.parse_args()
    text = capture(
        options.procfs,
        options.sysfs,
        process_limit=options.process_limit,
        cgroups=options.cgroup,
    )
    sys.stdout.buffer.write(text.encode())


if __name__ == "__main__":
    main()
