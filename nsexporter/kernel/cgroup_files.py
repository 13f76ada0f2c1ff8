"""The files of a cgroup, each in the hierarchy that has it, some of them kept open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from nsexporter.kernel.cgroup import Kept
from nsexporter.kernel.discovery import Node, Tree
from nsexporter.kernel.files import (
    CHUNK,
    FULL,
    KEPT_FILES,
    READ,
    Descriptors,
    Reader,
    exact,
    whole,
)
from nsexporter.kernel.interface_files import HOT, LONG, PROCS, SHORT
from nsexporter.kernel.mounts import Hierarchies

_SPARE = KEPT_FILES // 16  # descriptors that stay for hot files of cgroups to come


@dataclass(frozen=True, slots=True)
class _File:
    """One that cgroups may have."""

    collector: str
    root: int  # a descriptor of another hierarchy's root; -1 in the one that is walked
    size: int  # bytes that are read of it
    full: int  # bytes from which on there may be more


class CgroupFiles:
    """Reads them and counts what fails; which there are is told by `add`."""

    def __init__(
        self, reader: Reader, tree: Tree, hierarchies: Hierarchies, descriptors: Descriptors
    ) -> None:
        self._reader = reader
        self._tree = tree
        self._memory = hierarchies.memory
        self._descriptors = descriptors
        self._roots: dict[str, int] = {}
        self._files: dict[str, _File] = {}

    def close(self) -> None:
        """Close the roots; what is kept of a cgroup is closed by `give`."""
        for fd in self._roots.values():
            os.close(fd)
        self._roots.clear()

    def add(self, collector: str, names: Sequence[str], hierarchy: str | None) -> None:
        """Files of a collector, if there are some, in the hierarchy at that path, or in none."""
        if hierarchy is None or not names:
            return
        root = -1
        if hierarchy != self._memory:
            root = self._roots.get(hierarchy, -1)
            if root < 0:
                root = os.open(hierarchy, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                self._roots[hierarchy] = root
        for name in names:
            size = size_of(name)
            self._files[name] = _File(collector, root, size, min(size, FULL))

    def names(self, listed: frozenset[str]) -> list[str]:
        """Which there may be in a cgroup whose directory lists these."""
        return [name for name, file in self._files.items() if file.root >= 0 or name in listed]

    @property
    def watched(self) -> frozenset[str]:
        """Those in the hierarchy that is walked, the only one that is watched."""
        return frozenset(name for name, file in self._files.items() if file.root < 0)

    def texts(
        self, node: Node, kept: Kept, names: Iterable[str], *, keep: bool = False
    ) -> Iterator[tuple[str, bytes | None]]:
        """Each name and the text, as `text` gives it."""
        keep = keep and self._descriptors.left > 0
        held = self._tree.hold(node)
        for name in names:
            yield name, self.text(node, kept, name, keep=keep)
        if held:
            self._tree.release(node)

    def text(self, node: Node, kept: Kept, name: str, *, keep: bool = False) -> bytes | None:
        """The text of a file, None where there is none; from now on with `keep` it is kept open."""
        file = self._files[name]
        fd = kept.get(name, -1)
        try:
            if fd >= 0:
                text = os.pread(fd, file.size, 0)
                return _all(fd, text, file)
            if file.root < 0 <= node.fd:
                fd = os.open(name, READ, dir_fd=node.fd)
            else:
                fd = self._open(node, name)
            try:
                text = os.read(fd, file.size)
                return _all(fd, text, file)
            finally:
                if not (keep and self._keep(kept, name, fd)):
                    os.close(fd)
        except OSError as error:
            self._reader.failed(file.collector, error)
            self.give(kept, (name,))  # another hierarchy may have one of that path again
            return None

    def _keep(self, kept: Kept, name: str, fd: int) -> bool:
        """Whether a file is kept open from now on."""
        # On v1 a descriptor of cgroup.procs that is read again within a second gives the same
        # list again (cgroup_pidlist_start in kernel/cgroup/cgroup-v1.c).
        if name == PROCS or not self._descriptors.take(0 if name in HOT else _SPARE):
            return False
        kept[name] = fd
        return True

    def is_alive(self, node: Node) -> bool:
        """Whether cgroup.procs opens: a removed directory still lists, empty, but has no files."""
        try:
            os.close(self._tree.open(node, PROCS))
        except OSError as error:
            self._reader.failed("cgroups", error)
            return False
        return True

    def give(self, kept: Kept, names: Iterable[str]) -> None:
        """Close those of a cgroup's files that are kept open."""
        for name in names:
            if (fd := kept.pop(name, None)) is not None:
                os.close(fd)
                self._descriptors.give()

    def _open(self, node: Node, name: str) -> int:
        root = self._files[name].root
        if root < 0:
            return self._tree.open(node, name)
        return os.open(f".{node.path}/{name}", READ, dir_fd=root)


def _all(fd: int, text: bytes, file: _File) -> bytes:
    """All of a file of which `text` was read first."""
    if len(text) >= file.full:
        return whole(fd, text, file.full)
    return exact(text) if file.size == CHUNK else text


def size_of(name: str) -> int:
    """What is read of a file at first, in bytes: all of nearly all there are."""
    return CHUNK if name in LONG or name.endswith("numa_stat") else SHORT
