"""Which cgroups there are: a tree kept up to date by inotify, or by walking it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from nsexporter.kernel import inotify
from nsexporter.kernel.files import READ, Descriptors, Reader

log = logging.getLogger(__name__)

_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_COME = inotify.IN_CREATE | inotify.IN_MOVED_TO
_GONE = inotify.IN_DELETE | inotify.IN_MOVED_FROM
_WATCHED = _COME | _GONE | inotify.IN_MODIFY | inotify.IN_ONLYDIR

WALK = 20
"""Passes between two walks that look for what inotify did not tell."""


_NOBODY = cast("dict[str, Any]", MappingProxyType({}))
"""The children of all that have none, as most have."""


@dataclass(slots=True, eq=False)
class Node:
    """A cgroup: its children by name, which files it has, and its directory kept open."""

    name: str  # bytes that are not UTF-8 as surrogates
    path: str  # likewise
    parent: Node | None
    inode: int
    fd: int = -1  # O_PATH; -1 where the budget of descriptors is spent
    watch: int = -1
    nlink: int = 0  # 0: to be listed anew
    gone: bool = False
    children: dict[str, Node] = field(default_factory=lambda: _NOBODY)
    files: frozenset[str] = frozenset()


class Tree:
    """The cgroups below one directory.

    inotify(7) tells which cgroups come and go and which of their files are written to. Where
    it is not to be had, after an overflow, and every so many passes, all directories are looked
    at: one of cgroupfs has 2 + its children as st_nlink, so only those are listed whose count
    changed, and the parents of cgroups that turn out to be gone (a replacement one for one
    leaves the count as it was, but a descriptor of the old one opens nothing any more).
    """

    def __init__(self, reader: Reader, root: str, descriptors: Descriptors) -> None:
        self._reader = reader
        self._descriptors = descriptors
        self._changed = True
        self._passes = 0
        self.written: dict[
            Node, frozenset[str]
        ] = {}  # files that somebody wrote to, in the last update
        self._new: list[Node] = []
        self._names: dict[frozenset[str], frozenset[str]] = {}
        self._watched: dict[int, Node] = {}
        self._inotify = inotify.instance("cgroups are walked in every pass")
        self.root = Node("", "/", None, os.stat(root).st_ino, os.open(root, _DIRECTORY))
        self._watch(self.root, self.root.fd)
        self._descriptors.take()

    @property
    def told(self) -> bool:
        """Whether writes to the files are told."""
        return self._inotify is not None

    def close(self) -> None:
        """Close every descriptor; the tree cannot be used any more."""
        self._forget(self.root)
        self._stop_watching()

    def update(self) -> bool:
        """Look what came and went; whether something did since the last call."""
        self.written = {}
        turn = self._passes % WALK == 0
        lost = False
        self._passes += 1
        for event in self._inotify.read() if self._inotify is not None else ():
            if event.mask & inotify.IN_Q_OVERFLOW:
                lost = True
            elif (node := self._watched.get(event.wd)) is not None:
                self._event(node, event)
        if lost or turn or self._inotify is None:
            for node in self.nodes():
                # A rename leaves the link counts as they are: only a listing shows it.
                if lost or (turn and self._inotify is None):
                    node.nlink = 0
                if lost:
                    self.written[node] = node.files
                self._look(node)
        self._explore()
        changed, self._changed = self._changed, False
        return changed

    def nodes(self) -> Iterator[Node]:
        """Every cgroup, parents before children; the tree may change meanwhile."""
        stack = [self.root]
        while stack:
            node = stack.pop()
            if not node.gone:
                yield node
                stack.extend(reversed(node.children.values()))

    def drop(self, nodes: Iterable[Node]) -> None:
        """Forget cgroups that turned out to be gone, and look what is in their places."""
        for node in nodes:
            above = node.parent
            if above is None:
                raise FileNotFoundError("the root of the memory hierarchy is gone (remounted?)")
            if not node.gone:
                del above.children[node.name]
                self._forget(node)
            if not above.gone:
                self._list(above, 0)
        self._explore()

    def open(self, node: Node, name: str, flags: int = READ) -> int:
        """Open a file or a directory of a cgroup. OSError."""
        if node.fd >= 0:
            return os.open(name, flags, dir_fd=node.fd)
        names = []
        above = node
        while above.fd < 0 and above.parent is not None:
            names.append(above.name)
            above = above.parent
        with ExitStack() as stack:
            directory = above.fd
            for step in reversed(names):
                directory = os.open(step, _DIRECTORY, dir_fd=directory)
                stack.callback(os.close, directory)
            return os.open(name, flags, dir_fd=directory)

    def hold(self, node: Node) -> bool:
        """Whether a directory beyond the budget is open from now on, until it is released."""
        if node.fd >= 0:
            return False
        try:
            node.fd = self.open(node, ".", _DIRECTORY)
        except OSError as error:
            self._reader.failed("cgroups", error)
        return node.fd >= 0

    def release(self, node: Node) -> None:
        """Close one that was held."""
        os.close(node.fd)
        node.fd = -1

    def _event(self, node: Node, event: inotify.Event) -> None:
        name = os.fsdecode(event.name)
        if not event.mask & inotify.IN_ISDIR:
            self.written[node] = self.written.get(node, frozenset()) | {name}
            if name == "cgroup.subtree_control":  # gives the children files, or takes them
                for child in list(node.children.values()):
                    self._list(child, 0)
        elif event.mask & _COME:
            if name not in node.children:
                self._add(node, name)
        elif event.mask & _GONE and name in node.children:
            self._forget(node.children.pop(name))

    def _explore(self) -> None:
        """List what is new, and what is new below it, at any depth."""
        while self._new:
            node = self._new.pop()
            if not node.gone:
                self._look(node)

    def _look(self, node: Node) -> None:
        """List the directory where its link count is not what it was."""
        try:
            nlink = os.stat(node.fd).st_nlink if node.fd >= 0 else 0
        except OSError as error:
            self._reader.failed("cgroups", error)
            return
        # Not every file system counts subdirectories as links: below 2 the count means nothing.
        if nlink != node.nlink or nlink < 2:
            self._list(node, nlink)

    def _list(self, node: Node, nlink: int) -> None:
        """Bring a node's children and files up to date."""
        files: set[str] = set()
        directories: set[str] = set()
        try:
            fd = self.open(node, ".", READ | os.O_DIRECTORY)
            try:
                with os.scandir(fd) as entries:
                    for entry in entries:
                        kind = directories if entry.is_dir(follow_symlinks=False) else files
                        kind.add(entry.name)
            finally:
                os.close(fd)
        except OSError as error:
            self._reader.failed("cgroups", error)
            return
        node.nlink = nlink
        if files != node.files:
            # One object for all cgroups that have the same files, which is most of them.
            shared = frozenset(files)
            node.files = self._names.setdefault(shared, shared)
            self._changed = True
        for name in node.children.keys() - directories:
            self._forget(node.children.pop(name))
        for name in sorted(directories - node.children.keys()):
            self._add(node, name)

    def _add(self, above: Node, name: str) -> None:
        """A child, watched before it is listed: what comes in between is told or listed."""
        try:
            fd = self.open(above, name, _DIRECTORY)
        except OSError as error:
            self._reader.failed("cgroups", error)
            return
        path = f"{above.path.rstrip('/')}/{name}"
        node = Node(name, path, above, os.stat(fd).st_ino)
        self._watch(node, fd)
        if self._descriptors.take():
            node.fd = fd
        else:
            os.close(fd)
        above.children = above.children or {}
        above.children[name] = node
        self._new.append(node)
        self._changed = True

    def _watch(self, node: Node, fd: int) -> None:
        if self._inotify is None:
            return
        try:
            node.watch = self._inotify.add(b"/proc/self/fd/%d" % fd, _WATCHED)
        except FileNotFoundError:
            return  # gone meanwhile, or no /proc: the walk finds out
        except OSError as error:
            log.info("cgroups are walked in every pass, not watched: %s", error)
            self._stop_watching()
            return
        self._watched[node.watch] = node

    def _stop_watching(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._watched.clear()

    def _forget(self, node: Node) -> None:
        """Close a subtree. A removed directory keeps its watch until that is removed."""
        self._changed = True
        stack = [node]
        while stack:
            gone = stack.pop()
            gone.gone = True
            if self._inotify is not None and self._watched.pop(gone.watch, None) is gone:
                self._inotify.remove(gone.watch)
            if gone.fd >= 0:
                os.close(gone.fd)
                gone.fd = -1
                self._descriptors.give()
            stack.extend(gone.children.values())
