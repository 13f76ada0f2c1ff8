"""Samples of every cgroup by NUMA node and by huge page size."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from nsexporter import labels
from nsexporter.columns import Columns
from nsexporter.kernel import parse
from nsexporter.samples import Samples

_LISTS = {
    "anon": (b"inactive_anon", b"active_anon"),
    "file": (b"inactive_file", b"active_file"),
    "unevictable": (b"unevictable",),
}


def numa(columns: Columns) -> Samples:
    """Bytes on the lists of each node; v1 tells pages, and its anon and file are both lists."""
    v1 = columns.snapshot.hierarchy == "v1"
    unit = os.sysconf("SC_PAGE_SIZE") if v1 else 1
    for cgroup in columns.cgroups:
        text = cgroup.files.get("memory.numa_stat")
        if text is None:
            continue
        try:
            nodes = parse.numa_stat(text)
        except parse.ParseError:
            columns.malformed["memory.numa_stat"] += 1
            continue
        pairs = labels.of_cgroup(cgroup)
        for name, lists in _LISTS.items():
            keys = (f"hierarchical_{name}".encode(),) if v1 else lists
            found = [nodes[key] for key in keys if key in nodes]
            for node in found[0] if found else ():
                total = sum(one.get(node, 0) for one in found)
                yield (*pairs, ("node", node), ("list", name)), total * unit


def hugetlb(v1: str, v2: str, key: bytes = b"") -> Callable[[Columns], Samples]:
    """One kind of file (of v1 or v2) of every size; of a flat keyed one, one key."""

    def samples(columns: Columns) -> Iterator[tuple[labels.Pairs, bytes]]:
        for cgroup in columns.cgroups:
            for name, text in cgroup.files.items():
                if not name.startswith("hugetlb."):
                    continue
                size, _, kind = name.removeprefix("hugetlb.").partition(".")
                if kind not in (v1, v2):
                    continue
                try:
                    keyed = key and kind == v2
                    value = parse.flat_keyed(text)[key] if keyed else parse.limit(text)
                except (parse.ParseError, KeyError):
                    columns.malformed[name] += 1
                    continue
                yield (*labels.of_cgroup(cgroup), ("size", size)), value

    return samples
