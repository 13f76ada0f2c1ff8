"""Rows of a snapshot's columns: which have changed since the pass before, and their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress, repeat
from operator import ne
from typing import Any, TypeVar

from nsexporter.changed import changed, fitted
from nsexporter.kernel.parse import ParseError, flat_columns
from nsexporter.kernel.texts import Table
from nsexporter.model import Cgroup

T = TypeVar("T")


Cells = tuple[list[Any], Sequence[int]]
"""What was parsed of some rows, and which of them have a text that is malformed."""

_Flat = tuple[list[bytes], list[bytes]]  # keys and values


class Rows:
    """The rows of a snapshot whose cgroups are other objects than `before`, by columns."""

    def __init__(self, before: Sequence[Cgroup], cgroups: Sequence[Cgroup]) -> None:
        self.indexes = changed(before, cgroups)
        self.cgroups = [cgroups[index] for index in self.indexes]
        self._parsed: dict[tuple[str, object], Cells] = {}

    def file_names(self) -> frozenset[str]:
        """The names of all files that some of the cgroups may have."""
        return self._texts.names()

    def parsed(self, name: str, parser: Callable[[bytes], object]) -> Cells:
        """A file; of texts that are equal one is parsed. None is absent or malformed."""
        known = self._parsed.get((name, parser))
        if known is None:
            texts = self._texts.column(name)
            values: dict[bytes | None, object] = {}
            malformed = set[bytes]()
            for text in {*texts}:
                try:
                    values[text] = None if text is None else parser(text)
                except ParseError:
                    assert text is not None
                    values[text] = None
                    malformed.add(text)
            wrong: Sequence[int] = ()
            if malformed:
                wrong = [*compress(self.indexes, map(malformed.__contains__, texts))]
            known = self._parsed[name, parser] = [*map(values.__getitem__, texts)], wrong
        return known

    def stat(self, key: bytes) -> Cells:
        """One key of memory.stat."""
        columns, wrong = self._stats
        cells = columns.get(key)
        return [None] * len(self.cgroups) if cells is None else [*cells], wrong

    @cached_property
    def _texts(self) -> Table:
        return Table([cgroup.files for cgroup in self.cgroups])

    @cached_property
    def _stats(self) -> tuple[Mapping[bytes, tuple[bytes | None, ...]], Sequence[int]]:
        """memory.stat turned: key to its values. Nearly all cgroups have the same keys."""
        cells, wrong = self.parsed("memory.stat", _FlatParser())
        if not cells:
            return {}, wrong
        read: list[_Flat] = [flat or ([], []) for flat in cells]
        layouts = {id(keys): keys for keys, _ in read}
        ((most, _),) = Counter([id(keys) for keys, _ in read]).most_common(1)
        common = layouts[most]
        every = [*dict.fromkeys(chain(common, *layouts.values()))]
        lacking = [None] * (len(every) - len(common))
        rows: list[Iterable[bytes | None]] = [
            [*values, *lacking]
            if keys is common
            else map(dict(zip(keys, values, strict=True)).get, every)
            for keys, values in read
        ]
        return dict(zip(every, zip(*rows, strict=True), strict=True)), wrong


class _FlatParser:
    """Keys and values of one text after the other; those that have the same keys share them."""

    def __init__(self) -> None:
        self._keys: list[bytes] = []

    def __call__(self, text: bytes) -> _Flat:
        keys, values = flat_columns(text)
        if keys != self._keys:
            if len({*keys}) < len(keys):
                raise ParseError(f"{text[:80]!r} has a key twice")
            self._keys = keys
        return self._keys, values


@dataclass(frozen=True, slots=True)
class Patch:
    """A column of this pass, the one of the pass before, and the rows in which they differ."""

    before: Sequence[Any]
    column: Sequence[Any]
    rows: Sequence[int]


def patch(
    column: list[T], rows: Sequence[int], cells: list[T], length: int
) -> tuple[list[T], Sequence[int]]:
    """`column` with these `cells` in these `rows`, and in which of them that is another cell.

    A cell that is equal to what it was stays that object, and the column where all are. It becomes
    `length` long; what is beyond its end is among the rows.
    """
    before = [column[row] for row in rows if row < len(column)]
    if before == cells and len(column) == length:
        return column, ()
    if len(rows) == length != len(column):
        return cells, rows
    others = chain(map(ne, before, cells), repeat(True))
    differing = [*compress(zip(rows, cells, strict=True), others)]
    patched = fitted(column, length)
    for row, cell in differing:
        patched[row] = cell
    return patched, [row for row, _ in differing]
