"""Namespaces as files: bind mounts and open descriptors that hold them; owner, parent, type."""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from nsexporter.kernel import listns
from nsexporter.kernel.files import Reader
from nsexporter.kernel.parse import mountinfo, ns_link, text_of, uid_map
from nsexporter.model import NS_TYPES

# include/uapi/linux/nsfs.h
_NS_GET_USERNS = 0xB701
_NS_GET_PARENT = 0xB702
_NS_GET_NSTYPE = 0xB703  # since Linux 4.11
_NS_GET_OWNER_UID = 0xB704
_NS_GET_ID = 0x8008B70D  # since Linux 6.18; a number that is never used again

# include/uapi/linux/sched.h: what NS_GET_NSTYPE answers.
_CLONE_FLAGS = {
    0x00020000: "mnt",
    0x20000000: "pid",
    0x40000000: "net",
    0x08000000: "ipc",
    0x04000000: "uts",
    0x10000000: "user",
    0x02000000: "cgroup",
    0x00000080: "time",
}
_PROC_DYNAMIC_FIRST = 0xF0000000  # fs/proc/generic.c: no namespace has a smaller inode

# What says that there is no answer: the initial namespace, or one outside ours, has no parent
# or owner to show (EPERM); the type has none, or the kernel has no such request.
_NO_ANSWER = frozenset({errno.EPERM, errno.EINVAL, errno.ENOTTY})


@dataclass(frozen=True, slots=True)
class Held:
    """A namespace that a bind mount or an open descriptor keeps, and a path to open it by."""

    ns_type: str
    inode: int
    name: str  # the mount point, or /proc/PID/fd/N
    path: str  # below the procfs


@dataclass(frozen=True, slots=True)
class Description:
    """What a namespace says of itself (ioctl_nsfs(2)); None where there is no answer.

    `owner_uid` is the user who made the user namespace, its own or the owning one.
    """

    ns_type: str
    inode: int
    ns_id: int | None
    owner: Description | None  # user namespace
    parent: Description | None  # of pid and user
    owner_uid: int | None

    @property
    def key(self) -> tuple[str, int]:
        """Type and inode."""
        return self.ns_type, self.inode

    @property
    def depth(self) -> int:
        """How many namespaces are above it, up to the initial one or to where we may look."""
        return 0 if self.parent is None else 1 + self.parent.depth

    def above(self) -> Iterator[Description]:
        """Its owner and its parent, and theirs; each once where it is one object."""
        for one in (self.parent, self.owner):
            if one is not None:
                yield one
                yield from one.above()


class Nsfs:
    """Finds and asks namespaces by way of a procfs."""

    def __init__(self, reader: Reader, procfs: str) -> None:
        self._reader = reader
        self._procfs = procfs
        self._listed: dict[int, Description | None] = {}  # by ID; None: not ours to open

    def mounts(self, pid: int) -> list[Held]:
        """The namespaces that are bind mounted in a process's mount namespace."""
        text = self._reader.read_all("namespaces", f"{self._procfs}/{pid}/mountinfo") or b""
        if b" - nsfs " not in text:
            return []
        lines = [line for line in text.splitlines() if b" - nsfs " in line]
        found = []
        for mount in mountinfo(b"\n".join(lines)):
            link = _link(mount.root.decode("ascii", "replace"))
            if mount.fs_type == b"nsfs" and link is not None:
                point = mount.mount_point.decode("utf-8", "surrogateescape")
                found.append(Held(*link, text_of(mount.mount_point), f"{pid}/root{point}"))
        return found

    def own(self) -> tuple[int, int]:
        """Our PID in the procfs and how many descriptors we have, as far as that is told.

        0 is our PID in the procfs of another PID namespace, and the number before Linux 6.2.
        """
        try:
            pid = os.readlink(f"{self._procfs}/self")
            return int(pid), os.stat(f"{self._procfs}/{pid}/fd").st_size
        except (OSError, ValueError):
            return 0, 0

    def threads(self, pid: int) -> int:
        """How many threads a process has, 0 where that cannot be told (proc_task_getattr)."""
        try:
            return max(0, os.stat(f"{self._procfs}/{pid}/task").st_nlink - 2)
        except OSError:
            return 0  # it goes: whoever reads it next finds out

    def descriptors(self, pid: int) -> tuple[int, list[Held]]:
        """How many descriptors a process has, and those that are of namespaces."""
        found = []
        try:
            fd = os.open(f"{self._procfs}/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError:
            return 0, []  # the process goes, or is another user's: it is counted as unread
        try:
            names = os.listdir(fd)
            for name in names:
                try:
                    text = os.readlink(name, dir_fd=fd)
                except OSError:
                    continue  # closed meanwhile
                link = self._detached(pid, name) if text == "/" else _link(text)
                if link is not None:
                    found.append(Held(*link, f"/proc/{pid}/fd/{name}", f"{pid}/fd/{name}"))
        except OSError:  # it went meanwhile
            return 0, []
        finally:
            os.close(fd)
        return len(names), found

    def _detached(self, pid: int, name: str) -> tuple[str, int] | None:
        """Type and inode where the descriptor was opened by a bind mount that is gone since.

        Its link text is "/" then, as that of any root directory. fdinfo is asked first: stat
        can wait for ever for a file system that does not answer.
        """
        text = self._reader.read("namespaces", f"{self._procfs}/{pid}/fdinfo/{name}") or b""
        inode = text.partition(b"\nino:\t")[2].partition(b"\n")[0]  # since Linux 5.14
        if not inode.isdigit() or int(inode) < _PROC_DYNAMIC_FIRST:
            return None
        fd = self._open(f"{pid}/fd/{name}", int(inode))
        if fd is None:
            return None
        try:
            return _CLONE_FLAGS[fcntl.ioctl(fd, _NS_GET_NSTYPE)], int(inode)
        except (OSError, KeyError):
            return None  # too old a kernel, or a type newer than this
        finally:
            os.close(fd)

    def uid_map(self, pid: int) -> tuple[tuple[int, int, int], ...]:
        """First ID inside, first ID outside, how many, of a process's user namespace."""
        return uid_map(self._reader.read_all("namespaces", f"{self._procfs}/{pid}/uid_map") or b"")

    def describe(self, path: str, ns_type: str, inode: int) -> Description | None:
        """What the namespace at `path` below the procfs says; None where it is not there."""
        fd = self._open(path, inode)
        return None if fd is None else self._describe(fd, ns_type)

    def listed(self) -> Iterator[Description]:
        """Every namespace that listns(2) tells of; none where the kernel has no listns."""
        try:
            ids = listns.ids()
        except OSError:
            return  # /proc tells of them too, in turn
        before = self._listed
        self._listed = {}
        for ns_id in ids:
            known = before.get(ns_id)
            if ns_id not in before:
                known = self._of_id(ns_id)
            self._listed[ns_id] = known
            if known is not None:
                yield known

    def _of_id(self, ns_id: int) -> Description | None:
        try:
            fd = listns.open_id(ns_id)
        except OSError:
            return None
        ns_type = _CLONE_FLAGS.get(fcntl.ioctl(fd, _NS_GET_NSTYPE))
        if ns_type is None:
            os.close(fd)
            return None
        return self._describe(fd, ns_type)

    def _open(self, path: str, inode: int) -> int | None:
        """A descriptor of that namespace, None where it is not there.

        Looked at before it is opened: in a container's file system a FIFO or a device may have
        come in its place, and to open one waits or does something.
        """
        try:
            place = os.open(f"{self._procfs}/{path}", os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EPERM, errno.ELOOP):  # not ours to see
                self._reader.failed("namespaces", error)
            return None
        try:
            found = os.fstat(place)
            own = os.stat(f"{self._procfs}/self/ns/mnt")
            if (found.st_dev, found.st_ino) != (own.st_dev, inode):
                return None
            return os.open(f"{self._procfs}/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            self._reader.failed("namespaces", error)
            return None
        finally:
            os.close(place)

    def _describe(self, fd: int, ns_type: str) -> Description:
        """What the namespace says and those above it say; closes the descriptor."""
        try:
            parent = owner = None
            if ns_type in ("pid", "user"):
                parent = self._related(fd, _NS_GET_PARENT, ns_type)
            if ns_type == "user":
                owner = parent
                owner_uid = self._ask(fd, _NS_GET_OWNER_UID, "=I")
            else:
                owner = self._related(fd, _NS_GET_USERNS, "user")
                owner_uid = None if owner is None else owner.owner_uid
            return Description(
                ns_type=ns_type,
                inode=os.fstat(fd).st_ino,
                ns_id=self._ask(fd, _NS_GET_ID, "=Q"),
                owner=owner,
                parent=parent,
                owner_uid=owner_uid,
            )
        finally:
            os.close(fd)

    def _related(self, fd: int, request: int, ns_type: str) -> Description | None:
        try:
            return self._describe(fcntl.ioctl(fd, request), ns_type)
        except OSError as error:
            if error.errno not in _NO_ANSWER:
                self._reader.failed("namespaces", error)
            return None

    def _ask(self, fd: int, request: int, form: str) -> int | None:
        answer = bytearray(struct.calcsize(form))
        try:
            fcntl.ioctl(fd, request, answer)
        except OSError as error:
            if error.errno not in _NO_ANSWER:
                self._reader.failed("namespaces", error)
            return None
        value: int = struct.unpack(form, answer)[0]
        return value


def _link(text: str) -> tuple[str, int] | None:
    """Type and inode of a namespace's link text, None for any other text.

    >>> _link("net:[4026531833]"), _link("socket:[12]"), _link("/dev/null")
    (('net', 4026531833), None, None)
    """
    ns_type, found, _ = text.partition(":[")
    return (ns_type, ns_link(text)) if found and ns_type in NS_TYPES else None
