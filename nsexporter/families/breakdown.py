"""Samples of every cgroup by NUMA node and by huge page size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from nsexporter.families import labels
from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.samples import Samples

Nodes = Sequence[dict[bytes, dict[str, int]] | None]
"""What memory.numa_stat of every cgroup tells: key to node to value."""

_LISTS = {
    "anon": (b"inactive_anon", b"active_anon"),
    "file": (b"inactive_file", b"active_file"),
    "unevictable": (b"unevictable",),
}
_NUMA_STAT = "memory.numa_stat"
_COUNTED = (b"workingset_", b"pg")
"""How v2's keys begin that count events, not bytes (memcg_page_state_output_unit in the kernel)."""


def of_nodes(columns: Columns) -> tuple[object, ...]:
    """What samples of memory.numa_stat are made of."""
    return columns.whose, columns.numa_stat(_NUMA_STAT)


def numa(columns: Columns) -> Samples:
    """Bytes on the lists of each node; v1 tells pages, and its anon and file are both lists."""
    v1 = columns.snapshot.hierarchy == "v1"
    unit = _unit(columns)
    for cgroup, nodes in zip(columns.cgroups, columns.numa_stat(_NUMA_STAT), strict=True):
        if nodes is None:
            continue
        pairs = labels.of_cgroup(cgroup)
        for name, lists in _LISTS.items():
            keys = (f"hierarchical_{name}".encode(),) if v1 else lists
            found = [nodes[key] for key in keys if key in nodes]
            for node in found[0] if found else ():
                total = sum(one.get(node, 0) for one in found)
                yield (*pairs, ("node", node), ("list", name)), total * unit


def numa_stat(*, counted: bool) -> Callable[[Columns], Samples]:
    """Every key of memory.numa_stat on each node: what v2 counts, or the bytes of all others."""

    def samples(columns: Columns) -> Iterator[tuple[labels.Pairs, float]]:
        unit = _unit(columns)
        column = columns.numa_stat(_NUMA_STAT)
        for cgroup, nodes in zip(columns.cgroups, column, strict=True):
            pairs = labels.of_cgroup(cgroup)
            for key, values in (nodes or {}).items():
                if key.startswith(_COUNTED) is counted:
                    for node, value in values.items():
                        yield (*pairs, ("node", node), ("key", key.decode())), value * unit

    return samples


def _unit(columns: Columns) -> int:
    """Bytes of one of what memory.numa_stat tells: pages on v1."""
    return os.sysconf("SC_PAGE_SIZE") if columns.snapshot.hierarchy == "v1" else 1


@dataclass(frozen=True, slots=True)
class Hugetlb:
    """One kind of file (of v1 or v2) of every size; of a flat keyed one, one key."""

    v1: str
    v2: str
    key: bytes = b""

    def samples(self, columns: Columns) -> Iterator[tuple[labels.Pairs, bytes]]:
        """The value of every cgroup and size."""
        for size, column in self._columns(columns):
            for cgroup, value in zip(columns.cgroups, column, strict=True):
                if value is not None:
                    yield (*labels.of_cgroup(cgroup), ("size", size)), value

    def of(self, columns: Columns) -> tuple[object, ...]:
        """What the samples are made of."""
        return columns.whose, *(column for _, column in self._columns(columns))

    def _columns(self, columns: Columns) -> Iterator[tuple[str, Column]]:
        for name, size, kind in _hugetlb(columns):
            if kind in (self.v1, self.v2):
                keyed = self.key and kind == self.v2
                yield size, columns.key(name, self.key) if keyed else columns.limit(name)


def hugetlb_numa(columns: Columns) -> Samples:
    """Bytes of huge pages on each node, in the cgroup and below."""
    for size, column in _hugetlb_numa(columns):
        for cgroup, nodes in zip(columns.cgroups, column, strict=True):
            # v2 has the one, v1 both, of which `total` is the cgroup's own.
            values = nodes and nodes.get(b"hierarchical_total", nodes.get(b"total"))
            for node, value in (values or {}).items():
                yield (*labels.of_cgroup(cgroup), ("size", size), ("node", node)), value


def of_hugetlb_numa(columns: Columns) -> tuple[object, ...]:
    """What the same are made of."""
    return columns.whose, *(column for _, column in _hugetlb_numa(columns))


def _hugetlb_numa(columns: Columns) -> Iterator[tuple[str, Nodes]]:
    for name, size, kind in _hugetlb(columns):
        if kind == "numa_stat":
            yield size, columns.numa_stat(name)


def _hugetlb(columns: Columns) -> Iterator[tuple[str, str, str]]:
    """Name, size and kind of every file of the hugetlb controller."""
    for name in sorted(columns.file_names):
        if name.startswith("hugetlb."):
            size, _, kind = name.removeprefix("hugetlb.").partition(".")
            yield name, size, kind
