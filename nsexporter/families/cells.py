"""Rows of a snapshot's columns: which have changed since the pass before, and their cells."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import chain
from typing import TypeVar

from nsexporter.model import Cgroup

T = TypeVar("T")


class Rows:
    """Some cgroups of a snapshot, by columns."""

    def __init__(self, indexes: Sequence[int], cgroups: Sequence[Cgroup]) -> None:
        self.indexes = indexes
        self.cgroups = [cgroups[index] for index in indexes]

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


def patched(column: list[T], rows: Sequence[int], cells: list[T], length: int) -> list[T]:
    """`column` with these `cells` in these `rows`; the same object where it has them already.

    A cell that is equal to what it was stays that object. Where the column is not as long as it
    has to be, the cells are all of it.
    """
    if len(column) != length:
        return cells
    before = [column[row] for row in rows]
    if before == cells:
        return column
    column = column.copy()
    for row, cell, was in zip(rows, cells, before, strict=True):
        if cell != was:
            column[row] = cell
    return column
