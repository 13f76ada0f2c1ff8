"""Every namespace of the host in one pass: who is in it, what holds it, who owns it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from nsexporter import config
from nsexporter.kernel.nsfs import Description, Nsfs
from nsexporter.kernel.processes import Processes, Seen
from nsexporter.kernel.procfs import Procfs
from nsexporter.model import Identity, Namespace
from nsexporter.namespaces.described import Described, above
from nsexporter.namespaces.holders import Hold, Holders
from nsexporter.namespaces.inside import Inside, Key, Members

_NOBODY, _NOTHING = Inside(), Hold()


@dataclass(frozen=True, slots=True)
class View:
    """What a pass saw of processes and namespaces; the fields of Snapshot of these names."""

    processes: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    namespaces: tuple[Namespace, ...] = ()
    unread_processes: int = 0
    unread_threads: int = 0
    namespace_holders: tuple[str, ...] = ()
    host_namespaces: Mapping[str, int] = field(default_factory=dict)
    namespace_limits: Mapping[str, int] = field(default_factory=dict)


class Namespaces:
    """Reads every namespace; what has not changed since the pass before is the same object."""

    def __init__(
        self,
        procfs: Procfs,
        processes: Processes,
        nsfs: Nsfs,
        settings: config.Namespaces,
        clock: Callable[[], float],
    ) -> None:
        self._procfs = procfs
        self._processes = processes
        self._nsfs = nsfs
        self._settings = settings
        self._clock = clock
        self._members = Members()
        self._described = Described(nsfs)
        self._holders = Holders(nsfs, settings.refresh, settings.max_fds)
        self._cgroup_of: Mapping[int, int] = {}
        self._identities: Sequence[Identity] = []
        self._identity_of: Mapping[int, Identity] = {}
        self._stale: set[Key] = set()  # what has changed since its value was made
        self._mounted: dict[Key, str] = {}
        self._settled: dict[Key, Namespace] = {}  # of processes and described: the same till stale
        self._loose: dict[Key, Namespace] = {}  # the others, looked at in every pass
        self._since: dict[tuple[Key, int | None], float] = {}
        self._namespaces: tuple[Namespace, ...] = ()
        self._seen: Mapping[int, Seen] = {}
        self._of_processes: Mapping[int, Mapping[str, int]] = {}

    def read(self, cgroup_of: Mapping[int, int], identities: Sequence[Identity]) -> View:
        """One pass: `cgroup_of` has the index of a PID's cgroup, `identities` one for each."""
        scan = self._processes.scan(cgroup_of.keys())
        host = self._procfs.host_namespaces()
        if cgroup_of is not self._cgroup_of or identities != self._identities:
            self._cgroup_of, self._identities = cgroup_of, [*identities]
            self._identity_of = {pid: identities[index] for pid, index in cgroup_of.items()}
        # Where this pass fails, what is stale is left to the next one.
        self._stale |= self._members.update(scan.processes, self._identity_of)
        self._described.ask(self._members.inside, self._stale)
        holds = self._holders.find(scan.processes, self._members.inside, host.get("mnt"))
        self._settle(holds)
        loose = self._look_at_loose(holds)
        if self._stale or loose != self._loose:
            every = {**self._settled, **loose}
            self._namespaces = tuple(every[key] for key in sorted(every))
            self._loose = loose
            self._stale.clear()
        if scan.processes is not self._seen:
            self._seen = scan.processes
            self._of_processes = {pid: seen.namespaces for pid, seen in self._seen.items()}
        return View(
            processes=self._of_processes,
            namespaces=self._namespaces,
            unread_processes=scan.unreadable,
            unread_threads=scan.unread_threads,
            namespace_holders=(
                ("mount", "fd", "child") if self._settings.max_fds else ("mount", "child")
            ),
            host_namespaces=host,
            namespace_limits=self._procfs.namespace_limits(),
        )

    def _settle(self, holds: Mapping[Key, Hold]) -> None:
        """Make the values that are stale of those that a process keeps and that could be asked."""
        mounted = {key: hold.mount for key, hold in holds.items() if hold.mount}
        self._stale |= {key for key, _ in mounted.items() ^ self._mounted.items()}
        self._mounted = mounted
        for key in self._stale:
            answer = self._described.answers.get(key)
            if answer is None or answer.description is None:
                self._settled.pop(key, None)
            else:
                self._settled[key] = _kept(
                    self._settled.get(key),
                    _namespace(
                        key,
                        self._members.inside[key],
                        holds.get(key, _NOTHING),
                        answer.description,
                        uid_map=answer.uid_map,
                    ),
                )

    def _look_at_loose(self, holds: Mapping[Key, Hold]) -> dict[Key, Namespace]:
        """The values of all others, made anew; the same objects where they are as before."""
        inside, answers, settled = self._members.inside, self._described.answers, self._settled
        told: dict[Key, Description | None] = {}
        for key in (inside.keys() | holds.keys()) - settled.keys():
            paths = (*inside.get(key, _NOBODY).paths, *holds.get(key, _NOTHING).paths)
            asked = (self._nsfs.describe(path, *key) for path in paths)
            told[key] = next((answer for answer in asked if answer is not None), None)
        told.update(_news(told, settled, ((one.key, one) for one in self._nsfs.listed())))
        children = self._described.above | above(told.values())
        told.update(_news(told, settled, children.items()))
        now = self._clock()
        before, since = self._since, dict[tuple[Key, int | None], float]()
        loose = {}
        for key, description in told.items():
            one = inside.get(key, _NOBODY)
            empty_since = None
            if not one.processes and not one.threads:
                # Inodes are used anew at once: where the kernel numbers namespaces, by number.
                same = (key, None if description is None else description.ns_id)
                empty_since = since[same] = before.get(same, now)
            loose[key] = _kept(
                self._loose.get(key),
                _namespace(
                    key,
                    one,
                    holds.get(key, _NOTHING),
                    description,
                    uid_map=answers[key].uid_map if key in answers else (),
                    child=key in children,
                    since=empty_since,
                ),
            )
        self._since = since
        return loose


def _kept(before: Namespace | None, now: Namespace) -> Namespace:
    """The value as it is now: the same object where it is as before."""
    return now if before is None or before != now else before


def _news(
    told: Mapping[Key, Description | None],
    settled: Mapping[Key, Namespace],
    descriptions: Iterable[tuple[Key, Description]],
) -> dict[Key, Description]:
    """Descriptions of what neither of two has one of."""
    return {key: one for key, one in descriptions if key not in settled and told.get(key) is None}


def _namespace(
    key: Key,
    inside: Inside,
    hold: Hold,
    told: Description | None,
    *,
    uid_map: tuple[tuple[int, int, int], ...],
    child: bool = False,  # of its own: a namespace that has this one as parent or owner
    since: float | None = None,
) -> Namespace:
    """A namespace as a value; what keeps it is the first of several."""
    if inside.processes or inside.threads or inside.for_children:
        held_by, path = "process", hold.mount
    else:
        held_by = "mount" if hold.mount else "fd" if hold.descriptor else "child" if child else ""
        path = hold.mount or hold.descriptor
    return Namespace(
        ns_type=key[0],
        inode=key[1],
        processes=inside.processes,
        for_children=inside.for_children,
        threads=inside.threads,
        kinds=inside.kinds,
        containers=inside.containers,
        held_by=held_by,
        path=path,
        owner=None if told is None or told.owner is None else told.owner.inode,
        parent=None if told is None or told.parent is None else told.parent.inode,
        owner_uid=None if told is None else told.owner_uid,
        depth=told.depth if told is not None and told.ns_type in ("pid", "user") else None,
        uid_map=uid_map,
        without_process_since=since,
    )
