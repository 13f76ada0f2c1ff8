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
    "memory.kmem.limit_in_bytes",
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

LONG = frozenset({"memory.stat", "memory.numa_stat", "cgroup.stat", PROCS})
"""What may be longer than SHORT, besides the files of hugetlb by node."""

SHORT = 256
"""Bytes that nearly all other files are within."""

HOT = frozenset(
    {
        "memory.usage_in_bytes",
        "memory.current",
        "memory.stat",
        "memory.events",
    }
)
"""Read in every pass. Whatever else the kernel counts in a cgroup changes one of these too: on v1
kernel memory and what fewer than 64 pages a CPU do later, when they are read in turn."""

KILLS = frozenset({"memory.oom_control"})
"""Changed only as the OOM killer kills, which the host counts too (oom_kill of /proc/vmstat), or
where it is disabled."""

LIMITED = {
    "memory.failcnt": "memory.limit_in_bytes",
    "memory.memsw.failcnt": "memory.memsw.limit_in_bytes",
    "memory.kmem.failcnt": "memory.kmem.limit_in_bytes",
    "memory.kmem.tcp.failcnt": "memory.kmem.tcp.limit_in_bytes",
    "pids.events": "pids.max",
}
"""What stays as it is while that limit is none (page_counter_try_charge in mm/page_counter.c), and
of pids.events those above are none either (pids_can_fork in kernel/cgroup/pids.c)."""

USAGE, MEMSW_USAGE = "memory.usage_in_bytes", "memory.memsw.usage_in_bytes"
"""Charged and uncharged together (try_charge_memcg in mm/memcontrol.c): the same while nothing is
swapped out."""

PEAK, MEMSW_PEAK = "memory.max_usage_in_bytes", "memory.memsw.max_usage_in_bytes"
"""While nothing is swapped out the second grows only where the first does. By one charge (64 pages)
it may besides where the cgroup's own limit is hit, then both are read, or that with swap of one
above, which shows in turn."""

TCP_USAGE = "memory.kmem.tcp.usage_in_bytes"
"""Not charged before memory.kmem.tcp.limit_in_bytes was set (memcg1_tcpmem_active)."""

WRITTEN = frozenset(
    {
        "memory.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "memory.kmem.limit_in_bytes",
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
"""Changed only by a write, which inotify tells in the hierarchy that is watched, memory's."""

REFRESH = 16
"""Passes in which what the kernel counts in a cgroup is read once, whatever was told or changed."""

ROUNDS = 4
"""Of these, one in which the files of WRITTEN and KILLS are read once, whatever was told."""

IN_TURN = (
    frozenset((*V1_FILES, *V2_FILES, *PIDS_FILES))
    - (HOT | WRITTEN - {"pids.max"} | KILLS)  # v1's pids has a hierarchy of its own
    - {"memory.events.local"}  # memory.events has what it has
)
"""Read when a hot file of the cgroup has changed, and in turn, so up to REFRESH passes old."""
