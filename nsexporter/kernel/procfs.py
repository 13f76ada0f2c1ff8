"""Files of a procfs about the host, about one process, and the host's own namespaces."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Literal

from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import meminfo, ns_link, pressure_totals, proc_cgroup, text_of
from nsexporter.kernel.processes import inodes, links
from nsexporter.model import NS_TYPES

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


class Procfs:
    """A procfs, for one reader of it."""

    def __init__(self, reader: Reader, root: str) -> None:
        self._reader = reader
        self._root = root

    def host_namespaces(self) -> Mapping[str, int]:
        """The host's own namespace of each type, where it can be told.

        PID 1's where they may be read (CAP_SYS_PTRACE), else kthreadd's, which never leaves the
        initial ones, else the fixed inodes of the initial ones. Only of the host's procfs: in
        another PID namespace PID 1 is somebody else and PID 2 no kernel thread.
        """
        for pid in (1, 2):
            try:
                found = inodes(links(f"{self._root}/{pid}/ns"))
            except OSError:
                continue  # unreadable is expected (see above): the next source answers
            if found.get("pid") == _INITIAL["pid"]:
                return {ns_type: found[ns_type] for ns_type in NS_TYPES if ns_type in found}
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
