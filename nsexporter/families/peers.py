"""Columns about containers: which namespaces each is in, and who else is in them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from nsexporter.families import labels, sharing
from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.samples import Samples, Table
from nsexporter.families.sharing import Members
from nsexporter.model import Container, Namespace

Places = tuple[list[Container], list[str], list[tuple[int, ...]]]
"""Each container with each type, and the inodes of that type that its processes are in."""

Texts = tuple[list[bytes], list[bytes]]
"""Label texts in two parts: what is told, and the container's, one object for all its lines."""


def container_namespace_info(columns: Columns) -> Table:
    """Every namespace that a container has a process in."""

    def texts(places: Places, known: Mapping[str, bytes]) -> Texts:
        leading = functools.cache(labels.leading)
        rest, own = [], []
        for container, ns_type, inodes in zip(*places, strict=True):
            for inode in inodes:
                rest.append(leading((("ns_type", ns_type), ("ns_inode", str(inode)))))
                own.append(known[container.container_id])
        return rest, own

    rest, own = columns.made(
        "container_namespace_info", texts, _places(columns), _container_texts(columns)
    )
    return rest, own, columns.ones("container_namespace_info", rest)


def container_namespace_peers(columns: Columns) -> Table:
    """Other containers in a container's namespaces, each once."""

    def peers(places: Places, members: Members) -> Column:
        digits = _digits()
        _, types, inodes = places
        return [
            digits(len(_inside(members, *place)) - 1) for place in zip(types, inodes, strict=True)
        ]

    column = columns.made("peers", peers, _places(columns), _members(columns))
    return *_by_type(columns), column


def container_namespace_peers_outside_pod(columns: Columns) -> Table:
    """Peers that are not of the container's own pod, in namespaces other than the host's."""

    def strangers(
        places: Places, members: Members, host: Mapping[str, int], pods: Mapping[str, str]
    ) -> Column:
        # Counted by pod once for each namespace: for each container it would be quadratic.
        pods_in = functools.cache(lambda inside: Counter(pods[one] for one in inside))
        digits = _digits()
        column: list[bytes | None] = []
        for container, ns_type, inodes in zip(*places, strict=True):
            if ns_type not in host:
                column.append(None)
                continue
            inside = _inside(members, ns_type, [i for i in inodes if i != host[ns_type]])
            pod = pods[container.container_id]
            own = pods_in(inside)[pod] if pod else container.container_id in inside
            column.append(digits(len(inside) - own))
        return column

    pods = sharing.pods(columns)
    column = columns.made(
        "strangers", strangers, _places(columns), _members(columns), sharing.host(columns), pods
    )
    return *_by_type(columns), column


def container_host_namespace(columns: Columns) -> Table:
    """Whether a container is in the host's namespace, where that one is known."""

    def inside(places: Places, host: Mapping[str, int]) -> Column:
        _, types, inodes = places
        return [
            (b"1" if host[ns_type] in some else b"0") if ns_type in host else None
            for ns_type, some in zip(types, inodes, strict=True)
        ]

    column = columns.made("host_namespace", inside, _places(columns), sharing.host(columns))
    return *_by_type(columns), column


def container_root_is_host_root(columns: Columns) -> Samples:
    """Whether uid 0 of a container's user namespace is uid 0 of the host."""
    host, maps = columns.snapshot.host_namespaces.get("user"), _uid_maps(columns)
    for container, ns_type, inodes in zip(*_places(columns), strict=True):
        if ns_type == "user":
            known = [maps[inode] for inode in inodes if maps[inode]]
            root = host in inodes or any(line[:2] == (0, 0) for one in known for line in one)
            if root or len(known) == len(inodes):
                yield labels.of_container(container), int(root)


def roots(columns: Columns) -> tuple[object, ...]:
    """What `container_root_is_host_root` is made of."""
    return _places(columns), sharing.host(columns), _uid_maps(columns)


def _members(columns: Columns) -> Members:
    return columns.made("members", sharing.members, columns.snapshot.namespaces)


def _places(columns: Columns) -> Places:
    def places(containers: Sequence[Container], members: Members) -> Places:
        found: Places = [], [], []
        whose, types, inodes = found
        for container, ns_type, inside in sharing.by_container(containers, members):
            whose.append(container)
            types.append(ns_type)
            inodes.append(inside)
        return found

    return columns.made("places", places, columns.containers, _members(columns))


def _uid_maps(columns: Columns) -> Mapping[int, tuple[tuple[int, int, int], ...]]:
    def uid_maps(every: Sequence[Namespace]) -> dict[int, tuple[tuple[int, int, int], ...]]:
        return {one.inode: one.uid_map for one in every if one.ns_type == "user"}

    return columns.made("uid_maps", uid_maps, columns.snapshot.namespaces)


def _inside(members: Members, ns_type: str, inodes: Sequence[int]) -> frozenset[str]:
    """The containers in some namespaces of a type, most often in one."""
    if len(inodes) == 1:
        return members[ns_type, inodes[0]]
    return frozenset().union(*(members[ns_type, inode] for inode in inodes))


def _digits() -> Callable[[int], bytes]:
    """Numbers as text, of equal ones one object."""
    return functools.cache(lambda number: b"%d" % number)


def _by_type(columns: Columns) -> Texts:
    def texts(places: Places, known: Mapping[str, bytes]) -> Texts:
        containers, types, _ = places
        leading = functools.cache(lambda ns_type: labels.leading((("ns_type", ns_type),)))
        return [*map(leading, types)], [known[one.container_id] for one in containers]

    return columns.made("by_type", texts, _places(columns), _container_texts(columns))


def _container_texts(columns: Columns) -> Mapping[str, bytes]:
    """By container id the label text of its own cgroup, which may be one that is not shown."""

    def texts(
        containers: Sequence[Container], _: object, shown: Sequence[bytes]
    ) -> Mapping[str, bytes]:
        own = {
            cgroup.container.container_id: text
            for cgroup, text in zip(columns.cgroups, shown, strict=True)
            if cgroup.container is not None
        }
        return {
            one.container_id: own.get(one.container_id) or labels.text(labels.of_container(one))
            for one in containers
        }

    return columns.made("container texts", texts, columns.containers, columns.whose, columns.labels)
