"""Rows about namespaces and who shares them."""

from __future__ import annotations

from nsexporter.catalogue.rows import Metric, host, tabled
from nsexporter.families import peers, sharing
from nsexporter.families.labels import CGROUP_LABELS

NAMESPACE_METRICS: tuple[Metric, ...] = (
    host(
        "namespaces",
        "Namespaces that at least one process is in; one changed by setns shows within"
        " collectors.namespaces.refresh passes (8), a new process's at once.",
        ("ns_type",),
        sharing.namespaces,
        "/proc/PID/ns",
        of=sharing.every,
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
        "namespaces_limit_used_ratio",
        "All namespaces of the type, whoever made them, by the limit of one user: no user is"
        " nearer to the limit than this.",
        ("ns_type",),
        sharing.namespaces_limit_used_ratio,
        "/proc/PID and /proc/sys/user/max_*_namespaces",
        since="4.9",
        of=sharing.every_and_limits,
    ),
    host(
        "namespaces_without_process",
        "Namespaces that no process is in, by what keeps them: mount (a bind mount in any mount"
        " namespace), fd (an open descriptor; collectors.namespaces.max_fds of the host's are"
        " looked at in a pass, in turn), child (a namespace that it is the parent or owner of),"
        " process (for its children); without held_by where only listns tells of it.",
        ("ns_type", "held_by"),
        sharing.namespaces_without_process,
        "/proc/PID/mountinfo, /proc/PID/fd, NS_GET_PARENT, NS_GET_USERNS",
        of=sharing.every_and_holders,
    ),
    host(
        "namespaces_without_process_for_day",
        "Namespaces that no process has been in for longer than a day, as far as was seen since the"
        " exporter's start.",
        ("ns_type",),
        sharing.namespaces_without_process_for_day,
        "/proc/PID/mountinfo, /proc/PID/fd, NS_GET_PARENT, NS_GET_USERNS",
    ),
    host(
        "namespace_without_process_since_timestamp_seconds",
        "When the namespace was first seen without a process, of those that no process is in.",
        ("ns_type", "ns_inode"),
        sharing.namespace_without_process_since,
        "/proc/PID/mountinfo, /proc/PID/fd, NS_GET_PARENT, NS_GET_USERNS",
        of=sharing.every,
    ),
    tabled(
        "namespace_info",
        "What a namespace is: scope (host, container, pod, shared, service, other), held_by"
        " (process, mount, fd, child), path (a mount point, or the fd where only that keeps it),"
        " the user namespace that owns it and who made that, the PID or user namespace above it;"
        " 1.",
        (
            "ns_type",
            "ns_inode",
            "scope",
            "held_by",
            "path",
            "owner_ns_inode",
            "parent_ns_inode",
            "owner_uid",
        ),
        sharing.namespace_info,
        "/proc/PID/ns, /proc/PID/mountinfo, /proc/PID/fd, ioctl_nsfs",
    ),
    host(
        "namespace_depth",
        "Levels of a PID or user namespace below the initial one.",
        ("ns_type", "ns_inode"),
        sharing.namespace_depth,
        "NS_GET_PARENT",
        since="4.9",
        of=sharing.every,
    ),
    host(
        "user_namespace_mapped_uids",
        "User IDs that the user namespace maps, of those that a process is in.",
        ("ns_type", "ns_inode"),
        sharing.user_namespace_mapped_uids,
        "/proc/PID/uid_map",
        of=sharing.every,
    ),
    tabled(
        "namespace_processes",
        "Processes in the namespace, as lsns counts them, zombies left out.",
        ("ns_type", "ns_inode"),
        sharing.namespace_processes,
        "/proc/PID/ns",
    ),
    host(
        "namespace_threads",
        "Threads in the namespace whose process is in another one; only where there is one, and"
        " with collectors.namespaces.threads.",
        ("ns_type", "ns_inode"),
        sharing.namespace_threads,
        "/proc/PID/task/TID/ns",
        of=sharing.every,
    ),
    host(
        "namespace_for_children_processes",
        "Processes whose children will be in the namespace though they are not themselves"
        " (pid_for_children, time_for_children); only where there is one.",
        ("ns_type", "ns_inode"),
        sharing.namespace_for_children,
        "/proc/PID/ns/*_for_children",
        since="4.12, time 5.6",
        of=sharing.every,
    ),
    tabled(
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
        of=sharing.every_and_host,
    ),
    tabled(
        "container_namespace_info",
        "Which namespaces the container's processes are in; 1.",
        (*CGROUP_LABELS, "ns_type", "ns_inode"),
        peers.container_namespace_info,
        "/proc/PID/ns and cgroup.procs",
    ),
    tabled(
        "container_namespace_peers",
        "Other containers with a process in a namespace that the container is in, the host's"
        " included.",
        (*CGROUP_LABELS, "ns_type"),
        peers.container_namespace_peers,
        "/proc/PID/ns and cgroup.procs",
    ),
    tabled(
        "container_namespace_peers_outside_pod",
        "Other containers with a process in a namespace that the container is in, without those of"
        " its own pod and without the host's namespace (container_host_namespace tells of that).",
        (*CGROUP_LABELS, "ns_type"),
        peers.container_namespace_peers_outside_pod,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "container_root_is_host_root",
        "1 where user ID 0 in the container is user ID 0 of the host, else 0.",
        CGROUP_LABELS,
        peers.container_root_is_host_root,
        "/proc/PID/ns/user and /proc/PID/uid_map",
        of=peers.roots,
    ),
    tabled(
        "container_host_namespace",
        "1 where a process of the container is in the host's own namespace, else 0.",
        (*CGROUP_LABELS, "ns_type"),
        peers.container_host_namespace,
        "/proc/PID/ns and cgroup.procs",
    ),
    host(
        "namespace_unread_processes",
        "Processes whose namespaces may not be read (CAP_SYS_PTRACE is missing), or that the mount"
        " option hidepid hides.",
        (),
        sharing.unread_processes,
        "/proc/PID/ns",
    ),
    host(
        "namespace_unread_threads",
        "Threads that were not looked at: beyond collectors.namespaces.max_threads of a process.",
        (),
        sharing.unread_threads,
        "/proc/PID/task",
    ),
)
