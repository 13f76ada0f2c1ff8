"""Samples about namespaces: what they are and who is in them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from nsexporter.families import labels
from nsexporter.families.columns import Columns
from nsexporter.families.labels import Pairs
from nsexporter.families.samples import Samples, Table
from nsexporter.model import NS_TYPES, Container, Namespace, Snapshot

Members = Mapping[tuple[str, int], frozenset[str]]
"""Type and inode of a namespace to the full ids of the containers in it."""

Place = tuple[Container, str, Sequence[int]]
"""A container, a type, and the inodes of that type that its processes are in."""

_KEPT_BY_CHILDREN = ("pid", "user")
_DAY = 86_400.0


def namespaces(columns: Columns) -> Samples:
    """How many namespaces of each type have a process."""
    return _counts(
        columns.snapshot, lambda namespace: bool(namespace.processes or namespace.threads)
    )


def namespaces_limit(columns: Columns) -> Samples:
    """The host's limit of each type."""
    return [(_type(t), limit) for t, limit in columns.snapshot.namespace_limits.items()]


def namespaces_limit_used_ratio(columns: Columns) -> Samples:
    """All namespaces of each type, whoever made them, by the limit of one user."""
    limits = columns.snapshot.namespace_limits
    for ns_type, count in Counter(n.ns_type for n in columns.snapshot.namespaces).items():
        if limits.get(ns_type):
            yield _type(ns_type), count / limits[ns_type]


def namespaces_without_process(columns: Columns) -> Samples:
    """How many of each type are kept by each thing that can keep them, 0 included."""
    counts = {
        (ns_type, held_by): 0
        for ns_type in _types(columns.snapshot)
        for held_by in columns.snapshot.namespace_holders
        if held_by != "child" or ns_type in _KEPT_BY_CHILDREN
    }
    for namespace in columns.snapshot.namespaces:
        if namespace.without_process_since is not None:
            key = (namespace.ns_type, namespace.held_by)
            counts[key] = counts.get(key, 0) + 1
    for (ns_type, held_by), count in counts.items():
        yield (*_type(ns_type), ("held_by", held_by)), count


def namespaces_without_process_for_day(columns: Columns) -> Samples:
    """How many of each type have been seen without a process for longer than a day."""
    snapshot = columns.snapshot
    return _counts(
        snapshot,
        lambda namespace: (
            namespace.without_process_since is not None
            and snapshot.timestamp - namespace.without_process_since > _DAY
        ),
    )


def namespace_without_process_since(columns: Columns) -> Samples:
    """When a namespace was first seen without a process, of those that are."""
    for one in columns.snapshot.namespaces:
        if one.without_process_since is not None:
            yield _ns(one.ns_type, one.inode), one.without_process_since


def namespace_info(columns: Columns) -> Table:
    """scope, what keeps it, where it is mounted, whose it is, of every namespace."""
    snapshot = columns.snapshot
    host = columns.same("host", snapshot.host_namespaces)
    of = pods(columns)

    def text(one: Namespace) -> bytes:
        return labels.text(
            (
                *_ns(one.ns_type, one.inode),
                ("scope", scope(one, host, of)),
                ("held_by", one.held_by),
                ("path", one.path),
                ("owner_ns_inode", _text(one.owner)),
                ("parent_ns_inode", _text(one.parent)),
                ("owner_uid", _text(one.owner_uid)),
            )
        )

    texts = columns.each("namespace_info", snapshot.namespaces, text, host, columns.whose)
    return texts, [b"1"] * len(texts)


def namespace_depth(columns: Columns) -> Samples:
    """Levels below the topmost, of every PID and user namespace."""
    for one in columns.snapshot.namespaces:
        if one.depth is not None:
            yield _ns(one.ns_type, one.inode), one.depth


def user_namespace_mapped_uids(columns: Columns) -> Samples:
    """The size of the uid map of every user namespace with a process that has one."""
    for one in columns.snapshot.namespaces:
        if one.uid_map:
            yield _ns(one.ns_type, one.inode), sum(count for _, _, count in one.uid_map)


def namespace_processes(columns: Columns) -> Table:
    """Processes of every namespace."""
    return _texts(columns), [b"%d" % one.processes for one in columns.snapshot.namespaces]


def namespace_threads(columns: Columns) -> Samples:
    """Threads whose process is in another one, where there are any."""
    return [(_ns(n.ns_type, n.inode), n.threads) for n in columns.snapshot.namespaces if n.threads]


def namespace_for_children(columns: Columns) -> Samples:
    """Processes that only their children will be in it, where there are any."""
    return [
        (_ns(n.ns_type, n.inode), n.for_children)
        for n in columns.snapshot.namespaces
        if n.for_children
    ]


def namespace_containers(columns: Columns) -> Table:
    """Containers of every namespace."""
    return _texts(columns), [b"%d" % len(one.containers) for one in columns.snapshot.namespaces]


def host_namespace_containers(columns: Columns) -> Samples:
    """Containers in the host's namespace of each type."""
    host = columns.snapshot.host_namespaces
    return [
        (_type(n.ns_type), len(n.containers))
        for n in columns.snapshot.namespaces
        if host.get(n.ns_type) == n.inode
    ]


def unread_threads(columns: Columns) -> Samples:
    """Threads beyond collectors.namespaces.max_threads."""
    return [((), columns.snapshot.unread_threads)]


def unread_processes(columns: Columns) -> Samples:
    """Processes whose /proc/PID/ns may not be read."""
    return [((), columns.snapshot.unread_processes)]


def scope(namespace: Namespace, host: Mapping[str, int], pods: Mapping[str, str]) -> str:
    """host, container, pod, shared (of several containers), service or other."""
    if host.get(namespace.ns_type) == namespace.inode:
        return "host"
    if namespace.containers:
        if len(namespace.containers) == 1:
            return "container"
        of = {pods[container_id] for container_id in namespace.containers}
        return "pod" if len(of) == 1 and of != {""} else "shared"
    return "service" if namespace.kinds == {"service"} else "other"


def pods(columns: Columns) -> Mapping[str, str]:
    """`pods_of` the snapshot."""
    return columns.made("pods", lambda _: pods_of(columns.snapshot), columns.whose)


def pods_of(snapshot: Snapshot) -> dict[str, str]:
    """For each container id what its pod is known by: uid, podman's id, or name; or empty."""
    pods: dict[str, str] = {}
    for cgroup in snapshot.cgroups:
        identity, container = cgroup.identity, cgroup.container
        if identity.container_id:
            pod = pods.get(identity.container_id) or identity.pod_uid or identity.podman_pod
            if container is not None:
                name = container.pod_name and f"{container.pod_namespace}/{container.pod_name}"
                pod = pod or container.pod_uid or name
            pods[identity.container_id] = pod or ""
    return pods


def members(snapshot: Snapshot) -> Members:
    """The containers of every namespace that has some."""
    return {
        (one.ns_type, one.inode): one.containers for one in snapshot.namespaces if one.containers
    }


def by_container(containers: Sequence[Container], members: Members) -> Iterator[Place]:
    """Every container with every type that it is in a namespace of."""
    inodes: dict[tuple[str, str], list[int]] = {}
    for (ns_type, inode), inside in sorted(members.items()):
        for container_id in inside:
            inodes.setdefault((container_id, ns_type), []).append(inode)
    for container in containers:
        for ns_type in NS_TYPES:
            found = inodes.get((container.container_id, ns_type))
            if found:
                yield container, ns_type, found


def _types(snapshot: Snapshot) -> list[str]:
    """The types that this kernel has and that could be read."""
    there = {namespace.ns_type for namespace in snapshot.namespaces}
    return [ns_type for ns_type in NS_TYPES if ns_type in there]


def _counts(snapshot: Snapshot, counted: Callable[[Namespace], bool]) -> Samples:
    """How many namespaces of each type are counted. A type of which nothing was seen is one that
    this kernel does not have, or that may not be read: absent, not 0.
    """
    counts = dict.fromkeys(_types(snapshot), 0)
    for namespace in snapshot.namespaces:
        counts[namespace.ns_type] += counted(namespace)
    return [(_type(ns_type), count) for ns_type, count in counts.items()]


def _texts(columns: Columns) -> Sequence[bytes]:
    """The label text of every namespace."""
    every = columns.same("namespaces", [(n.ns_type, n.inode) for n in columns.snapshot.namespaces])
    return columns.made(
        "namespace texts", lambda every: [labels.text(_ns(*one)) for one in every], every
    )


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _type(ns_type: str) -> Pairs:
    return (("ns_type", ns_type),)


def _ns(ns_type: str, inode: int) -> Pairs:
    return (("ns_type", ns_type), ("ns_inode", str(inode)))
