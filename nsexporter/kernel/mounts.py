"""mountinfo: which hierarchy carries which controller (v1, v2, hybrid), and where it is mounted."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath

from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import Mount, ParseError, mountinfo


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Directories to open; None where a hierarchy is not mounted or lacks the controller."""

    version: str  # of the hierarchy with the memory controller: v1, v2, or none
    memory: str | None
    pids: str | None
    unified: str | None  # cgroup2's mount, also on hybrid hosts
    hugetlb: str | None = None

    @property
    def mode(self) -> str:
        """v1, v2, hybrid (controllers on v1, cgroup2 mounted beside it) or none."""
        return "hybrid" if self.version == "v1" and self.unified else self.version


def find(reader: Reader, procfs: str, sysfs: str, rootfs: str) -> Hierarchies:
    """The hierarchies of the host, from PID 1's mountinfo or, where unreadable, our own.

    Whether cgroup2 carries memory is asked of its cgroup.controllers: /proc/cgroups lists
    memory as enabled on kernels without CONFIG_MEMCG_V1 too.
    """
    text = _mountinfo(reader, procfs)
    if not text:
        raise ParseError(f"{procfs}/1/mountinfo and {procfs}/self/mountinfo cannot be read")
    mounts = mountinfo(text)

    def directory(mount: Mount) -> str:
        return _below(mount.mount_point.decode("utf-8", "surrogateescape"), sysfs, rootfs)

    def v1(controller: bytes) -> str | None:
        return first_whole(
            m for m in mounts if m.fs_type == b"cgroup" and controller in m.super_options
        )

    def first_whole(candidates: Iterable[Mount]) -> str | None:
        # A bind mount of a part of the hierarchy has another root than "/".
        ordered = sorted(candidates, key=lambda mount: mount.root != b"/")
        return directory(ordered[0]) if ordered else None

    unified = first_whole(m for m in mounts if m.fs_type == b"cgroup2")
    controllers: list[bytes] = []
    if unified is not None:
        controllers = (reader.read("mounts", f"{unified}/cgroup.controllers") or b"").split()
    memory = v1(b"memory")
    pids = unified if b"pids" in controllers else v1(b"pids")
    huge = unified if b"hugetlb" in controllers else v1(b"hugetlb")
    if memory is not None:
        return Hierarchies("v1", memory, pids, unified, huge)
    version = "v2" if b"memory" in controllers else "none"
    return Hierarchies(version, unified, pids, unified, huge)


def recursive_protection(reader: Reader, procfs: str) -> bool:
    """Whether cgroup2 is mounted with memory_recursiveprot, which any mount of it may change.

    The flag is the hierarchy's, not the mount's: a container that mounts cgroup2 without it
    takes it away from the host (cgroup2_reconfigure in kernel/cgroup/cgroup.c).
    """
    text = _mountinfo(reader, procfs) or b""
    return re.search(rb" - cgroup2 \S+ \S*\bmemory_recursiveprot\b", text) is not None


def _mountinfo(reader: Reader, procfs: str) -> bytes | None:
    return reader.read_all("mounts", f"{procfs}/1/mountinfo") or reader.read_all(
        "mounts", f"{procfs}/self/mountinfo"
    )


def _below(mount_point: str, sysfs: str, rootfs: str) -> str:
    """Where a mount point of the host is for us: below --path.sysfs, else below --path.rootfs."""
    point = PurePosixPath(mount_point)
    if point.is_relative_to("/sys"):
        return str(PurePosixPath(sysfs) / point.relative_to("/sys"))
    return str(PurePosixPath(rootfs) / point.relative_to("/"))


def charged(reader: Reader, root: str, cgroup: str) -> str:
    """The cgroup of v2 that is charged for the memory of processes in `cgroup`: itself, or the
    nearest above it that has the memory controller ("Enabling and Disabling", cgroup-v2.rst)."""
    above = ""
    for name in cgroup.strip("/").split("/"):
        text = reader.read("oom", f"{root}{above}/cgroup.subtree_control")
        if text is not None and b"memory" not in text.split():
            return above or "/"
        above = f"{above}/{name}"
    return cgroup
