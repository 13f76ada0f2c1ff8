"""Columns about containers: which namespaces each is in, and who else is in them."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from nsexporter.families import labels, sharing
from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.labels import Pairs
from nsexporter.families.samples import Samples, Table
from nsexporter.families.sharing import Members, Place
from nsexporter.model import Container, Namespace

Texts = tuple[list[bytes], list[bytes]]
"""Label texts in two parts: the container's, one object for all its lines, and the rest."""


def container_namespace_info(columns: Columns) -> Table:
    """Every namespace that a container has a process in."""

    def texts(places: Sequence[Place]) -> Texts:
        return _texts(
            (container, (("ns_type", ns_type), ("ns_inode", str(inode))))
            for container, ns_type, inodes in places
            for inode in inodes
        )

    own, rest = columns.made("container_namespace_info", texts, _places(columns))
    return own, rest, sharing.ones(columns, "container_namespace_info", rest)


def container_namespace_peers(columns: Columns) -> Table:
    """Other containers in a container's namespaces, each once."""

    def peers(places: Sequence[Place], members: Members) -> Column:
        digits = _digits()
        return [digits(len(_inside(members, ns_type, inodes)) - 1) for _, ns_type, inodes in places]

    column = columns.made("peers", peers, _places(columns), _members(columns))
    return *_by_type(columns), column


def container_namespace_peers_outside_pod(columns: Columns) -> Table:
    """Peers that are not of the container's own pod, in namespaces other than the host's."""

    def strangers(
        places: Sequence[Place], members: Members, host: Mapping[str, int], pods: Mapping[str, str]
    ) -> Column:
        # Counted by pod once for each namespace: for each container it would be quadratic.
        pods_in = functools.cache(lambda inside: Counter(pods[one] for one in inside))
        digits = _digits()
        column: list[bytes | None] = []
        for container, ns_type, inodes in places:
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

    def inside(places: Sequence[Place], host: Mapping[str, int]) -> Column:
        return [
            (b"1" if host[ns_type] in inodes else b"0") if ns_type in host else None
            for _, ns_type, inodes in places
        ]

    column = columns.made("host_namespace", inside, _places(columns), sharing.host(columns))
    return *_by_type(columns), column


def container_root_is_host_root(columns: Columns) -> Samples:
    """Whether uid 0 of a container's user namespace is uid 0 of the host."""
    host, maps = columns.snapshot.host_namespaces.get("user"), _uid_maps(columns)
    for container, ns_type, inodes in _places(columns):
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


def _places(columns: Columns) -> Sequence[Place]:
    def places(containers: Sequence[Container], members: Members) -> Sequence[Place]:
        return list(sharing.by_container(containers, members))

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
    def texts(places: Sequence[Place]) -> Texts:
        return _texts((container, (("ns_type", ns_type),)) for container, ns_type, _ in places)

    return columns.made("by_type", texts, _places(columns))


def _texts(labelled: Iterable[tuple[Container, Pairs]]) -> Texts:
    """The label texts of containers with labels of their own, each part rendered once."""
    heads: dict[str, bytes] = {}
    tail = functools.cache(labels.text)
    own: list[bytes] = []
    rest: list[bytes] = []
    for container, pairs in labelled:
        head = heads.get(container.container_id)
        if head is None:
            head = labels.render(labels.of_container(container)) + b","
            heads[container.container_id] = head
        own.append(head)
        rest.append(tail(pairs))
    return own, rest
