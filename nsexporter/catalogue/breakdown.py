"""Rows of every cgroup by NUMA node and by huge page size; off by default."""

from __future__ import annotations

from dataclasses import replace

from nsexporter import breakdown
from nsexporter.catalogue.rows import Metric, host
from nsexporter.labels import CGROUP_LABELS

BREAKDOWN_METRICS: tuple[Metric, ...] = (
    replace(
        host(
            "cgroup_memory_numa_bytes",
            "Memory on the lists of each NUMA node, by list: anon, file, unevictable.",
            (*CGROUP_LABELS, "node", "list"),
            breakdown.numa,
            "memory.numa_stat",
            group="numa",
        ),
        sources=("memory.numa_stat hierarchical_*", "memory.numa_stat inactive_*, active_*"),
    ),
    *(
        replace(
            host(
                f"cgroup_hugetlb_{name}",
                text,
                (*CGROUP_LABELS, "size"),
                breakdown.hugetlb(v1, v2, key),
                "hugetlb",
                group="hugetlb",
            ),
            sources=(
                f"hugetlb.SIZE.{v1}",
                f"hugetlb.SIZE.{v2} {key.decode()}".rstrip() if v2 else "-",
            ),
        )
        for name, text, v1, v2, key in (
            ("usage_bytes", "Huge pages in use, by size.", "usage_in_bytes", "current", b""),
            ("limit_bytes", "Limit of huge pages, by size; +Inf for none.", "limit_in_bytes",
             "max", b""),
            ("peak_bytes", "Most huge pages ever in use, by size (v1).", "max_usage_in_bytes",
             "", b""),
            ("failcnt_total", "Times the limit of huge pages was hit, by size.", "failcnt",
             "events.local", b"max"),
        )
    ),
)  # fmt: skip
