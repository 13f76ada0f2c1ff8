"""One cgroup explained: whose it is, every number with its file, its limits, its namespaces."""

from __future__ import annotations

import os.path
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from nsexporter.catalogue import CGROUP_METRICS
from nsexporter.families.columns import Columns
from nsexporter.model import NS_TYPES, Cgroup, Container, Snapshot
from nsexporter.views.outlook import Step, below, outlook, steps
from nsexporter.views.overview import Killed, killed


class NotFoundError(LookupError):
    """One printable line: what was looked for, and what there is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: a metric's name (a label's value behind it), and where the value comes from."""

    name: str
    value: float
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One namespace that processes of the cgroup are in; `peers` are other containers in it."""

    ns_type: str
    inode: int
    host: bool
    peers: tuple[Container, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """All that one pass tells of a cgroup."""

    cgroup: Cgroup
    processes: int  # in it and below
    steps: Sequence[Step]  # the cgroup first, then upwards
    outlook: Sequence[str]
    figures: Sequence[Figure]
    places: Sequence[Place]
    killed: Sequence[Killed]  # in it and below, the newest first


def find(snapshot: Snapshot, target: str) -> int:
    """The index of the cgroup that a container's name or id, a path or a PID means."""
    cgroups = snapshot.cgroups
    if target.startswith("/"):
        path = os.path.normpath(target)
        for index, cgroup in enumerate(cgroups):
            if cgroup.path == path:
                return index
        raise NotFoundError(f"there is no cgroup {target} in the hierarchy that carries memory")
    target = target.partition("://")[2] or target  # as the label `id` and Kubernetes write it
    owners = {i: one.container for i, one in enumerate(cgroups) if one.container is not None}
    for index, owner in owners.items():
        if target in (owner.name, owner.container_id):
            return index
    if target.isdecimal():
        for index, cgroup in enumerate(cgroups):
            if int(target) in cgroup.pids:
                return index
    found = [index for index, owner in owners.items() if owner.container_id.startswith(target)]
    if not found or not target:
        raise NotFoundError(f"there is no container, cgroup or process {target}")
    if len(found) > 1:
        names = ", ".join(f"{owners[i].container_id[:12]} {owners[i].name}" for i in found)
        raise NotFoundError(f"{target} may be one of several containers: {names}")
    return found[0]


def explain(columns: Columns, index: int) -> Explanation:
    """What there is to tell of one cgroup of the snapshot."""
    inside = below(columns, index)
    return Explanation(
        cgroup=columns.cgroups[index],
        processes=sum(len(columns.cgroups[i].pids) for i in inside),
        steps=steps(columns, index),
        outlook=outlook(columns, index),
        figures=list(_figures(columns, index)),
        places=list(_places(columns.snapshot, index, inside)),
        killed=_killed(columns.snapshot, columns.cgroups[index].path),
    )


def _killed(snapshot: Snapshot, path: str) -> list[Killed]:
    below_it = f"{path.rstrip('/')}/"
    return [one for one in killed(snapshot) if f"{one.account.cgroup}/".startswith(below_it)]


def _figures(columns: Columns, index: int) -> Iterator[Figure]:
    v1 = columns.snapshot.hierarchy == "v1"
    for metric in CGROUP_METRICS:
        for series in metric.series:
            source = series.v1 if v1 else series.v2
            value = None if source is None else source.column(columns)[index]
            if source is not None and value is not None:
                label = f" {series.label_value}" if series.label_value else ""
                yield Figure(name=f"{metric.name}{label}", value=float(value), source=source.text)


def _places(snapshot: Snapshot, index: int, inside: set[int]) -> Iterator[Place]:
    own = snapshot.cgroups[index].container
    containers = {one.container_id: one for one in snapshot.containers}
    found: defaultdict[str, set[int]] = defaultdict(set)
    for pid in (pid for i in inside for pid in snapshot.cgroups[i].pids):
        namespaces = snapshot.processes.get(pid, {})
        for ns_type in NS_TYPES:
            if ns_type in namespaces:
                found[ns_type].add(namespaces[ns_type])
    members = {(one.ns_type, one.inode): one.containers for one in snapshot.namespaces}
    for ns_type, inodes in found.items():
        for inode in sorted(inodes):
            peers = members.get((ns_type, inode), frozenset()) & containers.keys()
            yield Place(
                ns_type=ns_type,
                inode=inode,
                host=snapshot.host_namespaces.get(ns_type) == inode,
                peers=tuple(
                    containers[peer]
                    for peer in sorted(peers)
                    if own is None or peer != own.container_id
                ),
            )
