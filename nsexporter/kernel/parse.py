"""Pure parsers: bytes in, values out; named as cgroup-v2.rst, memory.rst and proc(5) name them."""

from __future__ import annotations

import re
from dataclasses import dataclass


class ParseError(ValueError):
    """A kernel text that has not the format it should have."""


# v1 writes "no limit" as PAGE_COUNTER_MAX pages in bytes: LONG_MAX rounded down to the page
# size (include/linux/page_counter.h). 64 KiB is the largest page size there is.
_UNLIMITED = (2**63 - 1) // 65536 * 65536


def number(text: bytes) -> bytes:
    """The digits of a one-value file, as bytes.

    >>> number(b"4096")
    b'4096'
    """
    if not text.isdigit():
        raise ParseError(f"{text[:80]!r} is not a number")
    return text


def limit(text: bytes) -> bytes:
    """The digits of a limit, or +Inf where there is none: v2's `max`, v1's PAGE_COUNTER_MAX.

    >>> limit(b"9223372036854771712"), limit(b"max"), limit(b"0")
    (b'+Inf', b'+Inf', b'0')
    """
    if text == b"max":
        return b"+Inf"
    if len(number(text)) >= 19 and int(text) >= _UNLIMITED:
        return b"+Inf"
    return text


def flat_keyed(text: bytes) -> dict[bytes, bytes]:
    """Key to value of a flat keyed file (cgroup-v2.rst, "Format").

    >>> flat_keyed(b"oom 1\\noom_kill 2")
    {b'oom': b'1', b'oom_kill': b'2'}
    """
    keys, values = flat_columns(text)
    return dict(zip(keys, values, strict=True))


def flat_columns(text: bytes) -> tuple[list[bytes], list[bytes]]:
    """Keys and values of a flat keyed file, in the file's order; every value is digits."""
    words = text.split()
    values = words[1::2]
    if len(words) % 2 or (values and not b"".join(values).isdigit()):
        raise ParseError(f"{text[:80]!r} is not flat keyed")
    return words[0::2], values


def numa_stat(text: bytes) -> dict[bytes, dict[str, int]]:
    """Key to node to value of memory.numa_stat: pages on v1, whose total is left out, else bytes.

    >>> numa_stat(b"total=3 N0=1 N1=2\\nanon N0=4096")
    {b'total': {'0': 1, '1': 2}, b'anon': {'0': 4096}}
    """
    found = {}
    for line in text.splitlines():
        key, *words = line.split() or (b"",)
        nodes = {}
        for word in words:
            name, _, value = word.partition(b"=")
            if not name.startswith(b"N") or not name[1:].isdigit() or not value.isdigit():
                raise ParseError(f"{line[:80]!r} is not of numa_stat")
            nodes[name[1:].decode()] = int(value)
        found[key.partition(b"=")[0]] = nodes
    return found


def pressure_totals(text: bytes) -> dict[bytes, bytes]:
    """`some` and `full` to stall time in microseconds (Documentation/accounting/psi.rst).

    >>> pressure_totals(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12")
    {b'some': b'12'}
    """
    totals = {}
    for line in text.splitlines():
        kind, _, rest = line.partition(b" ")
        _, found, total = rest.rpartition(b"total=")
        if not found or not total.isdigit():
            raise ParseError(f"{line[:80]!r} is not a pressure line")
        totals[kind] = total
    return totals


def pids(text: bytes) -> tuple[int, ...]:
    r"""The PIDs of cgroup.procs, each once, but 0 for every process of another PID namespace.

    >>> pids(b"7\n8\n7"), pids(b"0\n0\n9")
    ((7, 8), (0, 9, 0))
    """
    try:
        numbers = [*map(int, text.split())]
    except ValueError:
        raise ParseError(f"{text[:80]!r} is not a list of PIDs") from None
    return (*dict.fromkeys(numbers), *[0] * (numbers.count(0) - 1))


@dataclass(frozen=True, slots=True)
class Mount:
    """One line of mountinfo (proc(5)); names unescaped."""

    root: bytes
    mount_point: bytes
    fs_type: bytes
    super_options: tuple[bytes, ...]


def mountinfo(text: bytes) -> list[Mount]:
    """Every mount of /proc/PID/mountinfo; a line that is cut off is an error."""
    mounts = []
    for line in text.splitlines():
        before, found, after = line.partition(b" - ")
        left, right = before.split(b" "), after.split(b" ")
        if not found or len(left) < 6 or len(right) < 3:
            raise ParseError(f"mountinfo: {line[:80]!r}")
        mounts.append(
            Mount(_unoctal(left[3]), _unoctal(left[4]), right[0], tuple(right[2].split(b",")))
        )
    return mounts


_OCTAL = re.compile(rb"\\([0-7]{3})")


def _unoctal(name: bytes) -> bytes:
    return _OCTAL.sub(lambda match: bytes([int(match[1], 8) & 255]), name)


_NS_LINK = re.compile(r"[a-z_]+:\[(\d+)\]")


def ns_link(text: str) -> int:
    """The inode of a namespace link (namespaces(7)).

    >>> ns_link("net:[4026531833]")
    4026531833
    """
    match = _NS_LINK.fullmatch(text)
    if match is None:
        raise ParseError(f"{text[:80]!r} is not a namespace link")
    return int(match[1])


def uid_map(text: bytes) -> tuple[tuple[int, int, int], ...]:
    """First ID inside, first ID outside and how many of each line (user_namespaces(7)).

    >>> uid_map(b"         0     100000      65536\\n")
    ((0, 100000, 65536),)
    """
    words = text.split()
    if len(words) % 3 or (words and not b"".join(words).isdigit()):
        raise ParseError(f"{text[:80]!r} is not a uid_map")
    numbers = [int(word) for word in words]
    return tuple(zip(numbers[0::3], numbers[1::3], numbers[2::3], strict=True))


_MEMINFO = re.compile(rb"^([^:\n]+):\s+(\d+) kB$", re.MULTILINE)


def meminfo(text: bytes) -> dict[bytes, int]:
    """The amounts of /proc/meminfo in bytes; its counts of huge pages are left out.

    >>> meminfo(b"MemTotal:       2048 kB\\nHugePages_Total:       0\\n")
    {b'MemTotal': 2097152}
    """
    found = {name: int(kilobytes) * 1024 for name, kilobytes in _MEMINFO.findall(text)}
    if b"MemTotal" not in found:
        raise ParseError(f"meminfo: no MemTotal in {text[:80]!r}")
    return found


def oom_kills(text: bytes | None) -> int | None:
    """oom_kill of memory.oom_control or memory.events; None where it is not told.

    >>> oom_kills(b"oom_kill_disable 0\\nunder_oom 0\\noom_kill 2"), oom_kills(b"low 0\\noom 1")
    (2, None)
    """
    if text is None:
        return None
    _, found, rest = text.partition(b"\noom_kill ")
    digits = rest.partition(b"\n")[0]
    return int(digits) if found and digits.isdigit() else None


def proc_cgroup(text: bytes) -> str | None:
    """The cgroup in the hierarchy with the memory controller, of /proc/PID/cgroup (cgroups(7)).

    None where it does not tell: v1's lines of a process that exits say `/`. On v2 a removed
    cgroup's path ends in ` (deleted)`.

    >>> proc_cgroup(b"4:memory:/a:b\\n0::/c"), proc_cgroup(b"0::/c"), proc_cgroup(b"4:memory:/")
    ('/a:b', '/c', None)
    """
    paths = {}
    for line in text.splitlines():
        _, controllers, path = line.split(b":", 2) if line.count(b":") >= 2 else (b"", b"", b"")
        paths.update(dict.fromkeys(controllers.split(b","), path))
    if b"memory" in paths:
        return text_of(paths[b"memory"]) if paths[b"memory"] not in (b"", b"/") else None
    return text_of(paths[b""]) if paths.get(b"") else None


def text_of(name: bytes | str) -> str:
    """A name of the host as text: bytes that are not UTF-8 as \\xNN.

    >>> text_of(b"caf\\xe9"), text_of(b"system-getty.slice")
    ('caf\\\\xe9', 'system-getty.slice')
    """
    if isinstance(name, str):
        if name.isascii():
            return name
        name = name.encode("utf-8", "surrogateescape")
    return name.decode("utf-8", "backslashreplace")
