"""A Snapshot by columns: for one source, one value for every cgroup, in the snapshot's order.

Values stay the kernel's bytes; None is absent. A text that is malformed is absent and counted.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from itertools import chain, compress, repeat
from operator import attrgetter, is_, is_not, ne
from typing import Any, TypeVar

from nsexporter.changed import changed
from nsexporter.families import labels
from nsexporter.families.cells import Cells, Patch, Rows, patch
from nsexporter.kernel import parse
from nsexporter.model import Cgroup, Container, Identity, OomLedger, Snapshot

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")

Memo = dict[Hashable, tuple[tuple[Any, ...], Any]]
"""What was made, by what it is, with what it was made of."""

Whose = tuple[str, Container | None, str, str, Identity, str]
"""Of a cgroup: path, container, name and namespace of its pod, identity, invocation id."""

BLOCK = 400
"""Rows whose lines are one text: 60 kB, and 96 kB while it is joined. What takes 128 kB or more is
mapped by glibc, and each of its pages faults: that costs four times the joining."""


class Columns:
    """Columns of one snapshot, each made once.

    `malformed` maps a file's name to how many texts of it had not the format they should have.
    With the memo of the pass before, a column that is equal to the one then is the same object,
    and what is made of the same objects only is not made again: as in a spreadsheet, only what
    follows from a cell that has changed is computed.
    """

    def __init__(self, snapshot: Snapshot, memo: Memo | None = None) -> None:
        self.snapshot = snapshot
        self.cgroups: tuple[Cgroup, ...] = snapshot.cgroups
        self.malformed: Counter[str] = Counter()
        self._memo: Memo = {} if memo is None else memo
        self._changed: dict[int, tuple[object, Rows]] = {}
        self._patches: dict[int, Patch] = {}  # by the id of the column

    def made(self, key: Hashable, make: Callable[..., T], *inputs: object) -> T:
        """`make(*inputs)`, or the object of the pass before where that is equal.

        Where the inputs are the same objects as then, nothing is made.
        """
        kept = self._memo.get(key)
        if kept is None or not _same(kept[0], inputs):
            value = make(*inputs)
            if kept is not None and kept[1] == value:
                value = kept[1]
            kept = self._memo[key] = (inputs, value)
        made: T = kept[1]
        return made

    def same(self, key: Hashable, value: T) -> T:
        """`value`, or the object of the pass before where that is equal."""
        return self.made(key, lambda _: value, object())

    def each(
        self, key: Hashable, items: Iterable[K], make: Callable[[K], T], *inputs: object
    ) -> Sequence[T]:
        """`make` of every item, each another one; not again of those of the pass before.

        What `make` takes besides the item are the `inputs`: of others everything is made anew.
        """
        before, known = self._memo.get((key, "each"), ((), {}))
        if not _same(before, inputs):
            known = {}
        made = {item: known[item] if item in known else make(item) for item in items}
        self._memo[key, "each"] = inputs, made
        return self.same(key, [*made.values()])

    def column(self, key: Hashable, value: Callable[[Cgroup], T]) -> Sequence[T]:
        """`value` of every cgroup; asked of those only that are not what they were."""
        return self._column(key, lambda rows: [*map(value, rows.cgroups)])

    def _column(self, key: Hashable, cells: Callable[[Rows], list[T]]) -> Sequence[T]:
        """The same, of rows at once."""
        before, kept = self._memo.get(key, ((), []))
        if before is not self.cgroups:
            rows = self._changed_since(before)
            kept = self._patched(kept, rows.indexes, cells(rows), len(self.cgroups))
            self._memo[key] = self.cgroups, kept
        column: list[T] = kept
        return column

    def _changed_since(self, before: tuple[Cgroup, ...]) -> Rows:
        """The rows of cgroups that are other objects than `before`."""
        if id(before) not in self._changed:
            self._changed[id(before)] = before, Rows(before, self.cgroups)
        return self._changed[id(before)][1]

    def _patched(
        self, column: list[T], rows: Sequence[int], cells: list[T], length: int
    ) -> list[T]:
        """`column` with these cells, which what follows from it then asks for."""
        patched, differing = patch(column, rows, cells, length)
        if patched is cells or len(column) != length:
            patched = self._alike(patched)
        if patched is not column:
            self._patches[id(patched)] = Patch(column, patched, differing)
        return patched

    def _alike(self, column: list[T]) -> list[T]:
        """Of columns in which all cells are the same one object the same."""
        if not column or any(map(is_not, column, repeat(column[0]))):
            return column
        length, known = self._memo.get("alike", ((), {}))
        if length != (len(column),):
            known = {}
        self._memo["alike"] = (len(column),), known
        one: list[T] = known.setdefault(id(column[0]), column)
        return one

    def _rows(
        self,
        before: Sequence[Sequence[Any]],
        columns: Sequence[Sequence[Any]],
        differ: Callable[[Any, Any], object] = is_not,
    ) -> Sequence[int]:
        """The rows in which a cell of `columns` is another object than `before`."""
        if len(before) != len(columns):
            return range(len(columns[0]))
        others = []
        for old, now in zip(before, columns, strict=True):
            if old is not now:
                made = self._patches.get(id(now))
                known = made is not None and made.before is old
                others.append(made.rows if made and known else changed(old, now, differ))
        return others[0] if len(others) == 1 else sorted({*chain.from_iterable(others)})

    def by_row(
        self, key: Hashable, make: Callable[..., list[T]], *columns: Sequence[Any]
    ) -> Sequence[T]:
        """`make(*columns)`, where each cell follows from those in its row; of others only then."""
        before, kept = self._memo.get(key, ((), []))
        if not _same(before, columns):
            rows = self._rows(before, columns)
            cells = make(*([column[row] for row in rows] for column in columns))
            kept = self._patched(kept, rows, cells, len(columns[0]))
            self._memo[key] = columns, kept
        column: list[T] = kept
        return column

    def blocks(self, key: Hashable, make: Callable[..., T], *columns: Sequence[Any]) -> Sequence[T]:
        """`make` of every BLOCK rows of some columns; not again where they are what they were."""
        before, kept = self._memo.get(key, ((), []))
        if not _same(before, columns):
            # A text that is made anew is most often equal to what it was.
            rows, length = self._rows(before, columns, ne), len(columns[0])
            numbers = range(-(-length // BLOCK))
            due = {row // BLOCK for row in rows}
            if before and len(before[0]) > length:
                due.add((length - 1) // BLOCK)  # cut off
            known, kept = kept, []
            for number in numbers:
                block = known[number] if number < len(known) else None
                if block is None or number in due:
                    start = number * BLOCK
                    made = make(*[column[start : start + BLOCK] for column in columns])
                    block = block if block == made else made
                kept.append(block)
            self._memo[key] = columns, kept
        blocks: list[T] = kept
        return blocks

    @property
    def whole(self) -> Columns:
        """Columns of all cgroups that were read, those too that the patterns or the cap drop."""
        return self if self._every is None else self._every

    @cached_property
    def _every(self) -> Columns | None:
        if not self.snapshot.every:
            return None  # to keep itself would be a cycle, whose memory comes back late
        _, memo = self._memo.setdefault("whole", ((), {}))
        return Columns(replace(self.snapshot, cgroups=self.snapshot.every, every=()), memo)

    def shown(self, key: Hashable, values: Sequence[T]) -> Sequence[T]:
        """Of one value for each cgroup of `whole`, those of ours."""
        if self.whole is self:
            return values
        return self.made(("shown", key), lambda *both: [*compress(*both)], values, self._ours)

    @cached_property
    def _ours(self) -> Sequence[bool]:
        """For each cgroup of `whole` whether it is one of ours."""
        path = attrgetter("path")
        return self.made(
            "ours",
            lambda every, shown: [*map({*shown}.__contains__, every)],
            self.whole.column("path", path),
            self.column("path", path),
        )

    @cached_property
    def containers(self) -> tuple[Container, ...]:
        """The containers of the snapshot."""
        return self.same("containers", self.snapshot.containers)

    @cached_property
    def oom(self) -> OomLedger:
        """The ledger of the snapshot."""
        return self.same("oom", self.snapshot.oom)

    @cached_property
    def whose(self) -> Sequence[Whose]:
        """What a cgroup's labels are made of, for every cgroup."""
        return self.column("whose", _WHOSE)

    @cached_property
    def labels(self) -> Sequence[bytes]:
        """The label text of every cgroup."""
        return self.by_row("labels", _labels, self.whose)

    def ones(self, key: Hashable, rows: Sequence[object]) -> Sequence[bytes]:
        """The values of an info."""
        return self.made((key, "ones"), lambda rows: [b"1"] * len(rows), rows)

    def number(self, name: str) -> Sequence[bytes | None]:
        """A file of one number."""
        return self._parsed(name, parse.number)

    def limit(self, name: str) -> Sequence[bytes | None]:
        """A file of one limit: digits, or +Inf."""
        return self._parsed(name, parse.limit)

    def key(self, name: str, key: bytes) -> Sequence[bytes | None]:
        """One key of a flat keyed file."""
        return self.by_row((name, key), partial(_of_key, key), self._parsed(name, parse.flat_keyed))

    def pressure(self, name: str, kind: bytes) -> Sequence[bytes | None]:
        """Stall time in seconds, of `some` or `full` in a pressure file."""
        parsed = self._parsed(name, parse.pressure_totals)
        totals = self.by_row((name, kind), partial(_of_key, kind), parsed)
        return self.by_row((name, kind, "seconds"), _seconds, totals)

    def numa_stat(self, name: str) -> Sequence[dict[bytes, dict[str, int]] | None]:
        """A file of keys by NUMA node, as parse.numa_stat tells it."""
        return self._parsed(name, parse.numa_stat)

    @cached_property
    def file_names(self) -> frozenset[str]:
        """The names of all files that some cgroup has or has had."""
        before, names = self._memo.get("file names", ((), frozenset[str]()))
        if before is not self.cgroups:
            names |= self._changed_since(before).file_names()
            self._memo["file names"] = self.cgroups, names
        known: frozenset[str] = names
        return known

    def stat(self, key: bytes) -> Sequence[bytes | None]:
        """One key of memory.stat."""
        self._count("memory.stat", "stat", lambda rows: rows.stat(key))
        return self._column(("memory.stat", key), lambda rows: rows.stat(key)[0])

    def _parsed(self, name: str, parser: Callable[[bytes], T]) -> Sequence[T | None]:
        """A file of every cgroup."""
        self._count(name, parser, lambda rows: rows.parsed(name, parser))
        return self._column((name, parser), lambda rows: rows.parsed(name, parser)[0])

    def _count(self, name: str, parser: Hashable, cells: Callable[[Rows], Cells]) -> None:
        """Note of how many cgroups a file is malformed."""
        key = name, parser, "malformed"
        before, malformed = self._memo.get(key, ((), frozenset[int]()))
        if before is not self.cgroups:
            rows = self._changed_since(before)
            _, wrong = cells(rows)
            if len(rows.indexes) == len(self.cgroups):
                malformed = frozenset(wrong)
            elif malformed or wrong:
                malformed = malformed.difference(rows.indexes).union(wrong)
                malformed = malformed.intersection(range(len(self.cgroups)))
            self._memo[key] = self.cgroups, malformed
        if malformed:
            self.malformed[name] = len(malformed)


_WHOSE: Callable[[Cgroup], Whose] = attrgetter(
    "path", "container", "pod_name", "pod_namespace", "identity", "invocation"
)


def _same(before: Sequence[object], inputs: Sequence[object]) -> bool:
    return len(before) == len(inputs) and all(map(is_, before, inputs))


def _labels(column: Sequence[Whose]) -> list[bytes]:
    return [labels.text(labels.of(*whose[:4])) for whose in column]


def _of_key(key: bytes, column: Sequence[Mapping[bytes, bytes] | None]) -> list[bytes | None]:
    return [None if keyed is None else keyed.get(key) for keyed in column]


def _seconds(column: Sequence[bytes | None]) -> list[bytes | None]:
    return [None if total is None else seconds(total) for total in column]


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
        None if value is None else math.inf if value == b"+Inf" else int(value) for value in column
    ]


def texts(column: Sequence[float | None]) -> list[bytes | None]:
    """The inverse of `integers`."""
    return [
        None if value is None else b"+Inf" if value == math.inf else b"%d" % int(value)
        for value in column
    ]
