"""Rows about OOM kills, from the ledger: also of cgroups that are gone."""

from __future__ import annotations

from nsexporter.catalogue.rows import Metric, Series, derive, host
from nsexporter.families import killed
from nsexporter.families.labels import CGROUP_LABELS

_LEDGER = "memory.oom_control oom_kill, /dev/kmsg, /proc/vmstat oom_kill"
_LEDGER_V2 = "memory.events and memory.events.local oom_kill, /dev/kmsg, /proc/vmstat oom_kill"
_CONSTRAINTS = ("memcg", "none", "cpuset", "memory_policy", "unknown")

OOM_METRICS: tuple[Metric, ...] = (
    Metric(
        name="nsexporter_oom_kills_total",
        type="counter",
        help="Processes of the cgroup, of a container also below it, that an OOM killer killed, as"
        " the kernel counts them: because of a limit (memcg), because the host ran out (none), or"
        " unknown where only a counter told.",
        group="oom",
        label="constraint",
        series=tuple(
            Series(
                label_value=constraint,
                v1=derive(_LEDGER, killed.living(constraint)),
                v2=derive(_LEDGER_V2, killed.living(constraint)),
            )
            for constraint in _CONSTRAINTS
        ),
        labels=(*CGROUP_LABELS, "constraint"),
        samples=killed.gone,
        of=killed.accounts,
        sources=(_LEDGER, _LEDGER_V2),
    ),
    host(
        "oom_last_kill_timestamp_seconds",
        "When an OOM killer last killed a process of the cgroup, or when that was first seen.",
        CGROUP_LABELS,
        killed.last_time,
        "/dev/kmsg, else when a counter rose",
        group="oom",
        of=killed.accounts,
    ),
    host(
        "oom_last_kill_info",
        "The name of the process of the cgroup that an OOM killer killed last; 1.",
        (*CGROUP_LABELS, "task"),
        killed.last_info,
        "/dev/kmsg",
        group="oom",
        of=killed.accounts,
    ),
    host(
        "oom_kills_unattributed_total",
        "OOM kills of which nothing tells the cgroup, those before the exporter's start included.",
        (),
        killed.unattributed,
        "/proc/vmstat oom_kill less what is attributed",
        group="oom",
        of=killed.accounts,
    ),
    host(
        "oom_event_sources",
        "1 for what tells of OOM kills on this host, 0 for what does not.",
        ("source",),
        killed.sources,
        "whether it could be read",
        group="oom",
        of=killed.accounts,
    ),
)
