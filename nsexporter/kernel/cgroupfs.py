"""Every cgroup of the hierarchy that carries memory: find, keep, read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field

from nsexporter.kernel.files import Reader
from nsexporter.kernel.mounts import Hierarchies
from nsexporter.kernel.parse import text_of

V1_FILES = (
    "memory.usage_in_bytes",
    "memory.stat",
    "memory.limit_in_bytes",
    "memory.max_usage_in_bytes",
    "memory.failcnt",
    "memory.soft_limit_in_bytes",
    "memory.oom_control",
    "memory.kmem.usage_in_bytes",
    "memory.kmem.failcnt",
    "memory.kmem.tcp.usage_in_bytes",
    "memory.kmem.tcp.failcnt",
    "memory.kmem.tcp.limit_in_bytes",
    "memory.memsw.usage_in_bytes",
    "memory.memsw.limit_in_bytes",
    "memory.memsw.max_usage_in_bytes",
    "memory.memsw.failcnt",
    "memory.swappiness",
)
V2_FILES = (
    "memory.current",
    "memory.stat",
    "memory.max",
    "memory.high",
    "memory.low",
    "memory.min",
    "memory.peak",
    "memory.events",
    "memory.events.local",
    "memory.oom.group",
    "memory.swap.current",
    "memory.swap.max",
    "memory.swap.peak",
    "memory.swap.events",
    "memory.pressure",
    "cgroup.stat",
)
PIDS_FILES = ("pids.current", "pids.max", "pids.events")

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(slots=True, eq=False)
class _Node:
    """A known cgroup: its descriptor, its children by name, and which of our files it has."""

    path: str  # bytes that are not UTF-8 as surrogates
    fd: int
    text: str
    children: dict[str, _Node] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    subtree_control: bytes | None = None
    nlink: int = 0  # 0: never listed


@dataclass(frozen=True, slots=True)
class Found:
    """One cgroup as read: the path as text, the parent's index, file name to text.

    `key` is the directory's inode, which no other cgroup has while it lives, nor for long after;
    `directory` its descriptor (O_PATH), open until the next `read` at least.
    """

    path: str
    parent: int
    files: dict[str, bytes]
    procs: bytes | None
    key: int
    directory: int


class CgroupTree:
    """The cgroups of one hierarchy, kept between passes by their directory descriptors.

    A directory of cgroupfs has 2 + its children as st_nlink, so a pass lists only directories
    whose link count changed, and the parents of cgroups that went (a replacement one for one
    leaves the count as it was, but a kept descriptor of the old one opens nothing any more).
    """

    def __init__(
        self,
        reader: Reader,
        hierarchies: Hierarchies,
        *,
        memory: bool = True,
        pids: bool = True,
        pressure: bool = True,
    ) -> None:
        if hierarchies.memory is None:
            raise FileNotFoundError("no cgroup hierarchy is mounted")
        self._reader = reader
        self._v2 = hierarchies.version != "v1"
        wanted: tuple[str, ...] = (V2_FILES if self._v2 else V1_FILES) if memory else ()
        if not pressure:
            wanted = tuple(name for name in wanted if name != "memory.pressure")
        self._wanted = frozenset(wanted)
        self._order = wanted
        # Files of the same cgroup in another hierarchy: pids on v1, pressure on hybrid hosts.
        self._beside: list[tuple[int, str, tuple[str, ...]]] = []
        self._root = _Node("/", os.open(hierarchies.memory, _DIRECTORY), "/")
        # Below a root with use_hierarchy every cgroup has it (memory.rst): then nobody else's
        # needs reading.
        flag = "memory.use_hierarchy"
        if memory and not self._v2 and reader.read("memory", flag, self._root.fd) == b"0":
            self._order += (flag,)
            self._wanted |= {flag}
        if pids and hierarchies.pids == hierarchies.memory:
            self._wanted |= frozenset(PIDS_FILES)
            self._order += PIDS_FILES
        elif pids and hierarchies.pids is not None:
            self._beside.append((os.open(hierarchies.pids, _DIRECTORY), "pids", PIDS_FILES))
        if pressure and hierarchies.unified not in (None, hierarchies.memory):
            assert hierarchies.unified is not None
            fd = os.open(hierarchies.unified, _DIRECTORY)
            self._beside.append((fd, "pressure", ("memory.pressure",)))

    def close(self) -> None:
        """Close every descriptor; the tree cannot be read any more."""
        self._forget(self._root)
        for fd, _, _ in self._beside:
            os.close(fd)
        self._beside.clear()

    def read(self) -> list[Found]:
        """Every cgroup, parents before children, each with what could be read of it.

        A cgroup that goes during the pass is left out, one that appears may be in or not.
        """
        found: list[Found] = []
        stack: list[tuple[_Node, _Node | None, int]] = [(self._root, None, -1)]
        while stack:
            node, above, parent = stack.pop()
            if node.fd < 0:
                continue  # forgotten since, when a sibling turned out to be gone
            if self._read(node, parent, found):
                index = len(found) - 1
                if self._v2 and node.children:
                    self._controllers(node)
                stack.extend((child, node, index) for child in reversed(node.children.values()))
            elif above is None:
                raise FileNotFoundError("the root of the memory hierarchy is gone (remounted?)")
            else:
                stack.extend((child, above, parent) for child in self._replace(above, node))
        return found

    def _read(self, node: _Node, parent: int, found: list[Found]) -> bool:
        """Append what is read of `node`; False where the cgroup is gone."""
        reader, fd = self._reader, node.fd
        try:
            status = os.fstat(fd)
        except OSError as error:
            reader.failed("cgroups", error)
            return False
        nlink = status.st_nlink
        # Not every file system counts subdirectories as links: below 2 the count means nothing.
        if (nlink != node.nlink or nlink < 2) and not self._list(node, nlink):
            return False
        procs = reader.read_all("cgroups", "cgroup.procs", fd)
        files: dict[str, bytes] = {}
        for name in node.files:
            text = reader.read("memory", name, fd)
            if text is not None:
                files[name] = text
        # A threaded cgroup has no readable cgroup.procs; a gone one has nothing at all.
        if procs is None and not files and not self._alive(node):
            return False
        for beside, collector, names in self._beside:
            prefix = node.path[1:] + "/" if node is not self._root else ""
            for name in names:
                text = reader.read(collector, prefix + name, beside)
                if text is not None:
                    files[name] = text
                elif name == names[0] and node is not self._root:
                    break  # no such cgroup in that hierarchy (the root lacks pids.current only)
        found.append(Found(node.text, parent, files, procs, status.st_ino, fd))
        return True

    def _replace(self, parent: _Node, gone: _Node) -> list[_Node]:
        """Forget a child that is gone; the children that came since the last listing."""
        known = set(parent.children.values()) - {gone}
        for name, child in list(parent.children.items()):
            if child is gone:
                self._forget(parent.children.pop(name))
        self._list(parent, 0)
        return [child for child in parent.children.values() if child not in known]

    def _controllers(self, node: _Node) -> None:
        """A controller enabled below `node` gives its children files they had not before."""
        control = self._reader.read("cgroups", "cgroup.subtree_control", node.fd)
        if control != node.subtree_control:
            if node.subtree_control is not None:
                for child in node.children.values():
                    child.nlink = 0
            node.subtree_control = control

    def _alive(self, node: _Node) -> bool:
        """Whether cgroup.procs opens: a removed directory still lists, empty, but has no files."""
        try:
            os.close(os.open("cgroup.procs", os.O_RDONLY | os.O_CLOEXEC, dir_fd=node.fd))
        except OSError as error:
            self._reader.failed("cgroups", error)
            return False
        return True

    def _list(self, node: _Node, nlink: int) -> bool:
        """Bring a node's children and files up to date; False where it cannot be listed."""
        try:
            fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=node.fd)
        except OSError as error:
            self._reader.failed("cgroups", error)
            return False
        names, directories = set(), []
        try:
            with os.scandir(fd) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.name)
                    elif entry.name in self._wanted:
                        names.add(entry.name)
        except OSError as error:
            self._reader.failed("cgroups", error)
            return False
        finally:
            os.close(fd)
        node.files = tuple(name for name in self._order if name in names)
        node.nlink = nlink
        for name in node.children.keys() - set(directories):
            self._forget(node.children.pop(name))
        for name in sorted(directories):
            if name not in node.children:
                self._add(node, name)
        return True

    def _add(self, node: _Node, name: str) -> None:
        try:
            fd = os.open(name, _DIRECTORY, dir_fd=node.fd)
        except OSError as error:
            self._reader.failed("cgroups", error)
            return
        path = f"{node.path.rstrip('/')}/{name}"
        node.children[name] = _Node(path, fd, text_of(path))

    def _forget(self, node: _Node) -> None:
        for gone in _subtree(node):
            os.close(gone.fd)
            gone.fd = -1


def _subtree(node: _Node) -> Iterator[_Node]:
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(current.children.values())
