"""The interface files of a cgroup (cgroup-v2.rst, memory.rst), and what makes them change."""

from __future__ import annotations

V1_FILES = (
    "memory.usage_in_bytes",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.failcnt",
    "memory.soft_limit_in_bytes",
    "memory.oom_control",
    "memory.kmem.usage_in_bytes",
    "memory.kmem.failcnt",
    "memory.kmem.tcp.usage_in_bytes",
    "memory.kmem.tcp.failcnt",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.memsw.max_usage_in_bytes",
    "memory.memsw.failcnt",
    "memory.swappiness",
)
V2_FILES = (
    "memory.current",
    "memory.stat",
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.peak",
    "memory.events",
    "memory.events.local",
    "memory.oom.group",
    "memory.swap.current",
    "memory.swap.max",
    "memory.swap.peak",
    "memory.swap.events",
    "memory.pressure",
    "cgroup.stat",
)
PIDS_FILES = ("pids.current", "pids.max", "pids.events")
PROCS = "cgroup.procs"

HOT = frozenset(
    {
        "memory.usage_in_bytes",
        "memory.kmem.usage_in_bytes",
        "memory.current",
        "memory.stat",
        "memory.oom_control",
        "memory.events",
        "memory.events.local",
    }
)
"""Read in every pass. Whatever else the kernel counts in a cgroup changes one of these too (on v1
kernel memory does not: it is counted page by page, usage by batches)."""

WRITTEN = frozenset(
    {
        "memory.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "memory.kmem.tcp.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.swappiness",
        "memory.use_hierarchy",
        "memory.max",
        "memory.high",
        "memory.low",
        "memory.min",
        "memory.oom.group",
        "memory.swap.max",
        "pids.max",
    }
)
"""Changed only by a write, which inotify tells."""

REFRESH = 16
"""Passes in which every file of every cgroup is read once, whatever was told or has changed."""

IN_TURN = frozenset((*V1_FILES, *V2_FILES, *PIDS_FILES)) - HOT - WRITTEN
"""Read when a hot file of the cgroup has changed; else in turn, so up to REFRESH passes old."""
