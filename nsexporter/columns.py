"""A Snapshot by columns: for one source, one value for every cgroup, in the snapshot's order.

Values stay the kernel's bytes; None is absent. A text that is malformed is absent and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from nsexporter.kernel import parse
from nsexporter.model import Cgroup, Snapshot

T = TypeVar("T")

Memo = dict[Hashable, tuple[tuple[object, ...], Any]]
"""What was made, by what it is, with what it was made of."""


class Columns:
    """Columns of one snapshot, each made once.

    `malformed` maps a file's name to how many texts of it had not the format they should have.
    With the memo of the pass before, a column that is equal to the one then is the same object,
    and what is made of the same objects only is not made again.
    """

    def __init__(self, snapshot: Snapshot, memo: Memo | None = None) -> None:
        self.snapshot = snapshot
        self.cgroups: tuple[Cgroup, ...] = snapshot.cgroups
        self.malformed: Counter[str] = Counter()
        self._memo: Memo = {} if memo is None else memo
        self._texts: dict[str, list[bytes | None]] = {}
        self._stats: dict[bytes, Sequence[bytes]] | None = None
        self._whole: Columns | None = None

    @property
    def whole(self) -> Columns:
        """Columns of all cgroups that were read, those too that the patterns or the cap drop."""
        if not self.snapshot.every:
            return self
        if self._whole is None:
            _, memo = self._memo.setdefault("whole", ((), {}))
            every = replace(self.snapshot, cgroups=self.snapshot.every, every=())
            self._whole = Columns(every, memo)
        return self._whole

    def shown(self, values: list[T]) -> list[T]:
        """Of one value for each cgroup of `whole`, those of ours."""
        if self.whole is self:
            return values
        ours = {cgroup.path for cgroup in self.cgroups}
        return [
            value
            for value, cgroup in zip(values, self.whole.cgroups, strict=True)
            if cgroup.path in ours
        ]

    def same(self, key: Hashable, value: T) -> T:
        """`value`, or the object of the pass before where that is equal."""
        kept = self._memo.get(key)
        if kept is None or kept[1] != value:
            kept = self._memo[key] = ((), value)
        same: T = kept[1]
        return same

    def made(self, key: Hashable, inputs: tuple[object, ...], make: Callable[[], T]) -> T:
        """What `make` makes of `inputs`, which it did before where they are the same objects."""
        kept = self._memo.get(key)
        if (
            kept is None
            or len(kept[0]) != len(inputs)
            or any(a is not b for a, b in zip(kept[0], inputs, strict=True))
        ):
            kept = self._memo[key] = (inputs, make())
        value: T = kept[1]
        return value

    def number(self, name: str) -> Sequence[bytes | None]:
        """A file of one number."""
        return self._parsed(("number", name), name, parse.number)

    def limit(self, name: str) -> Sequence[bytes | None]:
        """A file of one limit: digits, or +Inf."""
        return self._parsed(("limit", name), name, parse.limit)

    def key(self, name: str, key: bytes) -> Sequence[bytes | None]:
        """One key of a flat keyed file."""
        return [
            None if keyed is None else keyed.get(key)
            for keyed in self._parsed(("keyed", name), name, parse.flat_keyed)
        ]

    def pressure(self, name: str, kind: bytes) -> Sequence[bytes | None]:
        """Stall time in seconds, of `some` or `full` in a pressure file."""
        return [
            None if keyed is None or kind not in keyed else seconds(keyed[kind])
            for keyed in self._parsed(("pressure", name), name, parse.pressure_totals)
        ]

    def numa_stat(self, name: str) -> Sequence[dict[bytes, dict[str, int]] | None]:
        """A file of keys by NUMA node, as parse.numa_stat tells it."""
        return self._parsed(("numa", name), name, parse.numa_stat)

    @property
    def file_names(self) -> frozenset[str]:
        """The names of all files that some cgroup has."""
        return frozenset[str]().union(*(cgroup.files for cgroup in self.cgroups))

    def stat(self, key: bytes) -> Sequence[bytes | None]:
        """One key of memory.stat."""
        if self._stats is None:
            self._stats = {}
            layouts = {id(cgroup.stat_keys): cgroup.stat_keys for cgroup in self.cgroups}
            if len(layouts) == 1:
                (keys,) = layouts.values()
                turned = zip(*[cgroup.stat for cgroup in self.cgroups], strict=True)
                self._stats = dict(zip(keys, turned, strict=True))
        if self._stats:
            return self._stats.get(key) or [None] * len(self.cgroups)
        return [
            cgroup.stat[cgroup.stat_keys.index(key)] if key in cgroup.stat_keys else None
            for cgroup in self.cgroups
        ]

    def _parsed(self, key: Hashable, name: str, parser: Callable[[bytes], T]) -> Sequence[T | None]:
        """A file of every cgroup, parsed; a text that is what it was in the pass before is not."""
        texts = self._texts.get(name)
        if texts is None:
            now = [cgroup.files.get(name) for cgroup in self.cgroups]
            texts = self._texts[name] = self.same(("texts", name), now)
        (known, *_), before = self._memo.get(key, (([],), []))
        if known is texts:
            column: list[T | None] = before
        elif isinstance(known, list) and len(known) == len(texts):
            column = [
                old if text is was else self._value(parser, text)
                for text, was, old in zip(texts, known, before, strict=True)
            ]
        else:
            column = [self._value(parser, text) for text in texts]
        self._memo[key] = ((texts,), column)
        if wrong := column.count(None) - texts.count(None):
            self.malformed[name] = wrong
        return column

    def _value(self, parser: Callable[[bytes], T], text: bytes | None) -> T | None:
        try:
            return None if text is None else parser(text)
        except parse.ParseError:
            return None


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
