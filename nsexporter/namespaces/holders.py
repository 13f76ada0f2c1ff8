"""What keeps a namespace that no process need be in: bind mounts and open descriptors."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain

from nsexporter.kernel.nsfs import Held, Nsfs
from nsexporter.kernel.processes import Seen
from nsexporter.namespaces.inside import Inside, Key

# In links read:
_PROCESS_COST = 8  # what to open a process's fd directory costs
_REST_COST = 4  # what to find out costs that a process has the same ones, and somewhat more


@dataclass(slots=True)
class Hold:
    """What keeps one namespace: the first mount and the first descriptor of several."""

    mount: str = ""
    descriptor: str = ""
    paths: list[str] = field(default_factory=list)  # below /proc, to open it by


class Holders:
    """Looks for them, in turn."""

    def __init__(self, nsfs: Nsfs, refresh: int, max_fds: int) -> None:
        """Mount tables are read in every `refresh`-th pass, `max_fds` descriptors in each."""
        self._nsfs = nsfs
        self._refresh = refresh
        self._max_fds = max_fds
        self._turn = 0
        self._mounts: dict[int, list[Held]] = {}  # by the inode of the mount namespace
        self._descriptors: dict[int, tuple[Seen, list[Held]]] = {}  # by PID
        self._next_pid = 0  # whose descriptors are read next

    def find(
        self, processes: Mapping[int, Seen], inside: Mapping[Key, Inside], host: int | None
    ) -> dict[Key, Hold]:
        """Every namespace that is held; `host` is the host's mount namespace."""
        self._turn += 1
        first = processes.get(1)
        self._read_mounts(first, inside, host)
        self._read_descriptors(processes)
        found: dict[Key, Hold] = {}
        for mount in chain.from_iterable(self._mounts.values()):
            hold = found.setdefault((mount.ns_type, mount.inode), Hold())
            hold.mount = hold.mount or mount.name
            hold.paths.append(mount.path)
            if first is None:  # PID 1's root is not open to us: it may be ours as well
                hold.paths.append(mount.path.replace("1/", "self/", 1))
        for one in chain.from_iterable(held for _, held in self._descriptors.values()):
            hold = found.setdefault((one.ns_type, one.inode), Hold())
            hold.descriptor = hold.descriptor or one.name
            hold.paths.append(one.path)
        return found

    def _read_mounts(
        self, first: Seen | None, inside: Mapping[Key, Inside], host: int | None
    ) -> None:
        """Bind mounts: in the host's and in new mount namespaces now, in the others in turn."""
        before = self._mounts
        # mountinfo is readable where the ns directory is not.
        self._mounts = {0 if first is None else first.namespaces["mnt"]: self._nsfs.mounts(1)}
        pids = {
            inode: one.first.pid
            for (ns_type, inode), one in inside.items()
            if ns_type == "mnt" and one.first is not None
        }
        for inode in sorted(pids.keys() - self._mounts.keys()):
            held = before.get(inode)
            due = inode == host or (inode + self._turn) % self._refresh == 0
            self._mounts[inode] = self._nsfs.mounts(pids[inode]) if held is None or due else held

    def _read_descriptors(self, processes: Mapping[int, Seen]) -> None:
        """Open descriptors: those of some processes now, of the others as last read.

        Only a thread that runs opens or closes one, of its own process or, as few do, of those
        that share them (CLONE_FILES), which have them too.
        """
        budget = self._max_fds
        kept = {
            pid: old
            for pid, old in self._descriptors.items()
            if pid in processes and processes[pid].inode == old[0].inode
        }
        own, count = self._nsfs.own()
        many = count > self._max_fds
        pids = list(processes)
        start = bisect_left(pids, self._next_pid)
        for pid in chain(pids[start:], pids[:start]):
            if budget <= 0:
                self._next_pid = pid
                break
            seen = processes[pid]
            if pid == own and many:
                continue  # they are of cgroups
            if seen.rests and self._nsfs.threads(pid) == 1:
                budget -= _REST_COST
                continue
            seen.listed = seen.ran
            count, held = self._nsfs.descriptors(pid)
            budget -= count + _PROCESS_COST
            kept.pop(pid, None)
            if held:
                kept[pid] = seen, held
        self._descriptors = kept
