"""Who is in which namespace, from pass to pass: counted anew only where something changed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Set
from dataclasses import dataclass, field

from nsexporter.kernel.processes import LINKS, Seen
from nsexporter.model import Identity

Key = tuple[str, int]
"""Type and inode."""

Sets = dict[frozenset[str], frozenset[str]]
"""Sets by themselves: of all containers many of the host's own have one."""

_TYPE_OF = {link: link.removesuffix("_for_children") for link in LINKS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inside:
    """Who is in a namespace: of some processes, or of all."""

    processes: int = 0
    for_children: int = 0
    threads: int = 0
    kinds: frozenset[str] = frozenset()  # of their cgroups; "" where no cgroup.procs named one
    containers: frozenset[str] = frozenset()
    first: Seen | None = None  # of the processes in it, the one with the lowest PID
    paths: tuple[str, ...] = ()  # below /proc, to open it by where there is no `first`


@dataclass(slots=True, eq=False)
class _Group:
    """Processes that share all namespaces."""

    namespaces: Mapping[str, int]
    members: dict[int, Seen] = field(default_factory=dict)


class Members:
    """Who is in every namespace."""

    def __init__(self) -> None:
        self.inside: dict[Key, Inside] = {}
        self._processes: Mapping[int, Seen] = {}
        self._identity_of: Mapping[int, Identity] = {}
        self._groups: dict[int, _Group] = {}  # by the id() of their mapping
        # What a group, or the threads of one process, are in each namespace.
        self._parts: dict[Key, dict[_Group | Seen, Inside]] = {}

    def update(
        self, processes: Mapping[int, Seen], identity_of: Mapping[int, Identity]
    ) -> Set[Key]:
        """Follow the processes, and whose the cgroup of each is; the namespaces that changed."""
        others = _differing(self._processes, processes)
        gone = _some(self._processes, others)
        came = _some(processes, others)
        moved = _some(processes, _differing(self._identity_of, identity_of))
        self._processes, self._identity_of = processes, identity_of
        touched = gone | came | moved
        groups = {self._group_of(seen) for seen in touched}
        for seen in gone:
            del self._group_of(seen).members[seen.pid]
        for seen in came:
            self._group_of(seen).members[seen.pid] = seen
        keys = set[Key]()
        for group in groups:
            keys |= self._put(group, dict(self._of_group(group)), there=bool(group.members))
            if not group.members:
                del self._groups[id(group.namespaces)]
        for seen in touched:
            if seen.threads:
                keys |= self._put(seen, dict(self._of_threads(seen)), there=seen not in gone)
        sets: Sets = {}
        return {key for key in keys if self._merge(key, sets)}

    def _group_of(self, seen: Seen) -> _Group:
        group = self._groups.get(id(seen.namespaces))
        if group is None:
            group = self._groups[id(seen.namespaces)] = _Group(seen.namespaces)
        return group

    def _put(self, whose: _Group | Seen, parts: Mapping[Key, Inside], *, there: bool) -> Set[Key]:
        """Note what somebody's part in some namespaces is now, or that it is none any more."""
        for key, part in parts.items():
            if there:
                self._parts.setdefault(key, {})[whose] = part
            else:
                self._parts[key].pop(whose)
        return parts.keys()

    def _merge(self, key: Key, sets: Sets) -> bool:
        """Put the parts of a namespace together; whether that is something else than before."""
        inside = _merged(self._parts[key].values(), sets)
        if inside == self.inside.get(key):
            return False
        if inside is None:
            del self._parts[key], self.inside[key]
        else:
            self.inside[key] = inside
        return True

    def _of_group(self, group: _Group) -> Iterator[tuple[Key, Inside]]:
        """What a group is in each namespace; its members are nowhere else."""
        count = len(group.members)
        first = group.members[min(group.members)] if group.members else None
        kinds, containers = self._whose(group.members)
        inside = Inside(processes=count, kinds=kinds, containers=containers, first=first)
        for name, inode in group.namespaces.items():
            ns_type = _TYPE_OF[name]
            if ns_type == name:
                yield (ns_type, inode), inside
            elif group.namespaces.get(ns_type) != inode:
                paths = () if first is None else (f"{first.pid}/ns/{name}",)
                yield (ns_type, inode), Inside(for_children=count, paths=paths)

    def _of_threads(self, seen: Seen) -> Iterator[tuple[Key, Inside]]:
        """The same of the threads of a process that are where it is not."""
        kinds, containers = self._whose((seen.pid,))
        for key, count in Counter((ns_type, inode) for _, ns_type, inode in seen.threads).items():
            paths = tuple(
                f"{seen.pid}/task/{thread}/ns/{ns_type}"
                for thread, ns_type, inode in seen.threads
                if (ns_type, inode) == key
            )
            yield key, Inside(threads=count, kinds=kinds, containers=containers, paths=paths)

    def _whose(self, pids: Collection[int]) -> tuple[frozenset[str], frozenset[str]]:
        """The kinds of the cgroups of some processes, and the containers these are of."""
        # By id(), since to hash an identity costs ten times as much.
        some = {id(one): one for one in map(self._identity_of.get, pids)}.values()
        containers = (one.container_id for one in some if one is not None)
        return (
            frozenset("" if one is None else one.kind for one in some),
            frozenset(container_id for container_id in containers if container_id is not None),
        )


def _differing(before: Mapping[int, object], now: Mapping[int, object]) -> Set[int]:
    """The keys at which two mappings are not the same."""
    return frozenset() if before is now else {pid for pid, _ in before.items() ^ now.items()}


def _some(processes: Mapping[int, Seen], pids: Set[int]) -> set[Seen]:
    """Those of some PIDs that are there."""
    return {seen for pid in pids if (seen := processes.get(pid)) is not None}


def _merged(parts: Collection[Inside], sets: Sets) -> Inside | None:
    """The parts of one namespace together; `sets` has those that others have, too."""
    if len(parts) < 2:
        return next(iter(parts), None)
    firsts = [part.first for part in parts if part.first is not None]
    kinds = frozenset[str]().union(*(part.kinds for part in parts))
    containers = frozenset[str]().union(*(part.containers for part in parts))
    return Inside(
        processes=sum(part.processes for part in parts),
        for_children=sum(part.for_children for part in parts),
        threads=sum(part.threads for part in parts),
        kinds=sets.setdefault(kinds, kinds),
        containers=sets.setdefault(containers, containers),
        first=min(firsts, key=lambda seen: seen.pid, default=None),
        paths=() if firsts else tuple(path for part in parts for path in part.paths),
    )
