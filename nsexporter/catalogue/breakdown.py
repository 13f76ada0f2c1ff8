"""Rows of every cgroup by NUMA node and by huge page size; off by default."""

from __future__ import annotations

from dataclasses import replace

from nsexporter.catalogue.rows import Metric, host
from nsexporter.families import breakdown
from nsexporter.families.labels import CGROUP_LABELS


def _hugetlb(
    name: str, text: str, v1: str, v2: str, key: bytes = b"", *, since: str = ""
) -> Metric:
    """A row of one kind of the hugetlb controller's files, for every size."""
    files = breakdown.Hugetlb(v1, v2, key)
    row = host(
        f"cgroup_hugetlb_{name}",
        text,
        (*CGROUP_LABELS, "size"),
        files.samples,
        "hugetlb",
        group="hugetlb",
        since=since,
        of=files.of,
    )
    told_by_v2 = f"hugetlb.SIZE.{v2} {key.decode()}".rstrip() if v2 else "-"
    return replace(row, sources=(f"hugetlb.SIZE.{v1}", told_by_v2))


BREAKDOWN_METRICS: tuple[Metric, ...] = (
    replace(
        host(
            "cgroup_memory_numa_bytes",
            "Memory on the lists of each NUMA node, by list: anon, file, unevictable.",
            (*CGROUP_LABELS, "node", "list"),
            breakdown.numa,
            "memory.numa_stat",
            group="numa",
            of=breakdown.of_nodes,
        ),
        sources=("memory.numa_stat hierarchical_*", "memory.numa_stat inactive_*, active_*"),
    ),
    host(
        "cgroup_memory_numa_stat_bytes",
        "Memory on each NUMA node, by every key of memory.numa_stat that is an amount; v1's are of"
        " the cgroup alone but for hierarchical_*, v2's with all below.",
        (*CGROUP_LABELS, "node", "key"),
        breakdown.numa_stat(counted=False),
        "memory.numa_stat",
        group="numa",
        of=breakdown.of_nodes,
    ),
    replace(
        host(
            "cgroup_memory_numa_stat_events_total",
            "Events on each NUMA node, by every key of memory.numa_stat that is a count (v2).",
            (*CGROUP_LABELS, "node", "key"),
            breakdown.numa_stat(counted=True),
            "memory.numa_stat",
            group="numa",
            of=breakdown.of_nodes,
        ),
        sources=("-", "memory.numa_stat workingset_*, pg*"),
    ),
    _hugetlb("usage_bytes", "Huge pages in use, by size.", "usage_in_bytes", "current"),
    _hugetlb(
        "limit_bytes", "Limit of huge pages, by size; +Inf for none.", "limit_in_bytes", "max"
    ),
    _hugetlb("peak_bytes", "Most huge pages ever in use, by size (v1).", "max_usage_in_bytes", ""),
    _hugetlb(
        "failcnt_total",
        "Times the limit of huge pages was hit, by size; v2 counts that of reservations too.",
        "failcnt",
        "events.local",
        b"max",
    ),
    _hugetlb(
        "reserved_bytes",
        "Huge pages reserved, in use or not, by size.",
        "rsvd.usage_in_bytes",
        "rsvd.current",
        since="5.7",
    ),
    _hugetlb(
        "reserved_limit_bytes",
        "Limit of huge pages reserved, by size; +Inf for none.",
        "rsvd.limit_in_bytes",
        "rsvd.max",
        since="5.7",
    ),
    _hugetlb(
        "reserved_peak_bytes",
        "Most huge pages ever reserved, by size (v1).",
        "rsvd.max_usage_in_bytes",
        "",
        since="5.7",
    ),
    _hugetlb(
        "reserved_failcnt_total",
        "Times the limit of huge pages reserved was hit, by size (v1).",
        "rsvd.failcnt",
        "",
        since="5.7",
    ),
    replace(
        host(
            "cgroup_hugetlb_numa_bytes",
            "Huge pages in use in the cgroup and below on each NUMA node, by size.",
            (*CGROUP_LABELS, "size", "node"),
            breakdown.hugetlb_numa,
            "hugetlb.SIZE.numa_stat",
            group="hugetlb",
            since="5.17",
            of=breakdown.of_hugetlb_numa,
        ),
        sources=("hugetlb.SIZE.numa_stat hierarchical_total", "hugetlb.SIZE.numa_stat total"),
    ),
)
