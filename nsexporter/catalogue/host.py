"""Rows about cgroups, containers and the host that have label values of their own."""

from __future__ import annotations

from nsexporter.catalogue.rows import Metric, containers, host
from nsexporter.families import samples
from nsexporter.families.labels import CGROUP_LABELS

HOST_METRICS: tuple[Metric, ...] = (
    host(
        "cgroup_info",
        "What a cgroup is, and of its systemd unit the name and this run's id; 1.",
        (*CGROUP_LABELS, "kind", "hierarchy", "unit", "invocation_id"),
        None,
        "the cgroup's path, /run/systemd/units",
        group="cgroups",
        table=samples.cgroup_info,
    ),
    host(
        "cgroup_limited_by_info",
        "Whose hard limit is the cgroup's effective limit; 1.",
        (*CGROUP_LABELS, "limiting_cgroup"),
        samples.limited_by_info,
        "the limits from the cgroup up to the root",
        group="memory",
        of=samples.limits,
    ),
    host(
        "container_info",
        "What a container is, with the runtime's labels that labels.allow lists as label_NAME;"
        " where only its processes told, guess says what of them; 1.",
        (*CGROUP_LABELS, "id", "runtime", "image", "image_id", "pod_uid", "qos", "guess"),
        samples.container_info,
        "the cgroup's path, the runtime's state",
        group="cgroups",
        of=containers,
    ),
    host(
        "container_created_timestamp_seconds",
        "When the container was made, as its runtime tells.",
        CGROUP_LABELS,
        samples.container_created,
        "the runtime's state",
        group="cgroups",
        of=containers,
    ),
    host(
        "container_restarts_total",
        "Starts of the container after its first, as its runtime tells.",
        CGROUP_LABELS,
        samples.container_restarts,
        "the runtime's state",
        group="cgroups",
        of=containers,
    ),
    host(
        "host_oom_kills_total",
        "Processes that any OOM killer killed on the host since boot.",
        (),
        samples.host_oom_kills,
        "/proc/vmstat oom_kill",
        group="vmstat",
        since="4.13",
    ),
    *(
        host(
            f"host_{name}_bytes",
            text,
            (),
            samples.meminfo(key.encode()),
            f"/proc/meminfo {key}",
            group="vmstat",
            since=since,
        )
        for name, text, key, since in (
            ("memory", "Memory of the host.", "MemTotal", ""),
            (
                "memory_available",
                "Memory that can be had without swapping: what bounds a cgroup with no limit.",
                "MemAvailable",
                "3.14",
            ),
            ("swap", "Swap of the host.", "SwapTotal", ""),
            ("swap_free", "Swap of the host that is not used.", "SwapFree", ""),
        )
    ),
    *(
        host(
            f"host_memory_pressure_{name}_seconds_total",
            text,
            (),
            samples.host_pressure(kind.encode()),
            f"/proc/pressure/memory {kind} total",
            group="pressure",
            since="4.20",
        )
        for name, text, kind in (
            ("waiting", "Time in which a process of the host waited for memory.", "some"),
            ("stalled", "Time in which all processes of the host waited for memory.", "full"),
        )
    ),
    *(
        host(
            f"host_soft_limit_{name}_total",
            text,
            (),
            samples.soft_limit_rounds(index),
            "the trace event mm_vmscan_memcg_softlimit_reclaim_end",
            group="memory",
        )
        for index, (name, text) in enumerate(
            (
                (
                    "reclaims",
                    "Rounds of soft limit reclaim of the host, of whatever cgroup (the kernel does"
                    " not tell which), since the trace began; v1.",
                ),
                (
                    "reclaimed_pages",
                    "Pages that the traced rounds of soft limit reclaim reclaimed on the host; v1.",
                ),
            )
        )
    ),
)
