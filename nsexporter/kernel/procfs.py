"""Processes: PID, start, namespace inodes; the host's own namespaces and limits."""

from __future__ import annotations

import os
from dataclasses import dataclass

from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import ParseError, meminfo, ns_link, pressure_totals
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
_LIMIT_FILES = {"mnt": "max_mnt_namespaces"} | {
    ns_type: f"max_{ns_type}_namespaces" for ns_type in NS_TYPES
}


@dataclass(frozen=True, slots=True)
class ProcessNamespaces:
    """One process and the inodes of its namespaces, by the name in /proc/PID/ns."""

    pid: int
    namespaces: dict[str, int]


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan of /proc saw: the processes, and how many were there but not readable."""

    processes: list[ProcessNamespaces]
    unreadable: int


class Procfs:
    """A procfs, for one reader of it."""

    def __init__(self, reader: Reader, root: str) -> None:
        self._reader = reader
        self._root = root
        self._inodes: dict[str, int] = {}  # link text to inode: few texts, many processes

    def processes(self) -> Scan:
        """Every process with its namespaces, zombies left out.

        A zombie has lost every namespace but pid and user (FACTS of fs/proc/namespaces.c:
        task->nsproxy is NULL), so its mnt link is not there; the same as a process that is gone.
        """
        found: list[ProcessNamespaces] = []
        unreadable = 0
        inodes = self._inodes
        if len(inodes) > 100_000:
            inodes.clear()
        for name in os.listdir(self._root):
            if not name.isdigit():
                continue
            try:
                fd = os.open(f"{self._root}/{name}/ns", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                self._reader.failed("namespaces", error)
                continue
            namespaces: dict[str, int] = {}
            try:
                for ns_type in LINKS:
                    try:
                        link = os.readlink(ns_type, dir_fd=fd)
                    except FileNotFoundError:
                        if ns_type == "mnt":
                            break  # a zombie, or gone
                        continue  # this kernel has no such type
                    inode = inodes.get(link)
                    if inode is None:
                        inode = inodes[link] = ns_link(link)
                    namespaces[ns_type] = inode
            except PermissionError:
                unreadable += 1
            except (OSError, ParseError) as error:
                if isinstance(error, OSError):
                    self._reader.failed("namespaces", error)
                continue
            finally:
                os.close(fd)
            if namespaces:
                found.append(ProcessNamespaces(int(name), namespaces))
        return Scan(found, unreadable)

    def host_namespaces(self) -> dict[str, int]:
        """The host's own namespace of each type, where it can be told.

        PID 1's where they may be read (CAP_SYS_PTRACE), else kthreadd's, which never leaves the
        initial ones, else the fixed inodes of the initial ones. Only of the host's procfs: in
        another PID namespace PID 1 is somebody else and PID 2 no kernel thread.
        """
        own = self._links("1")
        if own:
            return own
        stat = self._reader.read("namespaces", f"{self._root}/2/stat")
        if stat is not None and b"(kthreadd)" in stat:
            kthreadd = self._links("2")
            if kthreadd:
                return kthreadd
        return dict(_INITIAL)

    def _links(self, pid: str) -> dict[str, int]:
        links = {}
        for ns_type in NS_TYPES:
            try:
                links[ns_type] = ns_link(os.readlink(f"{self._root}/{pid}/ns/{ns_type}"))
            except OSError:
                # Unreadable here is expected (see above): the next source answers.
                continue
        return links

    def namespace_limits(self) -> dict[str, int]:
        """ns_type to how many namespaces a user may have here (namespaces(7))."""
        limits = {}
        for ns_type, name in _LIMIT_FILES.items():
            text = self._reader.read("namespaces", f"{self._root}/sys/user/{name}")
            if text is not None and text.isdigit():
                limits[ns_type] = int(text)
        return limits

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
