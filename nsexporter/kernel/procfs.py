"""Processes: PID, start, namespace inodes; the host's own namespaces and limits."""

from __future__ import annotations

import os
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from typing import Literal

from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import (
    ParseError,
    meminfo,
    ns_link,
    pressure_totals,
    proc_cgroup,
    text_of,
)
from nsexporter.model import NS_TYPES

LINKS = (*NS_TYPES, "pid_for_children", "time_for_children")

# include/linux/proc_ns.h: the first instance of each of these has a fixed inode in all kernels,
# mnt and net only since Linux 6.18 (include/uapi/linux/nsfs.h).
_INITIAL = {
    "time": 4026531834,
    "cgroup": 4026531835,
    "pid": 4026531836,
    "user": 4026531837,
    "uts": 4026531838,
    "ipc": 4026531839,
}
_LIMIT_FILES = {ns_type: f"max_{ns_type}_namespaces" for ns_type in NS_TYPES}


_THREAD_LINKS = ("mnt", "net", "ipc", "uts", "cgroup")
"""What one thread alone can unshare(2); pid, user and time go by whole processes."""


@dataclass(slots=True)
class Seen:
    """One process as last read, kept while its directory in /proc keeps its inode."""

    pid: int
    inode: int  # of /proc/PID: another one when the PID is used anew
    namespaces: Mapping[str, int] = field(default_factory=dict)  # of /proc/PID/ns; a zombie: none
    threads: tuple[tuple[str, str, int], ...] = ()  # TID, type, inode: other than the process's
    unread_threads: int = 0
    unreadable: bool = False
    listed: bool = False  # a cgroup.procs named it
    settled: bool = False  # read a second time


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan of /proc saw; processes that share all namespaces share the mapping."""

    processes: list[Seen]  # in order of PID, zombies left out
    unreadable: int  # processes that are there, but not readable or hidden (hidepid)
    unread_threads: int


class Procfs:
    """A procfs, for one reader of it."""

    def __init__(self, reader: Reader, root: str) -> None:
        self._reader = reader
        self._root = root
        self._known: dict[int, Seen] = {}
        self._shared: dict[tuple[str, ...], Mapping[str, int]] = {}  # link texts, in LINKS' order
        self._turn = 0

    def processes(
        self, listed: Set[int] = frozenset(), *, refresh: int = 1, max_threads: int = 0
    ) -> Scan:
        """Every process with its namespaces, and up to `max_threads` threads of each.

        A process is read when it is new, once more in the next scan (runtimes set namespaces up
        after the fork), and then in every `refresh`-th. `listed` are the PIDs that cgroup.procs
        names, as far as known: one that leaves them has become a zombie and is read at once.
        """
        self._turn += 1
        if len(self._shared) > 100_000:
            self._shared.clear()
        before, known = self._known, dict[int, Seen]()
        processes: list[Seen] = []
        unreadable = unread_threads = 0
        with os.scandir(self._root) as entries:
            for entry in entries:
                name = entry.name
                if not name.isdigit():
                    continue
                pid, inode = int(name), entry.inode()
                seen = before.get(pid)
                if seen is None or seen.inode != inode:
                    seen = Seen(pid, inode)
                    self._read(seen, max_threads)
                    seen.listed = pid in listed
                elif (
                    not seen.settled
                    or (pid + self._turn) % refresh == 0
                    or (seen.listed and pid not in listed)
                ):
                    seen.settled = True
                    self._read(seen, max_threads)
                    seen.listed = pid in listed
                known[pid] = seen
                if seen.namespaces:
                    processes.append(seen)
                    unread_threads += seen.unread_threads
                elif seen.unreadable:
                    unreadable += 1
        self._known = known
        hidden = sum(map(_exists, listed - known.keys()))
        return Scan(processes, unreadable + hidden, unread_threads)

    def _read(self, seen: Seen, max_threads: int) -> None:
        """Read the links of a process, and those of its threads that differ."""
        place = f"{self._root}/{seen.pid}"
        seen.namespaces, seen.threads, seen.unreadable = {}, (), False
        try:
            seen.namespaces = self._links(f"{place}/ns")
            if max_threads and seen.namespaces:
                self._read_threads(seen, f"{place}/task", max_threads)
        except PermissionError:
            # So does one that is gone (proc_ns_readlink in fs/proc/namespaces.c).
            seen.unreadable = os.path.exists(place) and not self._is_zombie(place)
        except ParseError as error:
            raise ParseError(f"{place}/ns: {error}") from None
        except OSError as error:
            self._reader.failed("namespaces", error)

    def _links(self, directory: str) -> Mapping[str, int]:
        """Name to inode of each link, none for a zombie.

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
                        return {}
                    texts.append("")  # this kernel has no such type, or the process goes
            if "" in texts:
                os.readlink(LINKS[0], dir_fd=fd)
        except FileNotFoundError:
            return {}
        finally:
            os.close(fd)
        key = tuple(texts)
        shared = self._shared.get(key)
        if shared is None:
            shared = self._shared[key] = {
                name: ns_link(text) for name, text in zip(LINKS, key, strict=True) if text
            }
        return shared

    def _read_threads(self, seen: Seen, tasks: str, most: int) -> None:
        """Read the threads but the first that are in other namespaces than the process."""
        own = seen.namespaces
        names = [name for name in os.listdir(tasks) if name != str(seen.pid)]
        differing = []
        for name in names[:most]:
            for ns_type in _THREAD_LINKS:
                try:
                    inode = ns_link(os.readlink(f"{tasks}/{name}/ns/{ns_type}"))
                except (FileNotFoundError, PermissionError):
                    break  # it is gone: the process itself could be read
                if own.get(ns_type) != inode:
                    differing.append((name, ns_type, inode))
        seen.threads = tuple(differing)
        seen.unread_threads = max(0, len(names) - most)

    def _is_zombie(self, place: str) -> bool:
        stat = self._reader.read("namespaces", f"{place}/stat") or b""
        return stat.rpartition(b") ")[2].startswith((b"Z", b"X"))

    def host_namespaces(self) -> Mapping[str, int]:
        """The host's own namespace of each type, where it can be told.

        PID 1's where they may be read (CAP_SYS_PTRACE), else kthreadd's, which never leaves the
        initial ones, else the fixed inodes of the initial ones. Only of the host's procfs: in
        another PID namespace PID 1 is somebody else and PID 2 no kernel thread.
        """
        for pid in (1, 2):
            try:
                links = self._links(f"{self._root}/{pid}/ns")
            except OSError:
                continue  # unreadable is expected (see above): the next source answers
            if links.get("pid") == _INITIAL["pid"]:
                return {ns_type: links[ns_type] for ns_type in NS_TYPES if ns_type in links}
        return _INITIAL

    def in_foreign_pid_namespace(self) -> bool:
        """Whether we are in another PID namespace than the host's; False where it cannot be told.

        cgroup.procs has no process of other PID namespaces then (v1), or a 0 for each (v2).
        """
        return self._in_foreign("pid")

    def in_foreign_cgroup_namespace(self) -> bool:
        """Whether we are in another cgroup namespace, to whose root /proc/PID/cgroup is relative
        then (cgroup_namespaces(7)); False where it cannot be told."""
        return self._in_foreign("cgroup")

    def _in_foreign(self, ns_type: str) -> bool:
        try:
            link = os.readlink(f"{self._root}/self/ns/{ns_type}")
        except OSError:
            return False
        return ns_link(link) != _INITIAL[ns_type]

    def namespace_limits(self) -> dict[str, int]:
        """ns_type to how many namespaces a user may have here (namespaces(7))."""
        limits = {}
        for ns_type, name in _LIMIT_FILES.items():
            text = self._reader.read("namespaces", f"{self._root}/sys/user/{name}")
            if text is not None and text.isdigit():
                limits[ns_type] = int(text)
        return limits

    def memory_cgroup(self, pid: int | Literal["self"]) -> str | None:
        """The cgroup of a process in the hierarchy with memory, while the process tells."""
        text = self._reader.read_all("oom", f"{self._root}/{pid}/cgroup")
        return None if text is None else proc_cgroup(text)

    def name_mounts_and_user(self, pid: int) -> tuple[str, str, int]:
        """comm, mountinfo and UID of a process; empty and 0 where it is gone or a zombie."""
        comm = self._reader.read("cgroups", f"{self._root}/{pid}/comm")
        mounts = self._reader.read_all("cgroups", f"{self._root}/{pid}/mountinfo")
        try:
            uid = os.stat(f"{self._root}/{pid}").st_uid
        except OSError as error:
            self._reader.failed("cgroups", error)
            uid = 0
        return text_of(comm or b""), text_of(mounts or b""), uid

    def boot_id(self) -> str:
        """Another one after each boot; empty where it cannot be read."""
        text = self._reader.read("oom", f"{self._root}/sys/kernel/random/boot_id")
        return "" if text is None else text_of(text)

    def vmstat(self) -> bytes | None:
        """/proc/vmstat, flat keyed."""
        return self._reader.read_all("vmstat", f"{self._root}/vmstat")

    def meminfo(self) -> dict[bytes, int]:
        """/proc/meminfo in bytes, empty where it cannot be read."""
        text = self._reader.read_all("meminfo", f"{self._root}/meminfo")
        return {} if text is None else meminfo(text)

    def memory_pressure(self) -> dict[bytes, bytes]:
        """The host's stall times (psi.rst) in microseconds, empty where there is no PSI."""
        text = self._reader.read_all("pressure", f"{self._root}/pressure/memory")
        return {} if text is None else pressure_totals(text)

    def has_symbol(self, name: bytes) -> bool | None:
        """Whether the kernel has a function whose name ends so; None where it does not tell.

        The names of /proc/kallsyms are everybody's to read, its addresses are not.
        """
        wanted = name + b"\n"
        try:
            with open(f"{self._root}/kallsyms", "rb", buffering=1 << 18) as symbols:
                return any(line.endswith(wanted) for line in symbols)
        except OSError as error:
            self._reader.failed("memory", error)
            return None


def _exists(pid: int) -> bool:
    """Whether there is such a process; asked of one that is not in /proc (hidepid)."""
    try:
        os.getpgid(pid)  # of any user's process; kill(2) would not tell a filter's EPERM apart
    except ProcessLookupError:
        return False
    return True
