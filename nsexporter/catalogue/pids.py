"""Rows of every cgroup: processes."""

from __future__ import annotations

from nsexporter.catalogue.rows import Metric, cgroup, derive, key, limit, number
from nsexporter.families import derived

PIDS_METRICS: tuple[Metric, ...] = (
    cgroup(
        "processes",
        "Processes in the cgroup itself, zombies left out.",
        derive("cgroup.procs", derived.processes),
        derive("cgroup.procs", derived.processes),
        group="cgroups",
    ),
    cgroup(
        "pids_current",
        "Processes and threads in the cgroup and all below it.",
        number("pids.current"),
        number("pids.current"),
        since="4.3",
        group="pids",
    ),
    cgroup(
        "pids_limit",
        "Most processes and threads it may have, +Inf where there is no limit.",
        limit("pids.max"),
        limit("pids.max"),
        since="4.3",
        group="pids",
    ),
    cgroup(
        "pids_limit_hits_total",
        "Times a fork failed because of the limit.",
        key("pids.events", "max"),
        key("pids.events", "max"),
        since="4.8",
        group="pids",
    ),
    cgroup(
        "dying_descendants",
        "Removed cgroups below it that still hold memory (v2).",
        None,
        key("cgroup.stat", "nr_dying_descendants"),
        since="4.14",
    ),
)
