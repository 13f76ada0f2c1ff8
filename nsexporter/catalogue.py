"""Every metric: one row each. Reading, exposition, reference and tests follow from the rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nsexporter import derived, sharing
from nsexporter.columns import Columns
from nsexporter.derived import Column
from nsexporter.labels import CGROUP_LABELS
from nsexporter.sharing import Samples


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from, in words, and how its column is made."""

    text: str
    column: Callable[[Columns], Column]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One sample for every cgroup: the value of the row's own label, and its two sources."""

    label_value: str | None = None
    v1: Source | None = None
    v2: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family.

    Either `series` (for every cgroup, with the cgroup's labels and `label`) or `samples` (any
    label values, in the order of `labels`). `help` is one sentence that ends with a full stop.
    """

    name: str
    type: str  # gauge, counter, info
    help: str
    group: str  # the collector it belongs to
    unit: str = ""
    label: str | None = None
    series: tuple[Series, ...] = ()
    labels: tuple[str, ...] = ()
    samples: Callable[[Columns], Samples] | None = None
    sources: tuple[str, str] = ("", "")  # v1, v2 in words, for rows with `samples`
    since: str = ""  # the kernel that first tells it, where that is after 3.10


def number(name: str) -> Source:
    return Source(name, lambda columns: columns.number(name))


def limit(name: str) -> Source:
    return Source(name, lambda columns: columns.limit(name))


def stat(key: str) -> Source:
    return Source(f"memory.stat {key}", lambda columns: columns.stat(key.encode()))


def key(name: str, word: str) -> Source:
    return Source(f"{name} {word}", lambda columns: columns.key(name, word.encode()))


def local_event(word: str) -> Source:
    """memory.events.local, or memory.events on kernels before 5.2."""

    def column(columns: Columns) -> Column:
        local = columns.key("memory.events.local", word.encode())
        if any(value is not None for value in local):
            return local
        return columns.key("memory.events", word.encode())

    return Source(f"memory.events.local {word}", column)


def pressure(kind: str) -> Source:
    return Source(
        f"memory.pressure {kind} total",
        lambda columns: columns.pressure("memory.pressure", kind.encode()),
    )


def derive(text: str, column: Callable[[Columns], Column]) -> Source:
    return Source(text, column)


def memory(
    name: str,
    help_: str,
    v1: Source | None = None,
    v2: Source | None = None,
    *,
    since: str = "",
    group: str = "memory",
) -> Metric:
    """A row for every cgroup; type and unit follow from the name."""
    return Metric(
        name=f"nsexporter_cgroup_{name}",
        type="counter" if name.endswith("_total") else "gauge",
        help=help_,
        group=group,
        unit=_unit(name),
        series=(Series(v1=v1, v2=v2),),
        since=since,
    )


def by(
    name: str,
    help_: str,
    label: str,
    values: dict[str, tuple[Source | None, Source | None]],
    *,
    since: str = "",
) -> Metric:
    """A row for every cgroup and each of some label values."""
    return Metric(
        name=f"nsexporter_cgroup_{name}",
        type="counter",
        help=help_,
        group="memory",
        label=label,
        series=tuple(Series(label_value=value, v1=v1, v2=v2) for value, (v1, v2) in values.items()),
        since=since,
    )


def _unit(name: str) -> str:
    base = name.removesuffix("_total")
    return next((unit for unit in ("bytes", "seconds") if base.endswith(f"_{unit}")), "")


CGROUP_METRICS: tuple[Metric, ...] = (
    memory(
        "memory_usage_bytes",
        "Memory charged to the cgroup and all below it, page cache included"
        " (v1's value is batched and may be some pages off).",
        number("memory.usage_in_bytes"),
        number("memory.current"),
    ),
    memory(
        "memory_working_set_bytes",
        "Usage less inactive file pages, not below 0: what cannot be reclaimed at once.",
        derive("memory.usage_in_bytes - total_inactive_file", derived.working_set),
        derive("memory.current - inactive_file", derived.working_set),
    ),
    memory(
        "memory_peak_bytes",
        "Highest usage since the cgroup was made or the peak was reset.",
        number("memory.max_usage_in_bytes"),
        number("memory.peak"),
        since="5.19 on v2",
    ),
    memory(
        "memory_limit_bytes",
        "Hard limit of the cgroup itself, +Inf where it has none.",
        limit("memory.limit_in_bytes"),
        limit("memory.max"),
    ),
    memory(
        "memory_effective_limit_bytes",
        "Smallest hard limit from the cgroup up to the root, +Inf where there is none.",
        derive("min of memory.limit_in_bytes upwards", derived.effective_limit),
        derive("min of memory.max upwards", derived.effective_limit),
    ),
    memory(
        "memory_headroom_bytes",
        "Least of limit less usage from the cgroup up to the root: what it may grow before"
        " reclaim or a kill.",
        derive("min of limit - usage upwards", derived.headroom),
        derive("min of memory.max - memory.current upwards", derived.headroom),
    ),
    memory(
        "memory_failcnt_total",
        "Times the hard limit was hit (counted where the limit is, and on v1 not when"
        " memory+swap has the same limit); v1's can be reset.",
        number("memory.failcnt"),
        local_event("max"),
    ),
    memory(
        "memory_soft_limit_bytes",
        "Soft limit, above which pages are reclaimed first when the host runs short, +Inf where"
        " it has none.",
        limit("memory.soft_limit_in_bytes"),
    ),
    memory(
        "memory_min_bytes",
        "Memory that is never reclaimed from the cgroup (hard protection).",
        None,
        limit("memory.min"),
        since="4.18",
    ),
    memory(
        "memory_low_bytes",
        "Memory that is reclaimed only when nothing unprotected is left (best-effort protection).",
        None,
        limit("memory.low"),
    ),
    memory(
        "memory_high_bytes",
        "Usage above which the cgroup is throttled and reclaimed, +Inf where it has none.",
        None,
        limit("memory.high"),
    ),
    memory(
        "memory_reservation_bytes",
        "What --memory-reservation sets: the soft limit on v1 (+Inf: none), memory.low on v2"
        " (0: none).",
        derive("memory.soft_limit_in_bytes", derived.reservation),
        derive("memory.low", derived.reservation),
    ),
    memory(
        "memory_reservation_excess_bytes",
        "Usage above the reservation, what the kernel reclaims first under pressure; only where"
        " there is a reservation.",
        derive("memory.usage_in_bytes - memory.soft_limit_in_bytes", derived.reservation_excess),
        derive("memory.current - memory.low", derived.reservation_excess),
    ),
    memory(
        "memory_low_events_total",
        "Times the cgroup was reclaimed although below memory.low.",
        None,
        local_event("low"),
    ),
    memory(
        "memory_high_events_total",
        "Times the cgroup's processes were throttled because usage was above memory.high.",
        None,
        local_event("high"),
    ),
    memory(
        "memory_oom_events_total",
        "Times the cgroup was at its hard limit and allocation was about to fail.",
        None,
        local_event("oom"),
    ),
    memory(
        "memory_oom_kills_total",
        "Processes of the cgroup itself killed by any OOM killer, as the kernel counts them"
        " (the first of a group kill counts twice on v2).",
        key("memory.oom_control", "oom_kill"),
        local_event("oom_kill"),
        since="4.13",
    ),
    memory(
        "memory_oom_group_kills_total",
        "Times the whole cgroup was OOM-killed because of memory.oom.group.",
        None,
        local_event("oom_group_kill"),
        since="5.17",
    ),
    memory(
        "memory_under_oom",
        "1 while the cgroup is out of memory and its processes wait.",
        key("memory.oom_control", "under_oom"),
    ),
    memory(
        "memory_oom_kill_disabled",
        "1 where the OOM killer is disabled, so that processes wait instead of being killed.",
        key("memory.oom_control", "oom_kill_disable"),
    ),
    memory(
        "memory_oom_group",
        "1 where the OOM killer kills all of the cgroup or none of it.",
        None,
        number("memory.oom.group"),
        since="4.19",
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
    memory(
        "memory_page_faults_total",
        "Page faults, major ones included.",
        stat("total_pgfault"),
        stat("pgfault"),
    ),
    memory(
        "memory_major_page_faults_total",
        "Page faults that had to read from a device.",
        stat("total_pgmajfault"),
        stat("pgmajfault"),
    ),
    memory(
        "memory_anon_bytes",
        "Anonymous memory in use (v1's rss, which includes swap cache).",
        stat("total_rss"),
        stat("anon"),
    ),
    memory(
        "memory_file_bytes",
        "Page cache, tmpfs and shared memory included.",
        stat("total_cache"),
        stat("file"),
    ),
    memory(
        "memory_shmem_bytes",
        "Page cache that is backed by swap: tmpfs, shared memory.",
        stat("total_shmem"),
        stat("shmem"),
        since="4.19 on v1",
    ),
    memory(
        "memory_mapped_file_bytes",
        "Page cache that is mapped.",
        stat("total_mapped_file"),
        stat("file_mapped"),
    ),
    memory(
        "memory_dirty_bytes",
        "Page cache that waits to be written.",
        stat("total_dirty"),
        stat("file_dirty"),
    ),
    memory(
        "memory_writeback_bytes",
        "Page cache that is being written.",
        stat("total_writeback"),
        stat("file_writeback"),
    ),
    *(
        memory(
            f"memory_{age}_{kind}_bytes",
            f"{'Anonymous' if kind == 'anon' else 'File'} pages on the {age} list.",
            stat(f"total_{age}_{kind}"),
            stat(f"{age}_{kind}"),
        )
        for age in ("inactive", "active")
        for kind in ("anon", "file")
    ),
    memory(
        "memory_unevictable_bytes",
        "Memory that cannot be reclaimed (mlock and the like).",
        stat("total_unevictable"),
        stat("unevictable"),
    ),
    memory(
        "memory_kernel_bytes",
        "Kernel memory charged to the cgroup.",
        number("memory.kmem.usage_in_bytes"),
        stat("kernel"),
        since="5.18 on v2",
    ),
    memory(
        "memory_slab_reclaimable_bytes",
        "Slab memory that can be reclaimed, such as dentries and inodes.",
        None,
        stat("slab_reclaimable"),
    ),
    memory(
        "memory_slab_unreclaimable_bytes",
        "Slab memory that cannot be reclaimed.",
        None,
        stat("slab_unreclaimable"),
    ),
    memory("memory_kernel_stack_bytes", "Kernel stacks.", None, stat("kernel_stack")),
    memory("memory_pagetables_bytes", "Page tables.", None, stat("pagetables"), since="5.16"),
    memory("memory_percpu_bytes", "Per-CPU kernel memory.", None, stat("percpu"), since="5.9"),
    memory("memory_sock_bytes", "Network transmission buffers.", None, stat("sock")),
    memory(
        "memory_zswap_bytes",
        "Memory that the compressed copies in zswap take.",
        None,
        stat("zswap"),
        since="5.19",
    ),
    memory(
        "memory_zswapped_bytes",
        "Memory swapped out into zswap, before compression.",
        None,
        stat("zswapped"),
        since="5.19",
    ),
    memory(
        "memory_anon_thp_bytes",
        "Anonymous memory in transparent huge pages.",
        stat("total_rss_huge"),
        stat("anon_thp"),
        since="5.10 on v2",
    ),
    memory(
        "memory_kernel_failcnt_total",
        "Times the kernel memory limit was hit (v1; dead since the limit was removed).",
        number("memory.kmem.failcnt"),
    ),
    memory(
        "memory_kernel_tcp_bytes",
        "TCP buffer memory (v1).",
        number("memory.kmem.tcp.usage_in_bytes"),
    ),
    memory(
        "memory_kernel_tcp_failcnt_total",
        "Times the TCP buffer limit was hit (v1).",
        number("memory.kmem.tcp.failcnt"),
    ),
    memory(
        "memory_kernel_tcp_limit_bytes",
        "Limit of TCP buffer memory, +Inf where there is none (v1).",
        limit("memory.kmem.tcp.limit_in_bytes"),
    ),
    memory(
        "memory_memsw_usage_bytes",
        "Memory and swap together (v1).",
        number("memory.memsw.usage_in_bytes"),
    ),
    memory(
        "memory_memsw_limit_bytes",
        "Limit of memory and swap together, +Inf where there is none (v1).",
        limit("memory.memsw.limit_in_bytes"),
    ),
    memory(
        "memory_memsw_peak_bytes",
        "Highest use of memory and swap together (v1).",
        number("memory.memsw.max_usage_in_bytes"),
    ),
    memory(
        "memory_memsw_failcnt_total",
        "Times the limit of memory and swap together was hit (v1; stays 0 on recent kernels).",
        number("memory.memsw.failcnt"),
    ),
    memory(
        "memory_swap_usage_bytes",
        "Swap used by the cgroup and all below it.",
        stat("total_swap"),
        number("memory.swap.current"),
    ),
    memory(
        "memory_swap_limit_bytes",
        "Hard limit of swap, +Inf where there is none (v2).",
        None,
        limit("memory.swap.max"),
    ),
    memory(
        "memory_swap_peak_bytes",
        "Highest use of swap (v2).",
        None,
        number("memory.swap.peak"),
        since="6.5",
    ),
    memory(
        "memory_swap_max_events_total",
        "Times swap was at its limit and allocation failed (v2).",
        None,
        key("memory.swap.events", "max"),
        since="4.18",
    ),
    memory(
        "memory_swap_failures_total",
        "Times swap allocation failed, for the limit or because the host has no more (v2).",
        None,
        key("memory.swap.events", "fail"),
        since="4.18",
    ),
    memory(
        "memory_pressure_waiting_seconds_total",
        "Time in which at least one process waited for memory (PSI some).",
        pressure("some"),
        pressure("some"),
        since="4.20",
        group="pressure",
    ),
    memory(
        "memory_pressure_stalled_seconds_total",
        "Time in which all processes waited for memory (PSI full).",
        pressure("full"),
        pressure("full"),
        since="4.20",
        group="pressure",
    ),
    memory(
        "memory_swappiness",
        "How readily anonymous memory is swapped out, 0 to 200 (v1).",
        number("memory.swappiness"),
    ),
    memory(
        "processes",
        "Processes in the cgroup itself, zombies left out.",
        derive("cgroup.procs", derived.processes),
        derive("cgroup.procs", derived.processes),
        group="cgroups",
    ),
    memory(
        "pids_current",
        "Processes and threads in the cgroup and all below it.",
        number("pids.current"),
        number("pids.current"),
        since="4.3",
        group="pids",
    ),
    memory(
        "pids_limit",
        "Most processes and threads it may have, +Inf where there is no limit.",
        limit("pids.max"),
        limit("pids.max"),
        since="4.3",
        group="pids",
    ),
    memory(
        "pids_limit_hits_total",
        "Times a fork failed because of the limit.",
        key("pids.events", "max"),
        key("pids.events", "max"),
        since="4.8",
        group="pids",
    ),
    memory(
        "dying_descendants",
        "Removed cgroups below it that still hold memory (v2).",
        None,
        key("cgroup.stat", "nr_dying_descendants"),
        since="4.14",
    ),
)


def host(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    samples: Callable[[Columns], Samples],
    source: str,
    *,
    group: str = "namespaces",
    since: str = "",
) -> Metric:
    """A row with label values of its own; type and unit follow from the name."""
    counter, info = name.endswith("_total"), name.endswith("_info")
    return Metric(
        name=f"nsexporter_{name}",
        type="counter" if counter else "info" if info else "gauge",
        help=help_,
        group=group,
        unit=_unit(name),
        labels=labels,
        samples=samples,
        sources=(source, source),
        since=since,
    )


HOST_METRICS: tuple[Metric, ...] = (
    host(
        "cgroup_info",
        "What a cgroup is; 1.",
        (*CGROUP_LABELS, "kind", "hierarchy", "unit"),
        sharing.cgroup_info,
        "the cgroup's path",
        group="cgroups",
    ),
    host(
        "cgroup_limited_by_info",
        "Whose hard limit is the cgroup's effective limit; 1.",
        (*CGROUP_LABELS, "limiting_cgroup"),
        sharing.limited_by_info,
        "the limits from the cgroup up to the root",
        group="memory",
    ),
    host(
        "container_info",
        "What a container is; 1.",
        (*CGROUP_LABELS, "id", "runtime", "pod_uid", "qos"),
        sharing.container_info,
        "the cgroup's path",
        group="cgroups",
    ),
    host(
        "host_oom_kills_total",
        "Processes that any OOM killer killed on the host since boot.",
        (),
        sharing.host_oom_kills,
        "/proc/vmstat oom_kill",
        group="vmstat",
        since="4.13",
    ),
    host(
        "host_memory_bytes",
        "Memory of the host.",
        (),
        sharing.host_memory,
        "/proc/meminfo MemTotal",
        group="vmstat",
    ),
    host(
        "namespaces",
        "Namespaces that at least one process is in.",
        ("ns_type",),
        sharing.namespaces,
        "/proc/PID/ns",
    ),
    host(
        "namespaces_limit",
        "Namespaces of the type that each user of the initial user namespace may have made.",
        ("ns_type",),
        sharing.namespaces_limit,
        "/proc/sys/user/max_*_namespaces",
        since="4.9",
    ),
    host(
        "namespace_info",
        "What a namespace is: whether it is the host's, or whose processes are in it; 1.",
        ("ns_type", "ns_inode", "scope"),
        sharing.namespace_info,
        "/proc/PID/ns",
    ),
    host(
        "namespace_processes",
        "Processes in the namespace, as lsns counts them, zombies left out.",
        ("ns_type", "ns_inode"),
        sharing.namespace_processes,
        "/proc/PID/ns",
    ),
    host(
        "namespace_for_children_processes",
        "Processes whose children will be in the namespace though they are not themselves"
        " (pid_for_children, time_for_children); only where there is one.",
        ("ns_type", "ns_inode"),
        sharing.namespace_for_children,
        "/proc/PID/ns/*_for_children",
        since="4.12, time 5.6",
    ),
    host(
        "namespace_containers",
        "Containers with a process in the namespace.",
        ("ns_type", "ns_inode"),
        sharing.namespace_containers,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "host_namespace_containers",
        "Containers with a process in the host's own namespace.",
        ("ns_type",),
        sharing.host_namespace_containers,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "container_namespace_info",
        "Which namespaces the container's processes are in; 1.",
        (*CGROUP_LABELS, "ns_type", "ns_inode"),
        sharing.container_namespace_info,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "container_namespace_peers",
        "Other containers with a process in a namespace that the container is in, the host's"
        " included.",
        (*CGROUP_LABELS, "ns_type"),
        sharing.container_namespace_peers,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "container_host_namespace",
        "1 where a process of the container is in the host's own namespace, else 0.",
        (*CGROUP_LABELS, "ns_type"),
        sharing.container_host_namespace,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "namespace_unread_processes",
        "Processes whose namespaces may not be read (CAP_SYS_PTRACE is missing).",
        (),
        sharing.unread_processes,
        "/proc/PID/ns",
    ),
)

METRICS: tuple[Metric, ...] = CGROUP_METRICS + HOST_METRICS
"""Every row, in the order of the exposition; those of the exporter itself are in `selfmetrics`."""
