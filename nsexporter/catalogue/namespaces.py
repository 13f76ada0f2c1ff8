"""Rows about namespaces and who shares them."""

from __future__ import annotations

from nsexporter import sharing
from nsexporter.catalogue.rows import Metric, host
from nsexporter.labels import CGROUP_LABELS

NAMESPACE_METRICS: tuple[Metric, ...] = (
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
