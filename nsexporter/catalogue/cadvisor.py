"""Rows under the names that cAdvisor has, for dashboards and alerts that were written for it."""

from __future__ import annotations

from collections.abc import Callable

from nsexporter.catalogue.rows import Metric, Source, limit, local_event, number, stat
from nsexporter.families import cadvisor, derived
from nsexporter.families.columns import Columns
from nsexporter.families.samples import Table

_LABELS = ("container", "id", "image", "name", "namespace", "pod")


def _row(
    name: str,
    help_: str,
    table: Callable[[Columns], Table],
    v1: str,
    v2: str,
    *,
    labels: tuple[str, ...] = (),
    counter: bool = False,
) -> Metric:
    return Metric(
        name=name,
        type="counter" if counter else "gauge",
        help=help_,
        group="cadvisor",
        labels=(*_LABELS, *labels),
        table=table,
        sources=(v1, v2),
    )


def _sourced(name: str, help_: str, v1: Source, v2: Source, *, counter: bool = False) -> Metric:
    return _row(
        name,
        help_,
        cadvisor.column(v1.column, v2.column),
        v1.text,
        v2.text,
        counter=counter,
    )


CADVISOR_METRICS: tuple[Metric, ...] = (
    _row(
        "container_memory_usage_bytes",
        "Memory charged to the cgroup and all below it, page cache included.",
        cadvisor.column(
            number("memory.usage_in_bytes").column,
            cadvisor.with_root(number("memory.current").column),
        ),
        "memory.usage_in_bytes",
        "memory.current; of the root anon + file",
    ),
    _row(
        "container_memory_working_set_bytes",
        "Usage less inactive file pages, not below 0.",
        cadvisor.column(
            derived.working_set, cadvisor.with_root(derived.working_set, b"inactive_file")
        ),
        "memory.usage_in_bytes - total_inactive_file",
        "memory.current - inactive_file; of the root anon + file - inactive_file",
    ),
    _sourced("container_memory_rss", "Anonymous memory in use.", stat("total_rss"), stat("anon")),
    _sourced("container_memory_cache", "Page cache.", stat("total_cache"), stat("file")),
    _sourced(
        "container_memory_swap", "Swap in use.", stat("total_swap"), number("memory.swap.current")
    ),
    _sourced(
        "container_memory_mapped_file",
        "Page cache that is mapped.",
        stat("total_mapped_file"),
        stat("file_mapped"),
    ),
    _sourced(
        "container_memory_kernel_usage",
        "Kernel memory charged to the cgroup.",
        number("memory.kmem.usage_in_bytes"),
        stat("kernel"),
    ),
    _sourced(
        "container_memory_max_usage_bytes",
        "Highest usage so far.",
        number("memory.max_usage_in_bytes"),
        number("memory.peak"),
    ),
    _sourced(
        "container_memory_failcnt",
        "Times the hard limit was hit.",
        number("memory.failcnt"),
        local_event("max"),
        counter=True,
    ),
    _row(
        "container_memory_failures_total",
        "Page faults (pgfault) and those that read from a device (pgmajfault), of the cgroup itself"
        " (scope container) and with all below it (scope hierarchy).",
        cadvisor.failures,
        "memory.stat pgfault, pgmajfault, total_pgfault, total_pgmajfault",
        "memory.stat pgfault, pgmajfault",
        labels=("failure_type", "scope"),
        counter=True,
    ),
    _sourced(
        "container_spec_memory_limit_bytes",
        "Hard limit of the cgroup itself, +Inf where it has none.",
        limit("memory.limit_in_bytes"),
        limit("memory.max"),
    ),
    _sourced(
        "container_spec_memory_reservation_limit_bytes",
        "What --memory-reservation sets: the soft limit on v1 (+Inf: none), memory.low on v2"
        " (0: none).",
        limit("memory.soft_limit_in_bytes"),
        limit("memory.low"),
    ),
    _sourced(
        "container_spec_memory_swap_limit_bytes",
        "Limit of memory and swap together on v1, of swap alone on v2, +Inf where there is none.",
        limit("memory.memsw.limit_in_bytes"),
        limit("memory.swap.max"),
    ),
    _row(
        "container_oom_events_total",
        "Processes of the cgroup, of a container also below it, that an OOM killer killed.",
        cadvisor.oom_events,
        "the ledger of OOM kills",
        "the ledger of OOM kills",
        counter=True,
    ),
    _row(
        "container_last_seen",
        "When the cgroup was last seen, in seconds since the epoch.",
        cadvisor.last_seen,
        "the clock",
        "the clock",
    ),
    _row(
        "container_start_time_seconds",
        "When the container was made, where its runtime tells, in seconds since the epoch.",
        cadvisor.start_time,
        "the runtime's state",
        "the runtime's state",
    ),
    Metric(
        name="machine_memory_bytes",
        type="gauge",
        help="Memory of the host.",
        group="cadvisor",
        unit="bytes",
        samples=cadvisor.machine_memory,
        sources=("/proc/meminfo MemTotal", "/proc/meminfo MemTotal"),
    ),
)
"""Exported with compat.cadvisor only."""
