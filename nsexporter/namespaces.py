"""Every namespace of the host in one pass: who is in it, what holds it, who owns it."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from nsexporter import config
from nsexporter.kernel.nsfs import Description, Held, Nsfs
from nsexporter.kernel.procfs import LINKS, Procfs, Seen
from nsexporter.model import Namespace, Process

Key = tuple[str, int]
"""Type and inode."""

_TYPE_OF = {link: link.removesuffix("_for_children") for link in LINKS}

_PROCESS_COST = 8  # what to open a process's fd directory costs, in links read


@dataclass(frozen=True, slots=True)
class View:
    """What a pass saw of processes and namespaces; the fields of Snapshot of these names."""

    processes: tuple[Process, ...] = ()
    namespaces: tuple[Namespace, ...] = ()
    unread_processes: int = 0
    unread_threads: int = 0
    namespace_holders: tuple[str, ...] = ()
    host_namespaces: Mapping[str, int] = field(default_factory=dict)
    namespace_limits: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Found:
    """What is known of one namespace while a pass goes on."""

    processes: int = 0
    for_children: int = 0
    threads: int = 0
    cgroups: set[int] = field(default_factory=set)
    inside: Seen | None = None  # one process in it
    paths: list[str] = field(default_factory=list)  # below /proc, to open it by
    mount: str = ""
    descriptor: str = ""
    child: bool = False  # of its own: a namespace that has this one as parent or owner
    description: Description | None = None
    uid_map: tuple[tuple[int, int, int], ...] = ()

    def is_of_processes(self) -> bool:
        """Whether a process keeps it: one in it, one of its threads, or for its children."""
        return bool(self.processes or self.threads or self.for_children)

    def held_by(self) -> str:
        """What keeps it; the first of several. Empty where that was not seen."""
        if self.is_of_processes():
            return "process"
        return "mount" if self.mount else "fd" if self.descriptor else "child" if self.child else ""


@dataclass(frozen=True, slots=True)
class _Described:
    """A description, which holds as long as that process stays in the namespace."""

    inside: Seen
    description: Description | None
    uid_map: tuple[tuple[int, int, int], ...] = ()


class Namespaces:
    """Reads every namespace; keeps what the next pass need not read again."""

    def __init__(
        self, procfs: Procfs, nsfs: Nsfs, settings: config.Namespaces, clock: Callable[[], float]
    ) -> None:
        self._procfs = procfs
        self._nsfs = nsfs
        self._settings = settings
        self._clock = clock
        self._turn = 0
        self._processes: dict[int, Process] = {}
        self._mounts: dict[int, list[Held]] = {}  # by the inode of the mount namespace
        self._descriptors: dict[int, tuple[int, list[Held]]] = {}  # by PID; inode of /proc/PID
        self._next_pid = 0  # whose descriptors are read next
        self._described: dict[Key, _Described] = {}
        self._made: dict[Key, tuple[tuple[object, ...], Namespace]] = {}
        self._since: dict[tuple[Key, int | None], float] = {}

    def read(self, cgroup_of: Mapping[int, int], container_ids: Sequence[str | None]) -> View:
        """One pass: `cgroup_of` has the index of a PID's cgroup, `container_ids` one for each."""
        settings = self._settings
        self._turn += 1
        scan = self._procfs.processes(
            cgroup_of.keys(),
            refresh=settings.refresh,
            max_threads=settings.max_threads if settings.threads else 0,
        )
        found: dict[Key, _Found] = {}
        _count(found, scan.processes, cgroup_of)
        host = self._procfs.host_namespaces()
        self._find_mounted(found, scan.processes, host.get("mnt"))
        self._find_open(found, scan.processes)
        self._describe(found)
        return View(
            processes=tuple(self._as_values(scan.processes, cgroup_of, container_ids)),
            namespaces=tuple(self._namespaces(found, container_ids)),
            unread_processes=scan.unreadable,
            unread_threads=scan.unread_threads,
            namespace_holders=("mount", "fd", "child") if settings.max_fds else ("mount", "child"),
            host_namespaces=host,
            namespace_limits=self._procfs.namespace_limits(),
        )

    def _as_values(
        self,
        processes: Sequence[Seen],
        cgroup_of: Mapping[int, int],
        container_ids: Sequence[str | None],
    ) -> Iterator[Process]:
        """The processes as values; most are those of the pass before."""
        before = self._processes
        self._processes = {}
        for seen in processes:
            pid = seen.pid
            index = cgroup_of.get(pid, -1)
            container_id = container_ids[index] if index >= 0 else None
            value = before.get(pid)
            if (
                value is None
                or value.namespaces is not seen.namespaces
                or value.cgroup != index
                or value.container_id != container_id
            ):
                value = Process(pid, container_id, index, seen.namespaces)
            self._processes[pid] = value
            yield value

    def _find_mounted(
        self, found: dict[Key, _Found], processes: Sequence[Seen], host: int | None
    ) -> None:
        """Bind mounts: in the host's and in new mount namespaces now, in the others in turn."""
        first = next((seen for seen in processes if seen.pid == 1), None)
        before = self._mounts
        # mountinfo is readable where the ns directory is not.
        self._mounts = {0 if first is None else first.namespaces["mnt"]: self._nsfs.mounts(1)}
        for (ns_type, inode), one in sorted(found.items()):
            if ns_type == "mnt" and one.inside is not None and inode not in self._mounts:
                held = before.get(inode)
                due = inode == host or (inode + self._turn) % self._settings.refresh == 0
                if held is None or due:
                    held = self._nsfs.mounts(one.inside.pid)
                self._mounts[inode] = held
        for held in self._mounts.values():
            for mount in held:
                namespace = found.setdefault((mount.ns_type, mount.inode), _Found())
                namespace.mount = namespace.mount or mount.name
                namespace.paths.append(mount.path)
                if first is None:  # PID 1's root is not open to us: it may be ours as well
                    namespace.paths.append(mount.path.replace("1/", "self/", 1))

    def _find_open(self, found: dict[Key, _Found], processes: Sequence[Seen]) -> None:
        """Open descriptors: those of some processes now, of the others as last read."""
        budget = self._settings.max_fds
        kept = {
            seen.pid: old
            for seen in processes
            if (old := self._descriptors.get(seen.pid)) is not None and old[0] == seen.inode
        }
        start = bisect_left(processes, self._next_pid, key=lambda seen: seen.pid)
        for seen in (*processes[start:], *processes[:start]):
            if budget <= 0:
                self._next_pid = seen.pid
                break
            count, held = self._nsfs.descriptors(seen.pid)
            budget -= count + _PROCESS_COST
            kept.pop(seen.pid, None)
            if held:
                kept[seen.pid] = (seen.inode, held)
        self._descriptors = kept
        for _, held in kept.values():
            for one in held:
                namespace = found.setdefault((one.ns_type, one.inode), _Found())
                namespace.descriptor = namespace.descriptor or one.name
                namespace.paths.append(one.path)

    def _describe(self, found: dict[Key, _Found]) -> None:
        """Ask every namespace that was not asked before, and find those above them."""
        before = self._described
        described = self._described = dict[Key, _Described]()
        for key, one in found.items():
            ns_type, inode = key
            if one.inside is None:
                answers = (self._nsfs.describe(path, ns_type, inode) for path in one.paths)
                one.description = next((told for told in answers if told is not None), None)
                continue
            answer = before.get(key)
            if answer is None or answer.inside is not one.inside:
                path = f"{one.inside.pid}/ns/{ns_type}"
                answer = _Described(one.inside, self._nsfs.describe(path, ns_type, inode))
            if ns_type == "user" and not answer.uid_map:  # it is written once, after clone(2)
                answer = replace(answer, uid_map=self._nsfs.uid_map(one.inside.pid))
            described[key] = answer
            one.description, one.uid_map = answer.description, answer.uid_map
        for told in self._nsfs.listed():
            one = found.setdefault((told.ns_type, told.inode), _Found())
            one.description = one.description or told
        descriptions = [one.description for one in found.values() if one.description is not None]
        for description in descriptions:
            for above in description.above():
                one = found.setdefault((above.ns_type, above.inode), _Found())
                one.child = True
                one.description = one.description or above

    def _namespaces(
        self, found: dict[Key, _Found], container_ids: Sequence[str | None]
    ) -> Iterator[Namespace]:
        """The namespaces as values, by type and inode; most are those of the pass before."""
        now = self._clock()
        before, self._since = self._since, {}
        made, self._made = self._made, {}
        for key, one in sorted(found.items()):
            told = one.description
            since = None
            if not one.processes and not one.threads:
                # Inodes are used anew at once: where the kernel numbers namespaces, by number.
                same = (key, None if told is None else told.ns_id)
                since = self._since[same] = before.get(same, now)
            cgroups = frozenset(one.cgroups)
            containers = frozenset(
                container_id
                for index in cgroups
                if index >= 0 and (container_id := container_ids[index]) is not None
            )
            made_of = (
                *(one.processes, one.for_children, one.threads, cgroups, containers),
                *(one.mount, one.descriptor, one.child, told, one.uid_map, since),
            )
            kept = made.get(key)
            if kept is None or kept[0] != made_of:
                kept = made_of, _namespace(key, one, cgroups, containers, since)
            self._made[key] = kept
            yield kept[1]


def _namespace(
    key: Key,
    one: _Found,
    cgroups: frozenset[int],
    containers: frozenset[str],
    since: float | None,
) -> Namespace:
    told = one.description
    return Namespace(
        ns_type=key[0],
        inode=key[1],
        processes=one.processes,
        for_children=one.for_children,
        threads=one.threads,
        cgroups=cgroups,
        containers=containers,
        held_by=one.held_by(),
        path=one.mount or ("" if one.is_of_processes() else one.descriptor),
        owner=None if told is None or told.owner is None else told.owner.inode,
        parent=None if told is None or told.parent is None else told.parent.inode,
        owner_uid=None if told is None else told.owner_uid,
        depth=told.depth if told is not None and told.ns_type in ("pid", "user") else None,
        uid_map=one.uid_map,
        without_process_since=since,
    )


def _count(
    found: dict[Key, _Found], processes: Sequence[Seen], cgroup_of: Mapping[int, int]
) -> None:
    """Who is in which namespace; processes that share all of them are counted together."""
    groups: dict[int, tuple[Seen, list[int]]] = {}
    for seen in processes:
        index = cgroup_of.get(seen.pid, -1)
        group = groups.get(id(seen.namespaces))
        if group is None:
            group = groups[id(seen.namespaces)] = (seen, [])
        group[1].append(index)
        for thread, ns_type, inode in seen.threads:
            one = found.setdefault((ns_type, inode), _Found())
            one.threads += 1
            one.cgroups.add(index)
            one.paths.append(f"{seen.pid}/task/{thread}/ns/{ns_type}")
    for seen, indexes in groups.values():
        cgroups = set(indexes)
        for name, inode in seen.namespaces.items():
            ns_type = _TYPE_OF[name]
            if ns_type != name and seen.namespaces.get(ns_type) == inode:
                continue
            key = (ns_type, inode)
            if key not in found:
                found[key] = _Found()
            one = found[key]
            if ns_type == name:
                one.processes += len(indexes)
                one.cgroups |= cgroups
                one.inside = one.inside or seen
            else:
                one.for_children += len(indexes)
                one.paths.append(f"{seen.pid}/ns/{name}")
