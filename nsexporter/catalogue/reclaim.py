"""Rows of every cgroup: who reclaims from it, how often, and who waits for it."""

from __future__ import annotations

from nsexporter.catalogue.rows import (
    Metric,
    by,
    cgroup,
    derive,
    local_event,
    number,
    pressure,
    stat,
)
from nsexporter.families import derived
from nsexporter.kernel.pressure_level import LEVELS

RECLAIM_METRICS: tuple[Metric, ...] = (
    cgroup(
        "memory_low_events_total",
        "Times the cgroup was reclaimed although below memory.low.",
        None,
        local_event("low"),
    ),
    cgroup(
        "memory_high_events_total",
        "Times the cgroup's processes were throttled because usage was above memory.high.",
        None,
        local_event("high"),
    ),
    by(
        "memory_reclaim_pressure_events_total",
        "Notifications of at least this level of memory pressure while the kernel reclaimed for"
        " the cgroup's own limit, on the root for the host (v1).",
        "level",
        {
            level: (derive("memory.pressure_level", derived.notifications(index)), None)
            for index, level in enumerate(LEVELS)
        },
        since="4.13",
    ),
    by(
        "memory_scanned_pages_total",
        "Pages scanned for reclaim, by who scanned (v1 counts none per cgroup).",
        "by",
        {
            who: (None, stat(f"pgscan_{who}"))
            for who in ("kswapd", "direct", "khugepaged", "proactive")
        },
        since="6.0, proactive 6.15",
    ),
    by(
        "memory_reclaimed_pages_total",
        "Pages reclaimed, by who reclaimed them (v1 counts none per cgroup).",
        "by",
        {
            who: (None, stat(f"pgsteal_{who}"))
            for who in ("kswapd", "direct", "khugepaged", "proactive")
        },
        since="6.0, proactive 6.15",
    ),
    by(
        "memory_refaults_total",
        "Pages faulted in again soon after they were reclaimed, by kind.",
        "kind",
        {
            kind: (
                stat(f"total_workingset_refault_{kind}"),
                stat(f"workingset_refault_{kind}"),
            )
            for kind in ("anon", "file")
        },
        since="5.9",
    ),
    cgroup(
        "memory_pressure_waiting_seconds_total",
        "Time in which at least one process waited for memory (PSI some).",
        pressure("some"),
        pressure("some"),
        since="4.20",
        group="pressure",
    ),
    cgroup(
        "memory_pressure_stalled_seconds_total",
        "Time in which all processes waited for memory (PSI full).",
        pressure("full"),
        pressure("full"),
        since="4.20",
        group="pressure",
    ),
    cgroup(
        "memory_swappiness",
        "How readily anonymous memory is swapped out, 0 to 200 (v1).",
        number("memory.swappiness"),
    ),
)
