"""Rows of every cgroup: its limits, its protection, and how far it is from them."""

from __future__ import annotations

from nsexporter.catalogue.rows import (
    Metric,
    cgroup,
    derive,
    limit,
    local_event,
    number,
)
from nsexporter.families import derived, protection

_EXCEEDED = derived.told(lambda history: history.reservation_exceeded)
_PEAK = derived.told(lambda history: history.peak)
_HITS = derived.told(lambda history: history.hits_since_kill)

LIMIT_METRICS: tuple[Metric, ...] = (
    cgroup(
        "memory_limit_bytes",
        "Hard limit of the cgroup itself, +Inf where it has none.",
        limit("memory.limit_in_bytes"),
        limit("memory.max"),
    ),
    cgroup(
        "memory_effective_limit_bytes",
        "Smallest hard limit from the cgroup up to the root, +Inf where only the host's memory"
        " bounds it (see nsexporter_host_memory_available_bytes).",
        derive("min of memory.limit_in_bytes upwards", derived.effective_limit),
        derive("min of memory.max upwards", derived.effective_limit),
    ),
    cgroup(
        "memory_headroom_bytes",
        "Least of limit less usage from the cgroup up to the root: what it may grow before"
        " reclaim or a kill, +Inf where only the host's memory bounds it.",
        derive("min of limit - usage upwards", derived.headroom),
        derive("min of memory.max - memory.current upwards", derived.headroom),
    ),
    cgroup(
        "memory_failcnt_total",
        "Times the hard limit was hit (counted where the limit is, and on v1 not when"
        " memory+swap has the same limit); v1's can be reset.",
        number("memory.failcnt"),
        local_event("max"),
    ),
    cgroup(
        "memory_soft_limit_bytes",
        "Soft limit, above which pages are reclaimed first when the host runs short, +Inf where"
        " it has none.",
        limit("memory.soft_limit_in_bytes"),
    ),
    cgroup(
        "memory_min_bytes",
        "Memory that is never reclaimed from the cgroup (hard protection).",
        None,
        limit("memory.min"),
        since="4.18",
    ),
    cgroup(
        "memory_low_bytes",
        "Memory that is reclaimed only when nothing unprotected is left (best-effort protection).",
        None,
        limit("memory.low"),
    ),
    cgroup(
        "memory_high_bytes",
        "Usage above which the cgroup is throttled and reclaimed, +Inf where it has none.",
        None,
        limit("memory.high"),
    ),
    cgroup(
        "memory_effective_high_bytes",
        "Smallest memory.high from the cgroup up to the root, +Inf where there is none.",
        None,
        derive("min of memory.high upwards", derived.effective_high),
    ),
    *(
        cgroup(
            f"memory_effective_{name}_bytes",
            f"What memory.{name} is worth: less where ancestors have less, more where"
            " memory_recursiveprot hands down what nobody claims.",
            None,
            derive(f"memory.{name} and memory.current up to the root", column),
            since=since,
        )
        for name, column, since in (
            ("min", protection.effective_min, "4.18"),
            ("low", protection.effective_low, ""),
        )
    ),
    *(
        cgroup(
            f"memory_{name}_overcommitted_bytes",
            f"How much more memory.{name} the children are given than the cgroup has to pass on;"
            " only where children are given some.",
            None,
            derive(f"sum of the children's memory.{name} - memory.{name}", column),
            since=since,
        )
        for name, column, since in (
            ("min", protection.min_overcommitted, "4.18"),
            ("low", protection.low_overcommitted, ""),
        )
    ),
    cgroup(
        "memory_reservation_bytes",
        "What --memory-reservation sets: the soft limit on v1 (+Inf: none), memory.low on v2"
        " (0: none).",
        derive("memory.soft_limit_in_bytes", derived.reservation),
        derive("memory.low", derived.reservation),
    ),
    cgroup(
        "memory_reservation_excess_bytes",
        "Usage above the reservation, what the kernel reclaims first under pressure; only where"
        " there is a reservation.",
        derive("memory.usage_in_bytes - memory.soft_limit_in_bytes", derived.reservation_excess),
        derive("memory.current - memory.low", derived.reservation_excess),
    ),
    cgroup(
        "memory_reservation_exceeded_seconds_total",
        "Time for which passes saw usage above the reservation; only where there is one.",
        derive("passes over memory.soft_limit_in_bytes", _EXCEEDED),
        derive("passes over memory.low", _EXCEEDED),
    ),
    cgroup(
        "memory_peak_since_last_pass_bytes",
        "Highest usage since the pass before: the kernel's where memory.peak is reset, else the"
        " largest of samples and only for cgroups within 10 % of their limit.",
        derive("samples of memory.usage_in_bytes", _PEAK),
        derive("memory.peak through its own descriptor, or samples of memory.current", _PEAK),
    ),
    cgroup(
        "memory_limit_hits_since_oom_kill",
        "Times the hard limit was hit since a pass last saw a new OOM kill in the cgroup or below;"
        " only where there is a limit, and not before the first pass can tell.",
        derive("passes over memory.failcnt and oom_kill", _HITS),
        derive("passes over max of memory.events.local and oom_kill of memory.events", _HITS),
    ),
    cgroup(
        "memory_memsw_limit_bytes",
        "Limit of memory and swap together, +Inf where there is none (v1).",
        limit("memory.memsw.limit_in_bytes"),
    ),
    cgroup(
        "memory_memsw_effective_limit_bytes",
        "Smallest limit of memory and swap together from the cgroup up to the root, +Inf where"
        " there is none (v1).",
        derive("min of memory.memsw.limit_in_bytes upwards", derived.memsw_effective_limit),
    ),
    cgroup(
        "memory_memsw_headroom_bytes",
        "Least of memory+swap limit less use from the cgroup up to the root (v1).",
        derive("min of memory.memsw limit - usage upwards", derived.memsw_headroom),
    ),
    cgroup(
        "memory_swap_limit_bytes",
        "Hard limit of swap, +Inf where there is none (v2).",
        None,
        limit("memory.swap.max"),
    ),
    cgroup(
        "memory_swap_effective_limit_bytes",
        "Smallest hard limit of swap from the cgroup up to the root, +Inf where only the host's"
        " swap bounds it (v1: absent where memory+swap is limited, for then swap alone is not).",
        derive("+Inf where no memory.memsw.limit_in_bytes upwards", derived.swap_effective_limit),
        derive("min of memory.swap.max upwards", derived.swap_effective_limit),
    ),
    cgroup(
        "memory_swap_headroom_bytes",
        "Least of swap limit less swap used from the cgroup up to the root (v2).",
        None,
        derive("min of memory.swap.max - memory.swap.current upwards", derived.swap_headroom),
    ),
)
