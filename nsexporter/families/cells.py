"""Rows of a snapshot's columns: which have changed since the pass before, and their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, compress
from operator import ne
from typing import Any, TypeVar

from nsexporter.changed import changed
from nsexporter.model import Cgroup

T = TypeVar("T")


class Rows:
    """The rows of a snapshot whose cgroups are other objects than `before`, by columns."""

    def __init__(self, before: Sequence[Cgroup], cgroups: Sequence[Cgroup]) -> None:
        self.indexes = changed(before, cgroups)
        self.cgroups = [cgroups[index] for index in self.indexes]

    def file(self, name: str) -> list[bytes | None]:
        """The text of a file."""
        return [files.get(name) for files in self._files]

    def stat(self, key: bytes) -> list[bytes | None]:
        """One key of memory.stat."""
        cells = self._stats.get(key)
        return [None] * len(self.cgroups) if cells is None else [*cells]

    @cached_property
    def _files(self) -> Sequence[Mapping[str, bytes]]:
        return [cgroup.files for cgroup in self.cgroups]

    @cached_property
    def _stats(self) -> Mapping[bytes, tuple[bytes | None, ...]]:
        """memory.stat turned: key to its values. Nearly all cgroups have the same keys."""
        if not self.cgroups:
            return {}
        layouts = Counter([cgroup.stat_keys for cgroup in self.cgroups])
        ((common, _),) = layouts.most_common(1)
        keys = tuple(dict.fromkeys(chain(common, *layouts)))
        lacking = (None,) * (len(keys) - len(common))
        rows = [
            cgroup.stat + lacking
            if cgroup.stat_keys == common
            else map(dict(zip(cgroup.stat_keys, cgroup.stat, strict=True)).get, keys)
            for cgroup in self.cgroups
        ]
        return dict(zip(keys, zip(*rows, strict=True), strict=True))


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

    A cell that is equal to what it was stays that object, and the column where all are. Where it
    is not as long as it has to be, the cells are all of it.
    """
    if len(column) != length:
        return cells, rows
    before = [column[row] for row in rows]
    if before == cells:
        return column, ()
    differing = [*compress(zip(rows, cells, strict=True), map(ne, before, cells))]
    patched = column.copy()
    for row, cell in differing:
        patched[row] = cell
    return patched, [row for row, _ in differing]
