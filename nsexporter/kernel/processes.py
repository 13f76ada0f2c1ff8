"""Processes and the namespaces each is in; a scan reads those only that may have changed."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass, field

from nsexporter.kernel.files import READ, Reader
from nsexporter.kernel.parse import ParseError, ns_link
from nsexporter.kernel.pids import Pids
from nsexporter.model import NS_TYPES

LINKS = (*NS_TYPES, "pid_for_children", "time_for_children")

_THREAD_LINKS = ("mnt", "net", "ipc", "uts", "cgroup")
"""What one thread alone can unshare(2); pid, user and time go by whole processes."""

_SCHEDSTAT = 64  # bytes: three numbers of 64 bits

_NEVER = (b"", b"0 0 0\n")
"""What schedstat tells where the kernel does not count (CONFIG_SCHED_INFO), or of nothing yet."""


@dataclass(slots=True, eq=False)
class Seen:
    """One process as last read: another object as soon as anything but `ran` is different."""

    pid: int
    inode: int  # of /proc/PID: another one when the PID is used anew
    ran: bytes  # its schedstat before it was read
    namespaces: Mapping[str, int] = field(default_factory=dict)  # of /proc/PID/ns; a zombie: none
    threads: tuple[tuple[str, str, int], ...] = ()  # TID, type, inode: other than the process's
    unread_threads: int = 0
    unreadable: bool = False
    listed: bytes = b""  # `ran` when its descriptors were read

    @property
    def rests(self) -> bool:
        """Whether its first thread has not run since its descriptors were read."""
        return self.listed == self.ran and self.ran not in _NEVER

    def told(self) -> tuple[object, ...]:
        """What was read of it."""
        return self.namespaces, self.threads, self.unread_threads, self.unreadable


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan of /proc saw; processes that share all namespaces share the mapping."""

    processes: Mapping[int, Seen]  # in order of PID, zombies left out; the same until one changes
    unreadable: int  # processes that are there, but not readable or hidden (hidepid)
    unread_threads: int


class Processes:
    """The processes of a procfs."""

    def __init__(
        self,
        reader: Reader,
        root: str,
        *,
        refresh: int = 1,
        max_threads: int = 0,
        counted: bool = False,
    ) -> None:
        """A process is looked at in every `refresh`-th scan, with up to `max_threads` threads.

        `counted` is whether our PID namespace is that of the procfs, and the host's (`Pids`).
        """
        self._reader = reader
        self._root = root
        self._refresh = refresh
        self._max_threads = max_threads
        self._turn = 0
        self._pids = Pids(reader, root, refresh, counted=counted)
        self._there: Mapping[int, int] = {}  # what /proc listed, to its inode
        self._known: dict[int, Seen] = {}
        self._again: Set[int] = frozenset()  # PIDs to look at once more
        self._listed: Set[int] = frozenset()
        self._shared: dict[str, Mapping[str, int]] = {}  # by the link texts, in LINKS' order
        self._scan = Scan({}, 0, 0)

    def scan(self, listed: Set[int] = frozenset()) -> Scan:
        """Every process with its namespaces.

        A process is looked at when it is new, once more in the next scan (runtimes set namespaces
        up after the fork), and then in turn. `listed` are the PIDs that cgroup.procs names, as far
        as known: one that leaves them is becoming a zombie and is looked at like a new one.
        """
        self._turn += 1
        there = self._pids.look()
        known = self._known.copy()
        came: dict[int, int] = {}
        changes = there.items() ^ self._there.items() if there is not self._there else ()
        for pid, inode in changes:
            if there.get(pid) == inode:
                came[pid] = inode
            else:
                known.pop(pid, None)
        left = (self._listed - listed) & known.keys()
        due = [pid for pid in known if (pid + self._turn) % self._refresh == 0]
        for pid in {*due, *(self._again & known.keys()), *left}:
            known[pid] = self._looked_at(pid, known[pid].inode, known[pid])
        for pid, inode in came.items():
            known[pid] = self._looked_at(pid, inode, None)
        if known != self._known:
            self._scan = _scan(known)
            self._forget()
        self._there, self._known, self._listed = there, known, listed
        self._again = came.keys() | left
        hidden = sum(map(_exists, listed - known.keys()))
        return Scan(self._scan.processes, self._scan.unreadable + hidden, self._scan.unread_threads)

    def _looked_at(self, pid: int, inode: int, before: Seen | None) -> Seen:
        """The process as it is now: the same object where it is as before.

        Only a thread that runs can leave a namespace: all callers of switch_task_namespaces
        (kernel/nsproxy.c) and of commit_creds do so for `current`. So the links of one whose
        schedstat (sched-stats.rst: time on the CPU, time waiting for it, times scheduled) is what
        it was are not read again; the time is counted in at every tick and when it stops running.
        """
        place = f"{self._root}/{pid}"
        ran = _ran(place)
        if (
            before is not None
            and before.namespaces
            and before.ran == ran
            and ran not in _NEVER
            and not self._max_threads  # others of its threads may have run
        ):
            return before
        seen = Seen(pid, inode, ran)
        self._read(seen, place)
        if before is None or before.told() != seen.told():
            return seen
        before.ran = ran
        return before

    def _read(self, seen: Seen, place: str) -> None:
        """Read the links of a process, and those of its threads that differ."""
        try:
            seen.namespaces = self._links(f"{place}/ns")
            if self._max_threads and seen.namespaces:
                self._read_threads(seen, f"{place}/task")
        except PermissionError:
            # So does one that is gone (proc_ns_readlink in fs/proc/namespaces.c).
            seen.unreadable = os.path.exists(place) and not self._is_zombie(place)
        except ParseError as error:
            raise ParseError(f"{place}/ns: {error}") from None
        except OSError as error:
            self._reader.failed("namespaces", error)

    def _links(self, directory: str) -> Mapping[str, int]:
        text = links(directory)
        shared = self._shared.get(text)
        if shared is None:
            shared = self._shared[text] = inodes(text)
        return shared

    def _forget(self) -> None:
        """Keep of what is shared what some process has, when there is much more."""
        if len(self._shared) > 2 * len(self._known) + 1000:
            used = {id(seen.namespaces) for seen in self._known.values()}
            self._shared = {text: one for text, one in self._shared.items() if id(one) in used}

    def _read_threads(self, seen: Seen, tasks: str) -> None:
        """Read the threads but the first that are in other namespaces than the process."""
        own = seen.namespaces
        names = [name for name in os.listdir(tasks) if name != str(seen.pid)]
        differing = []
        for name in names[: self._max_threads]:
            for ns_type in _THREAD_LINKS:
                try:
                    inode = ns_link(os.readlink(f"{tasks}/{name}/ns/{ns_type}"))
                except (FileNotFoundError, PermissionError):
                    break  # it is gone: the process itself could be read
                if own.get(ns_type) != inode:
                    differing.append((name, ns_type, inode))
        seen.threads = tuple(differing)
        seen.unread_threads = max(0, len(names) - self._max_threads)

    def _is_zombie(self, place: str) -> bool:
        stat = self._reader.read("namespaces", f"{place}/stat") or b""
        return stat.rpartition(b") ")[2].startswith((b"Z", b"X"))


def _ran(place: str) -> bytes:
    """The schedstat of a process, empty where it cannot be read: its links tell why."""
    try:
        fd = os.open(f"{place}/schedstat", READ)
    except OSError:
        return b""
    try:
        return os.read(fd, _SCHEDSTAT)
    except OSError:
        return b""
    finally:
        os.close(fd)


def links(directory: str) -> str:
    """The texts of the links of LINKS in a /proc/PID/ns, a line each; none for a zombie.

    A zombie has lost every namespace but pid and user (exit_task_namespaces in
    kernel/nsproxy.c), so its mnt link is not there, nor when the process goes meanwhile.
    """
    texts = []
    fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for name in LINKS:
            try:
                texts.append(os.readlink(name, dir_fd=fd))
            except FileNotFoundError:
                if name == LINKS[0]:
                    return ""
                texts.append("")  # this kernel has no such type, or the process goes
        if "" in texts:
            os.readlink(LINKS[0], dir_fd=fd)
    except FileNotFoundError:
        return ""
    finally:
        os.close(fd)
    return "\n".join(texts)


def inodes(text: str) -> Mapping[str, int]:
    """Name to inode of each link of the texts that `links` gives.

    >>> inodes("mnt:[4026531841]\\npid:[4026531836]" + 8 * "\\n")
    {'mnt': 4026531841, 'pid': 4026531836}
    >>> inodes("")
    {}
    """
    lines = text.split("\n") if text else [""] * len(LINKS)
    return {name: ns_link(line) for name, line in zip(LINKS, lines, strict=True) if line}


def _scan(known: Mapping[int, Seen]) -> Scan:
    """The processes as far as they could be read."""
    processes = {pid: seen for pid, seen in sorted(known.items()) if seen.namespaces}
    return Scan(
        processes,
        sum(seen.unreadable for seen in known.values()),
        sum(seen.unread_threads for seen in processes.values()),
    )


def _exists(pid: int) -> bool:
    """Whether there is such a process; asked of one that is not in /proc (hidepid)."""
    try:
        os.getpgid(pid)  # of any user's process; kill(2) would not tell a filter's EPERM apart
    except ProcessLookupError:
        return False
    return True
