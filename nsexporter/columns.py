"""A Snapshot by columns: for one source, one value for every cgroup, in the snapshot's order.

Values stay the kernel's bytes; None is absent. A text that is malformed is absent and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nsexporter.kernel import parse
from nsexporter.model import Cgroup, Snapshot


class Columns:
    """Columns of one snapshot, each made once.

    `malformed` maps a file's name to how many texts of it had not the format they should have.
    """

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.cgroups: tuple[Cgroup, ...] = snapshot.cgroups
        self.malformed: Counter[str] = Counter()
        self._keyed: dict[str, list[Mapping[bytes, bytes] | None]] = {}

    def number(self, name: str) -> list[bytes | None]:
        """A file of one number."""
        column = [cgroup.files.get(name) for cgroup in self.cgroups]
        if all(text is None or text.isdigit() for text in column):
            return column
        return self._parsed(name, column, parse.number)

    def limit(self, name: str) -> list[bytes | None]:
        """A file of one limit: digits, or +Inf."""
        return self._parsed(name, [cgroup.files.get(name) for cgroup in self.cgroups], parse.limit)

    def key(self, name: str, key: bytes) -> list[bytes | None]:
        """One key of a flat keyed file."""
        return [
            None if keyed is None else keyed.get(key)
            for keyed in self._dictionaries(name, parse.flat_keyed)
        ]

    def pressure(self, name: str, kind: bytes) -> list[bytes | None]:
        """Stall time in seconds, of `some` or `full` in a pressure file."""
        return [
            None if keyed is None or kind not in keyed else seconds(keyed[kind])
            for keyed in self._dictionaries(name, parse.pressure_totals)
        ]

    def stat(self, key: bytes) -> list[bytes | None]:
        """One key of memory.stat."""
        positions: dict[int, int | None] = {}
        column: list[bytes | None] = []
        for cgroup in self.cgroups:
            keys = cgroup.stat_keys
            if id(keys) not in positions:
                positions[id(keys)] = keys.index(key) if key in keys else None
            position = positions[id(keys)]
            column.append(None if position is None else cgroup.stat[position])
        return column

    def _parsed(
        self, name: str, texts: Sequence[bytes | None], parser: Callable[[bytes], bytes]
    ) -> list[bytes | None]:
        column: list[bytes | None] = []
        for text in texts:
            try:
                column.append(None if text is None else parser(text))
            except parse.ParseError:
                self.malformed[name] += 1
                column.append(None)
        return column

    def _dictionaries(
        self, name: str, parser: Callable[[bytes], dict[bytes, bytes]]
    ) -> list[Mapping[bytes, bytes] | None]:
        if name in self._keyed:
            return self._keyed[name]
        column: list[Mapping[bytes, bytes] | None] = []
        for cgroup in self.cgroups:
            text = cgroup.files.get(name)
            try:
                column.append(None if text is None else parser(text))
            except parse.ParseError:
                self.malformed[name] += 1
                column.append(None)
        self._keyed[name] = column
        return column


def seconds(microseconds: bytes) -> bytes:
    """Microseconds as seconds.

    >>> seconds(b"0"), seconds(b"1500000"), seconds(b"12")
    (b'0', b'1.500000', b'0.000012')
    """
    if microseconds == b"0":
        return microseconds
    whole, part = divmod(int(microseconds), 1_000_000)
    return b"%d.%06d" % (whole, part)


def integers(column: Sequence[bytes | None]) -> list[float | None]:
    """A column for arithmetic; +Inf is math.inf, everything else an int."""
    return [
        None if value is None else float("inf") if value == b"+Inf" else int(value)
        for value in column
    ]


def texts(column: Sequence[float | None]) -> list[bytes | None]:
    """The inverse of `integers`."""
    return [
        None if value is None else b"+Inf" if value == float("inf") else b"%d" % int(value)
        for value in column
    ]
