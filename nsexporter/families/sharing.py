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

Place = tuple[Container, str, tuple[int, ...]]
"""A container, a type, and the inodes of that type that its processes are in."""

_KEPT_BY_CHILDREN = ("pid", "user")
_DAY = 86_400.0


def every(columns: Columns) -> tuple[object, ...]:
    """What samples about namespaces alone are made of: the same object until one changes."""
    return (columns.snapshot.namespaces,)


def every_and_host(columns: Columns) -> tuple[object, ...]:
    """The same of samples that the host's own have a part in."""
    return (*every(columns), host(columns))


def every_and_limits(columns: Columns) -> tuple[object, ...]:
    """The same of what is told by the host's limits."""
    return (*every(columns), columns.same("limits", columns.snapshot.namespace_limits))


def every_and_holders(columns: Columns) -> tuple[object, ...]:
    """The same of what is told by what can keep a namespace."""
    return (*every(columns), columns.same("holders", columns.snapshot.namespace_holders))


def namespaces(columns: Columns) -> Samples:
    """How many namespaces of each type have a process.

    A type of which nothing was seen is one that this kernel does not have, or that may not be
    read: absent, not 0.
    """
    counts = dict.fromkeys(_types(columns), 0)
    for one in columns.snapshot.namespaces:
        counts[one.ns_type] += bool(one.processes or one.threads)
    return [(_type(ns_type), count) for ns_type, count in counts.items()]


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
        for ns_type in _types(columns)
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
    before = columns.snapshot.timestamp - _DAY
    counts = dict.fromkeys(_types(columns), 0)
    for since, ns_type in columns.made("empty since", _empty_since, columns.snapshot.namespaces):
        counts[ns_type] += since < before
    return [(_type(ns_type), count) for ns_type, count in counts.items()]


def namespace_without_process_since(columns: Columns) -> Samples:
    """When a namespace was first seen without a process, of those that are."""
    for one in columns.snapshot.namespaces:
        if one.without_process_since is not None:
            yield _ns(one.ns_type, one.inode), one.without_process_since


def namespace_info(columns: Columns) -> Table:
    """scope, what keeps it, where it is mounted, whose it is, of every namespace."""
    own, of = host(columns), pods(columns)

    def text(one: Namespace) -> bytes:
        return labels.text(
            (
                *_ns(one.ns_type, one.inode),
                ("scope", scope(one, own, of)),
                ("held_by", one.held_by),
                ("path", one.path),
                ("owner_ns_inode", _text(one.owner)),
                ("parent_ns_inode", _text(one.parent)),
                ("owner_uid", _text(one.owner_uid)),
            )
        )

    def texts(every: Sequence[Namespace], *inputs: object) -> Sequence[bytes]:
        return columns.each("namespace_info", every, text, *inputs)

    made = columns.made("namespace_info texts", texts, columns.snapshot.namespaces, own, of)
    return made, columns.ones("namespace_info", made)


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
    return _numbers(columns, "namespace_processes", lambda one: one.processes)


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
    return _numbers(columns, "namespace_containers", lambda one: len(one.containers))


def host_namespace_containers(columns: Columns) -> Samples:
    """Containers in the host's namespace of each type."""
    own = columns.snapshot.host_namespaces
    return [
        (_type(n.ns_type), len(n.containers))
        for n in columns.snapshot.namespaces
        if own.get(n.ns_type) == n.inode
    ]


def unread_threads(columns: Columns) -> Samples:
    """Threads beyond collectors.namespaces.max_threads."""
    return [((), columns.snapshot.unread_threads)]


def unread_processes(columns: Columns) -> Samples:
    """Processes whose /proc/PID/ns may not be read."""
    return [((), columns.snapshot.unread_processes)]


def scope(namespace: Namespace, own: Mapping[str, int], pods: Mapping[str, str]) -> str:
    """host, container, pod, shared (of several containers), service or other.

    `own` are the host's own namespaces.
    """
    if own.get(namespace.ns_type) == namespace.inode:
        return "host"
    if namespace.containers:
        if len(namespace.containers) == 1:
            return "container"
        of = {pods[container_id] for container_id in namespace.containers}
        return "pod" if len(of) == 1 and of != {""} else "shared"
    return "service" if namespace.kinds == {"service"} else "other"


def host(columns: Columns) -> Mapping[str, int]:
    """The host's own namespaces."""
    return columns.same("host", columns.snapshot.host_namespaces)


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


def members(every: Sequence[Namespace]) -> Members:
    """The containers of every namespace that has some."""
    return {(one.ns_type, one.inode): one.containers for one in every if one.containers}


def by_container(containers: Sequence[Container], members: Members) -> Iterator[Place]:
    """Every container with every type that it is in a namespace of."""
    inodes: dict[tuple[str, str], tuple[int, ...]] = {}
    for (ns_type, inode), inside in sorted(members.items()):
        alone = (inode,)  # one object for all who are in no other one
        for container_id in inside:
            key = container_id, ns_type
            inodes[key] = inodes[key] + alone if key in inodes else alone
    for container in containers:
        for ns_type in NS_TYPES:
            found = inodes.get((container.container_id, ns_type))
            if found:
                yield container, ns_type, found


def _types(columns: Columns) -> Sequence[str]:
    """The types that this kernel has and that could be read."""

    def types(every: Sequence[Namespace]) -> list[str]:
        there = {namespace.ns_type for namespace in every}
        return [ns_type for ns_type in NS_TYPES if ns_type in there]

    return columns.made("ns_types", types, columns.snapshot.namespaces)


def _empty_since(every: Sequence[Namespace]) -> list[tuple[float, str]]:
    """When each namespace without a process was first seen so, and its type."""
    return [
        (one.without_process_since, one.ns_type)
        for one in every
        if one.without_process_since is not None
    ]


def _numbers(columns: Columns, key: str, number: Callable[[Namespace], int]) -> Table:
    """A number of every namespace."""

    def cells(some: Sequence[Namespace]) -> list[bytes]:
        return [b"%d" % number(one) for one in some]

    every = columns.snapshot.namespaces
    return columns.by_row("namespace texts", _texts, every), columns.by_row(key, cells, every)


def _texts(some: Sequence[Namespace]) -> list[bytes]:
    return [labels.text(_ns(one.ns_type, one.inode)) for one in some]


def _text(number: int | None) -> str:
    return "" if number is None else str(number)


def _type(ns_type: str) -> Pairs:
    return (("ns_type", ns_type),)


def _ns(ns_type: str, inode: int) -> Pairs:
    return (("ns_type", ns_type), ("ns_inode", str(inode)))
