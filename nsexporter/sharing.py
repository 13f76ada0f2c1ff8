"""Samples about namespaces: what they are, who is in them, who shares them with whom."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from nsexporter import labels
from nsexporter.columns import Columns
from nsexporter.labels import Pairs
from nsexporter.model import NS_TYPES, Snapshot
from nsexporter.samples import Samples


def namespaces(columns: Columns) -> Samples:
    """How many namespaces of each type have a process."""
    counts = dict.fromkeys(NS_TYPES, 0)
    for namespace in columns.snapshot.namespaces:
        if namespace.processes:
            counts[namespace.ns_type] += 1
    # A type that no process has a link of is one that this kernel does not have, or that we
    # may not read: absent, not 0.
    return [(_type(ns_type), count) for ns_type, count in counts.items() if count]


def namespaces_limit(columns: Columns) -> Samples:
    """The host's limit of each type."""
    return [(_type(t), limit) for t, limit in columns.snapshot.namespace_limits.items()]


def namespace_info(columns: Columns) -> Samples:
    """The scope of every namespace: host, container, shared (of several containers), other."""
    host = columns.snapshot.host_namespaces
    for namespace in columns.snapshot.namespaces:
        if host.get(namespace.ns_type) == namespace.inode:
            scope = "host"
        else:
            scope = ("other", "container", "shared")[min(2, len(namespace.containers))]
        yield (*_ns(namespace.ns_type, namespace.inode), ("scope", scope)), 1


def namespace_processes(columns: Columns) -> Samples:
    """Processes of every namespace."""
    return [(_ns(n.ns_type, n.inode), n.processes) for n in columns.snapshot.namespaces]


def namespace_for_children(columns: Columns) -> Samples:
    """Processes that only their children will be in it, where there are any."""
    return [
        (_ns(n.ns_type, n.inode), n.for_children)
        for n in columns.snapshot.namespaces
        if n.for_children
    ]


def namespace_containers(columns: Columns) -> Samples:
    """Containers of every namespace."""
    return [(_ns(n.ns_type, n.inode), len(n.containers)) for n in columns.snapshot.namespaces]


def host_namespace_containers(columns: Columns) -> Samples:
    """Containers in the host's namespace of each type."""
    host = columns.snapshot.host_namespaces
    return [
        (_type(n.ns_type), len(n.containers))
        for n in columns.snapshot.namespaces
        if host.get(n.ns_type) == n.inode
    ]


def container_namespace_info(columns: Columns) -> Samples:
    """Every namespace that a container has a process in."""
    for pairs, ns_type, inodes in _by_container(columns.snapshot):
        for inode in sorted(inodes):
            yield (*pairs, *_ns(ns_type, inode)), 1


def container_namespace_peers(columns: Columns) -> Samples:
    """Other containers in a container's namespaces, each once."""
    members: dict[tuple[str, int], frozenset[str]] = {
        (n.ns_type, n.inode): n.containers for n in columns.snapshot.namespaces
    }
    for pairs, ns_type, inodes in _by_container(columns.snapshot):
        peers = frozenset().union(*(members[ns_type, inode] for inode in inodes))
        yield (*pairs, ("ns_type", ns_type)), len(peers) - 1


def container_host_namespace(columns: Columns) -> Samples:
    """Whether a container is in the host's namespace, where that one is known."""
    host = columns.snapshot.host_namespaces
    for pairs, ns_type, inodes in _by_container(columns.snapshot):
        if ns_type in host:
            yield (*pairs, ("ns_type", ns_type)), int(host[ns_type] in inodes)


def unread_processes(columns: Columns) -> Samples:
    """Processes whose /proc/PID/ns may not be read."""
    return [((), columns.snapshot.unread_processes)]


def _by_container(snapshot: Snapshot) -> Iterator[tuple[Pairs, str, set[int]]]:
    """For each container and type, the container's labels and the inodes it is in."""
    inodes: Mapping[str, Mapping[str, set[int]]] = defaultdict(lambda: defaultdict(set))
    for namespace in snapshot.namespaces:
        for container_id in namespace.containers:
            inodes[container_id][namespace.ns_type].add(namespace.inode)
    for container in snapshot.containers:
        if container.container_id in inodes:
            pairs = labels.of_container(container)
            for ns_type in NS_TYPES:
                found = inodes[container.container_id].get(ns_type)
                if found:
                    yield pairs, ns_type, found


def _type(ns_type: str) -> Pairs:
    return (("ns_type", ns_type),)


def _ns(ns_type: str, inode: int) -> Pairs:
    return (("ns_type", ns_type), ("ns_inode", str(inode)))
