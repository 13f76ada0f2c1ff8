"""A pass over the host: one Snapshot."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Protocol, TypeVar

from nsexporter.cgroups import Cgroups
from nsexporter.changed import EachRow, Kept
from nsexporter.config import Config
from nsexporter.containers import mapping
from nsexporter.containers.guess import Guesses
from nsexporter.containers.sources import container_map
from nsexporter.edge import Edge
from nsexporter.kernel import hugetlb, mounts, parse
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.cgroupfs import CgroupTree
from nsexporter.kernel.files import Reader
from nsexporter.kernel.host import host
from nsexporter.kernel.nsfs import Nsfs
from nsexporter.kernel.processes import Processes
from nsexporter.kernel.procfs import Procfs
from nsexporter.model import Cgroup, History, Identity, Snapshot
from nsexporter.namespaces import Namespaces, View
from nsexporter.oom.feed import Feed

T = TypeVar("T")

log = logging.getLogger(__name__)

_KEY = attrgetter("key")
_NOBODY = Identity(kind="other")


class Reading(Protocol):
    """Calls a function that reads the host, wherever that is best done."""

    def __call__(self, read: Callable[[], T], /) -> T: ...


@dataclass(slots=True)
class Health:
    """How the collectors fare; the exporter's own metrics show it."""

    success: dict[str, bool] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=dict)
    dropped: int = 0  # cgroups left out by the cap or the patterns, in the last pass


class Collector:
    """Reads the host; one pass at a time."""

    def __init__(
        self,
        config: Config,
        oom: Feed | None = None,
        reading: Reading | None = None,
    ) -> None:
        """`oom` is a feed that outlives this collector; without one it makes its own.

        `reading` calls a function where it may read other processes' namespaces, and nothing else
        is done; without it that is here.
        """
        self.reading = reading or _here
        self.config = config
        self.reader = Reader()
        self.health = Health()
        self.host = host(self.reader, config.path.rootfs)
        self.containers = container_map(config.path.rootfs, config.metadata, config.labels)
        self.edge = Edge(config.collectors.memory, f"{config.path.sysfs}/kernel/tracing")
        self._procfs = Procfs(self.reader, config.path.procfs)
        self._guesses = Guesses(self._procfs.name_mounts_and_user)
        wanted = config.collectors.namespaces
        self._namespaces = Namespaces(
            self._procfs,
            Processes(
                self.reader,
                config.path.procfs,
                refresh=wanted.refresh,
                max_threads=wanted.max_threads if wanted.threads else 0,
                counted=not (config.collection.exact or self._procfs.in_foreign_pid_namespace()),
            ),
            Nsfs(self.reader, config.path.procfs),
            wanted,
            time.time,
        )
        self.oom = oom or Feed(config.oom, self._procfs, follow=False)
        self._own_oom = oom is None
        self._tree: CgroupTree | None = None
        self._cgroups = Cgroups(self.reader)
        self._cgroup_of = Kept(_cgroup_of)
        self._let_through = EachRow(lambda one, _: self._wanted(one.path), _KEY)
        self._kept = EachRow(_kept, _KEY)
        self._limiting = EachRow(_limiting, _KEY)
        self._protected = EachRow(_protected, _KEY)
        self.hierarchies: mounts.Hierarchies | None = None
        self._allow = [re.compile(pattern) for pattern in config.collection.cgroup_allow]
        self._soft_limit_reclaim = False
        self._deny = [re.compile(pattern) for pattern in config.collection.cgroup_deny]

    def inherit(self, previous: Collector) -> None:
        """Count on from where the collector of other settings is."""
        self.reader.errors = previous.reader.errors
        self.edge.inherit(previous.edge)

    def close(self) -> None:
        """Close what is kept open."""
        self.edge.close()
        self.containers.metadata.close()
        self._close_tree()
        if self._own_oom:
            self.oom.close()

    def _close_tree(self) -> None:
        if self._tree is not None:
            self._tree.close()
            self._tree = None

    def collect(self) -> Snapshot:
        """One pass. A collector that fails costs its own samples only."""
        started = time.monotonic()
        nothing: list[Found] = []
        # The host's kills first: what is counted of them is read after.
        vmstat: Mapping[bytes, bytes] = self._run("vmstat", self._vmstat, {})
        kills = _oom_kills(vmstat)
        meminfo: Mapping[bytes, int] = self._run("meminfo", self._procfs.meminfo, {})
        swap = not meminfo or meminfo.get(b"SwapFree") != meminfo.get(b"SwapTotal")
        every = self._run("cgroups", lambda: self._read_cgroups(kills, swap=swap), nothing)
        where = self.hierarchies
        unified = where.memory if where is not None and where.version == "v2" else None
        self._run("oom", lambda: self.oom.look(every, kills, started, unified), None)
        found = self._capped(every)
        pressure: Mapping[bytes, bytes] = {}
        if self.config.collectors.pressure.enabled:
            pressure = self._run("pressure", self._procfs.memory_pressure, {})

        paths = [one.path for one in found]
        procs = self._cgroups.procs(found)
        pids = [one.pids for one in procs]
        gone = mapping.with_above(self.oom.unknown(), paths)
        populated = [*map(bool, pids), *gone.values()]
        identities = self.containers.identities([*paths, *gone], populated)
        self._guesses.fill(paths, identities, pids)
        owners = self.containers.containers([*paths, *gone], identities)
        whose = {owner.cgroup: owner for owner in owners if owner is not None}
        del identities[len(paths) :], owners[len(paths) :]
        histories = self._histories(every, found)
        cgroup_of = self._cgroup_of(pids)
        view = View()
        if self.config.collectors.namespaces.enabled:
            view = self._run(
                "namespaces",
                lambda: self.reading(lambda: self._namespaces.read(cgroup_of, identities)),
                view,
            )
        containers = tuple(owner for owner in owners if owner is not None)
        invocations = self.containers.invocations(identities)
        pods = self.containers.pods(identities, owners)
        cgroups = tuple(
            self._cgroups.values(found, procs, identities, owners, pods, invocations, histories)
        )
        return Snapshot(
            timestamp=time.time(),
            duration=time.monotonic() - started,
            hierarchy=self.hierarchies.version if self.hierarchies else "none",
            cgroups=cgroups,
            every=() if found is every else tuple(self._limiting(every)),
            containers=containers,
            label_ids=self.containers.label_ids(identities),
            processes=view.processes,
            namespaces=view.namespaces,
            unread_processes=view.unread_processes,
            unread_threads=view.unread_threads,
            namespace_holders=view.namespace_holders,
            host_namespaces=view.host_namespaces,
            namespace_limits=view.namespace_limits,
            vmstat=vmstat,
            meminfo=meminfo,
            pressure=pressure,
            recursive_protection=self._recursive_protection(every),
            soft_limit_reclaim=self._soft_limit_reclaim,
            soft_limit_rounds=self.edge.soft_limit_rounds(),
            foreign_pid_namespace=self._procfs.in_foreign_pid_namespace(),
            oom=self.oom.publish(cgroups, whose, cgroup_of, self._wanted),
            unread_state=frozenset(self.containers.metadata.denied),
        )

    def _run(self, collector: str, read: Callable[[], T], default: T) -> T:
        """What `read` gives, or `default` when it fails: logged when that is new, and counted."""
        started = time.monotonic()
        try:
            value = read()
        except (OSError, parse.ParseError) as error:
            if self.health.success.get(collector, True):
                log.error("collector %s failed: %s", collector, error)
            self.health.success[collector] = False
            return default
        finally:
            self.health.seconds[collector] = time.monotonic() - started
        if not self.health.success.get(collector, True):
            log.info("collector %s works again", collector)
        self.health.success[collector] = True
        return value

    def _read_cgroups(self, kills: int | None, *, swap: bool) -> list[Found]:
        if self._tree is None:
            path, enabled = self.config.path, self.config.collectors
            self.hierarchies = mounts.find(self.reader, path.procfs, path.sysfs, path.rootfs)
            # Linux 7 keeps the files of v1's soft limit and has no longer what acted on it.
            self._soft_limit_reclaim = (
                self.hierarchies.version == "v1"
                and self._procfs.has_symbol(b"_soft_limit_reclaim") is not False
            )
            self._tree = CgroupTree(
                self.reader,
                self.hierarchies,
                memory=enabled.memory.enabled,
                pids=enabled.pids.enabled,
                pressure=enabled.pressure.enabled,
                numa=enabled.numa.enabled,
                hugetlb=self._hugetlb_files(),
                exact=self.config.collection.exact,
            )
        tree = self._tree
        try:
            return self.reading(lambda: tree.read(kills, swap=swap))
        except OSError:
            self._close_tree()  # it may have been mounted anew: look again in the next pass
            raise

    def _capped(self, found: list[Found]) -> list[Found]:
        """Without what the patterns and the cap drop; parents' indexes follow."""
        cap = self.config.collection.max_cgroups or len(found)
        if len(found) <= cap and not self._allow and not self._deny:
            self.health.dropped = 0
            return found
        kept: list[Found] = []
        parents: list[int] = []
        index = {-1: -1}
        for position, (one, wanted) in enumerate(zip(found, self._let_through(found), strict=True)):
            shown = wanted and len(kept) < cap
            # A cgroup whose parent is dropped hangs on the nearest one that is kept.
            index[position] = len(kept) if shown else index[one.parent]
            if shown:
                kept.append(one)
                parents.append(index[one.parent])
        self.health.dropped = len(found) - len(kept)
        return self._kept(kept, parents) if self.health.dropped else found

    def _histories(self, every: list[Found], found: list[Found]) -> list[History | None]:
        if not self.config.collectors.memory.enabled or self.hierarchies is None:
            return [None] * len(found)
        return self.edge.look(self.hierarchies.version == "v1", every, found, time.monotonic())

    def _wanted(self, path: str) -> bool:
        """Whether the patterns let a cgroup through."""
        return (not self._allow or any(p.search(path) for p in self._allow)) and not any(
            p.search(path) for p in self._deny
        )

    def _hugetlb_files(self) -> tuple[str, ...]:
        found = self.hierarchies
        if not self.config.collectors.hugetlb.enabled or found is None:
            return ()
        return hugetlb.files(self.config.path.sysfs, v1=found.hugetlb != found.unified)

    def _recursive_protection(self, found: list[Found]) -> bool:
        """Whether it matters here, and is so."""
        protected = any(self._protected(found))
        return protected and mounts.recursive_protection(self.reader, self.config.path.procfs)

    def _vmstat(self) -> Mapping[bytes, bytes]:
        return parse.flat_keyed(self._procfs.vmstat() or b"")


def _here(read: Callable[[], T]) -> T:
    return read()


def _cgroup_of(pids: Sequence[Sequence[int]]) -> dict[int, int]:
    """Of every process the index of its cgroup."""
    return {pid: index for index, some in enumerate(pids) for pid in some}


def _kept(one: Found, parent: int, before: Found | None) -> Found:
    made = replace(one, parent=parent)
    return before if before == made else made


def _limiting(one: Found, _: Cgroup | None) -> Cgroup:
    """A cgroup with what limits and protects only."""
    return Cgroup(path=one.path, parent=one.parent, identity=_NOBODY, files=one.files)


def _protected(one: Found, _: bool | None) -> bool:
    files = one.files
    return files.get("memory.min", b"0") != b"0" or files.get("memory.low", b"0") != b"0"


def _oom_kills(vmstat: Mapping[bytes, bytes]) -> int | None:
    kills = vmstat.get(b"oom_kill")
    return None if kills is None else int(kills)
