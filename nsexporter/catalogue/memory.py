"""Rows of every cgroup: memory, v1 source first, v2 source second."""

from __future__ import annotations

from nsexporter.catalogue.rows import (
    Metric,
    cgroup,
    derive,
    key,
    limit,
    local_event,
    number,
    stat,
)
from nsexporter.families import derived

MEMORY_METRICS: tuple[Metric, ...] = (
    cgroup(
        "memory_usage_bytes",
        "Memory charged to the cgroup and all below it, page cache included"
        " (v1's value is batched and may be some pages off).",
        number("memory.usage_in_bytes"),
        number("memory.current"),
    ),
    cgroup(
        "memory_working_set_bytes",
        "Usage less inactive file pages, not below 0: what cannot be reclaimed at once.",
        derive("memory.usage_in_bytes - total_inactive_file", derived.working_set),
        derive("memory.current - inactive_file", derived.working_set),
    ),
    cgroup(
        "memory_peak_bytes",
        "Highest usage since the cgroup was made or the peak was reset.",
        number("memory.max_usage_in_bytes"),
        number("memory.peak"),
        since="5.19 on v2",
    ),
    cgroup(
        "memory_oom_events_total",
        "Times the cgroup was at its hard limit and allocation was about to fail.",
        None,
        local_event("oom"),
    ),
    cgroup(
        "memory_oom_kills_total",
        "Processes of the cgroup itself killed by any OOM killer, as the kernel counts them"
        " (the first of a group kill counts twice on v2).",
        key("memory.oom_control", "oom_kill"),
        local_event("oom_kill"),
        since="4.13",
    ),
    cgroup(
        "memory_oom_group_kills_total",
        "Times the whole cgroup was OOM-killed because of memory.oom.group.",
        None,
        local_event("oom_group_kill"),
        since="5.17",
    ),
    cgroup(
        "memory_under_oom",
        "1 while the cgroup is out of memory and its processes wait.",
        key("memory.oom_control", "under_oom"),
    ),
    cgroup(
        "memory_oom_kill_disabled",
        "1 where the OOM killer is disabled, so that processes wait instead of being killed.",
        key("memory.oom_control", "oom_kill_disable"),
    ),
    cgroup(
        "memory_oom_group",
        "1 where the OOM killer kills all of the cgroup or none of it.",
        None,
        number("memory.oom.group"),
        since="4.19",
    ),
    cgroup(
        "memory_page_faults_total",
        "Page faults, major ones included.",
        stat("total_pgfault"),
        stat("pgfault"),
    ),
    cgroup(
        "memory_major_page_faults_total",
        "Page faults that had to read from a device.",
        stat("total_pgmajfault"),
        stat("pgmajfault"),
    ),
    cgroup(
        "memory_anon_bytes",
        "Anonymous memory in use (v1's rss, which includes swap cache).",
        stat("total_rss"),
        stat("anon"),
    ),
    cgroup(
        "memory_file_bytes",
        "Page cache, tmpfs and shared memory included.",
        stat("total_cache"),
        stat("file"),
    ),
    cgroup(
        "memory_shmem_bytes",
        "Page cache that is backed by swap: tmpfs, shared memory.",
        stat("total_shmem"),
        stat("shmem"),
        since="4.19 on v1",
    ),
    cgroup(
        "memory_mapped_file_bytes",
        "Page cache that is mapped.",
        stat("total_mapped_file"),
        stat("file_mapped"),
    ),
    cgroup(
        "memory_dirty_bytes",
        "Page cache that waits to be written.",
        stat("total_dirty"),
        stat("file_dirty"),
    ),
    cgroup(
        "memory_writeback_bytes",
        "Page cache that is being written.",
        stat("total_writeback"),
        stat("file_writeback"),
    ),
    *(
        cgroup(
            f"memory_{age}_{kind}_bytes",
            f"{'Anonymous' if kind == 'anon' else 'File'} pages on the {age} list.",
            stat(f"total_{age}_{kind}"),
            stat(f"{age}_{kind}"),
        )
        for age in ("inactive", "active")
        for kind in ("anon", "file")
    ),
    cgroup(
        "memory_unevictable_bytes",
        "Memory that cannot be reclaimed (mlock and the like).",
        stat("total_unevictable"),
        stat("unevictable"),
    ),
    cgroup(
        "memory_kernel_bytes",
        "Kernel memory charged to the cgroup.",
        number("memory.kmem.usage_in_bytes"),
        stat("kernel"),
        since="5.18 on v2",
    ),
    cgroup(
        "memory_slab_reclaimable_bytes",
        "Slab memory that can be reclaimed, such as dentries and inodes.",
        None,
        stat("slab_reclaimable"),
    ),
    cgroup(
        "memory_slab_unreclaimable_bytes",
        "Slab memory that cannot be reclaimed.",
        None,
        stat("slab_unreclaimable"),
    ),
    cgroup("memory_kernel_stack_bytes", "Kernel stacks.", None, stat("kernel_stack")),
    cgroup("memory_pagetables_bytes", "Page tables.", None, stat("pagetables"), since="5.16"),
    cgroup("memory_percpu_bytes", "Per-CPU kernel memory.", None, stat("percpu"), since="5.9"),
    cgroup("memory_sock_bytes", "Network transmission buffers.", None, stat("sock")),
    cgroup(
        "memory_zswap_bytes",
        "Memory that the compressed copies in zswap take.",
        None,
        stat("zswap"),
        since="5.19",
    ),
    cgroup(
        "memory_zswapped_bytes",
        "Memory swapped out into zswap, before compression.",
        None,
        stat("zswapped"),
        since="5.19",
    ),
    cgroup(
        "memory_anon_thp_bytes",
        "Anonymous memory in transparent huge pages.",
        stat("total_rss_huge"),
        stat("anon_thp"),
        since="5.10 on v2",
    ),
    cgroup(
        "memory_kernel_failcnt_total",
        "Times the kernel memory limit was hit (v1; dead since the limit was removed).",
        number("memory.kmem.failcnt"),
    ),
    cgroup(
        "memory_kernel_tcp_bytes",
        "TCP buffer memory (v1).",
        number("memory.kmem.tcp.usage_in_bytes"),
    ),
    cgroup(
        "memory_kernel_tcp_failcnt_total",
        "Times the TCP buffer limit was hit (v1).",
        number("memory.kmem.tcp.failcnt"),
    ),
    cgroup(
        "memory_kernel_tcp_limit_bytes",
        "Limit of TCP buffer memory, +Inf where there is none (v1).",
        limit("memory.kmem.tcp.limit_in_bytes"),
    ),
    cgroup(
        "memory_memsw_usage_bytes",
        "Memory and swap together (v1).",
        number("memory.memsw.usage_in_bytes"),
    ),
    cgroup(
        "memory_memsw_peak_bytes",
        "Highest use of memory and swap together (v1).",
        number("memory.memsw.max_usage_in_bytes"),
    ),
    cgroup(
        "memory_memsw_failcnt_total",
        "Times the limit of memory and swap together was hit (v1; stays 0 on recent kernels).",
        number("memory.memsw.failcnt"),
    ),
    cgroup(
        "memory_swap_usage_bytes",
        "Swap used by the cgroup and all below it.",
        stat("total_swap"),
        number("memory.swap.current"),
    ),
    cgroup(
        "memory_swap_peak_bytes",
        "Highest use of swap (v2).",
        None,
        number("memory.swap.peak"),
        since="6.5",
    ),
    cgroup(
        "memory_swap_max_events_total",
        "Times swap was at its limit and allocation failed (v2).",
        None,
        key("memory.swap.events", "max"),
        since="4.18",
    ),
    cgroup(
        "memory_swap_failures_total",
        "Times swap allocation failed, for the limit or because the host has no more (v2).",
        None,
        key("memory.swap.events", "fail"),
        since="4.18",
    ),
)
