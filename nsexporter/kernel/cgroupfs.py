"""Every cgroup of the hierarchy that carries memory: what is read of it, and when."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from nsexporter.kernel.discovery import Node, Tree
from nsexporter.kernel.files import CHUNK, FULL, KEPT_FILES, READ, Descriptors, Reader, line, whole
from nsexporter.kernel.interface_files import (
    HOT,
    PIDS_FILES,
    PROCS,
    REFRESH,
    V1_FILES,
    V2_FILES,
    WRITTEN,
)
from nsexporter.kernel.mounts import Hierarchies
from nsexporter.kernel.parse import text_of


@dataclass(frozen=True, slots=True)
class Found:
    """One cgroup as read: the path as text, the parent's index, file name to text.

    `key` is the directory's inode, which no other cgroup has while it lives, nor for long after;
    `directory` its descriptor (O_PATH), open until the next `read` at least, -1 where the budget
    of descriptors is spent. The same object as in the pass before where nothing has changed.
    """

    path: str
    parent: int
    files: dict[str, bytes]
    key: int
    directory: int


@dataclass(frozen=True, slots=True)
class _Plan:
    """Which files are read when, of all cgroups that have the same ones."""

    hot: tuple[str, ...]  # in every pass
    warm: tuple[str, ...]  # when a hot one has changed
    cold: tuple[str, ...]  # those, and what is read when inotify tells: all in turn


@dataclass(slots=True, eq=False)
class _Cgroup:
    """What was read of a cgroup so far."""

    node: Node
    above: _Cgroup | None
    turn: int  # the pass, modulo REFRESH, in which everything is read
    plan: _Plan
    path: str
    warm: tuple[str, ...]  # of the plan's those that it has
    texts: Sequence[bytes | None]  # of the plan's hot files, whole
    kept: dict[str, int] = field(default_factory=dict)  # file name to a descriptor
    passed: int = 0  # the pass that read it last
    index: int = -1  # in that pass
    files: dict[str, bytes] = field(default_factory=dict)
    found: Found | None = None


class CgroupTree:
    """The cgroups of one hierarchy, read by temperature.

    Every pass reads the hot files of every cgroup; where one of them has changed, the other
    files that the kernel counts in; where a file was written to, that file; and in turn, spread
    over REFRESH passes, everything. `exact` reads everything in every pass. Within the budget of
    descriptors the hot files are kept open, and those that were read as one of them changed.
    """

    def __init__(
        self,
        reader: Reader,
        hierarchies: Hierarchies,
        *,
        memory: bool = True,
        pids: bool = True,
        pressure: bool = True,
        numa: bool = False,
        hugetlb: tuple[str, ...] = (),
        exact: bool = False,
    ) -> None:
        if hierarchies.memory is None:
            raise FileNotFoundError("no cgroup hierarchy is mounted")
        self._reader = reader
        self._exact = exact or not memory  # without hot files nothing tells what has changed
        directories, self._descriptors = Descriptors.budgets()
        self._tree = Tree(reader, hierarchies.memory, directories)
        self._told = self._tree.told
        self._memory = hierarchies.memory
        self._roots: dict[str, int] = {}
        # File name to the collector it belongs to and, where that is another hierarchy, its root.
        self._files: dict[str, tuple[str, int]] = {PROCS: ("cgroups", -1)}
        if memory:
            names = V1_FILES if hierarchies.version == "v1" else V2_FILES
            self._files |= dict.fromkeys(names, ("memory", -1))
        # Below a root with use_hierarchy every cgroup has it (memory.rst): then nobody else's
        # needs reading.
        if memory and reader.read("memory", "memory.use_hierarchy", self._tree.root.fd) == b"0":
            self._files["memory.use_hierarchy"] = ("memory", -1)
        self._files.pop("memory.pressure", None)
        if pressure and hierarchies.unified is not None:
            self._files["memory.pressure"] = ("pressure", self._root(hierarchies.unified))
        if pids and hierarchies.pids is not None:
            self._files |= dict.fromkeys(PIDS_FILES, ("pids", self._root(hierarchies.pids)))
        if numa:
            self._files["memory.numa_stat"] = ("numa", -1)
        if hugetlb and hierarchies.hugetlb is not None:
            root = self._root(hierarchies.hugetlb)
            self._files |= dict.fromkeys(hugetlb, ("hugetlb", root))
        self._plans: dict[frozenset[str], _Plan] = {}
        self._cgroups: dict[Node, _Cgroup] = {}
        self._passes = self._made = 0

    def close(self) -> None:
        """Close every descriptor; the tree cannot be read any more."""
        for one in self._cgroups.values():
            self._close(one, [*one.kept])
        self._cgroups.clear()
        self._tree.close()
        for fd in self._roots.values():
            os.close(fd)
        self._roots.clear()

    def read(self) -> list[Found]:
        """Every cgroup, parents before children, each with what could be read of it.

        A cgroup that goes during the pass is left out, one that appears may be in or not.
        """
        self._passes += 1
        if self._tree.update():
            self._arrange()
        for _ in range(3):  # what replaced a cgroup that is gone is read at once
            gone = [
                one.node
                for one in self._cgroups.values()
                if one.passed != self._passes and not self._read(one)
            ]
            if not gone:
                break
            self._tree.drop(gone)
            self._arrange()
        result: list[Found] = []
        for one in self._cgroups.values():
            if one.passed == self._passes:
                one.index = len(result)
                parent = -1 if one.above is None else one.above.index
                if one.found is None or one.found.parent != parent:
                    node = one.node
                    one.found = Found(one.path, parent, one.files, node.inode, node.fd)
                result.append(one.found)
        return result

    def _arrange(self) -> None:
        """Follow the tree: forget what is gone, and plan the reading of what is new."""
        known = self._cgroups
        if self._told != self._tree.told:
            self._told = self._tree.told
            self._plans.clear()
        self._cgroups = {}
        for node in self._tree.nodes():
            plan = self._plans.get(node.files)
            if plan is None:
                plan = self._plans[node.files] = self._plan(node.files)
            one = known.get(node)
            if one is None or one.plan is not plan:
                above = None if node.parent is None else self._cgroups[node.parent]
                self._made += 1
                turn = self._made % REFRESH
                texts = (None,) * len(plan.hot)
                one = _Cgroup(node, above, turn, plan, text_of(node.path), plan.warm, texts)
            else:
                del known[node]
            self._cgroups[node] = one
        for gone in known.values():
            self._close(gone, [*gone.kept])

    def _plan(self, there: frozenset[str]) -> _Plan:
        names = [name for name, (_, root) in self._files.items() if root >= 0 or name in there]
        # Only the hierarchy of the memory controller is watched.
        written = {name for name in WRITTEN & there if self._files.get(name, ("", 0))[1] < 0}
        if self._exact:
            hot = frozenset(names)
        else:
            hot = HOT if self._tree.told else HOT | written | {PROCS}
        return _Plan(
            hot=tuple(name for name in names if name in hot),
            warm=tuple(name for name in names if name not in hot | written),
            cold=tuple(name for name in names if name not in hot),
        )

    def _read(self, one: _Cgroup) -> bool:
        """Bring one cgroup up to date; False where it is gone."""
        node, plan = one.node, one.plan
        changed: dict[str, bytes | None] = {}
        texts: Sequence[bytes | None]
        texts = _kept(one) or [self._text(one, name, keep=True) for name in plan.hot]
        there = any(text is not None for text in texts)
        if texts != one.texts:
            for name, text, before in zip(plan.hot, texts, one.texts, strict=True):
                if text != before:
                    changed[name] = text if text is None else line(text)
            one.texts = texts
        busy = bool(changed)
        turn = one.turn == self._passes % REFRESH
        names: Iterable[str]
        if turn or not one.passed:
            names = plan.cold
            if not busy:
                self._close(one, plan.warm)
        else:
            names = one.warm if busy else (PROCS,) if self._tree.moved else ()
            if node.written:
                names = node.written.intersection(plan.cold).union(names)
        node.written = frozenset()
        for name in names:
            text = self._text(one, name, keep=busy and names is one.warm)
            if text is not None:
                there = True
                text = line(text)
            if text != one.files.get(name):
                changed[name] = text
        # A threaded cgroup has no readable cgroup.procs; a gone one has nothing at all.
        if not there and not self._alive(node):
            return False
        if changed:
            merged = {**one.files, **changed}
            one.files = {name: text for name, text in merged.items() if text is not None}
            one.found = None
        if turn and one.passed:  # other hierarchies may have had it a little later
            one.warm = tuple(name for name in plan.warm if name in one.files or name == PROCS)
        one.passed = self._passes
        return True

    def _text(self, one: _Cgroup, name: str, *, keep: bool) -> bytes | None:
        """The text of a file, by its kept descriptor where there is one."""
        kept = one.kept.get(name)
        try:
            if kept is not None:
                return whole(kept, os.pread(kept, CHUNK, 0))
            fd = self._open(one.node, name)
            try:
                return whole(fd, os.read(fd, CHUNK))
            finally:
                # On v1 a descriptor of cgroup.procs that is read again within a second gives the
                # same list again (cgroup_pidlist_start in kernel/cgroup/cgroup-v1.c).
                keep = keep and name != PROCS
                # Some stay for hot files of cgroups to come.
                if keep and self._descriptors.take(0 if name in HOT else KEPT_FILES // 16):
                    one.kept[name] = fd
                else:
                    os.close(fd)
        except OSError as error:
            self._reader.failed(self._files[name][0], error)
            if kept is not None:  # another hierarchy may have one of that path again
                self._close(one, (name,))
            return None

    def _open(self, node: Node, name: str) -> int:
        root = self._files[name][1]
        if root < 0:
            return self._tree.open(node, name)
        return os.open(f".{node.path}/{name}", READ, dir_fd=root)

    def _alive(self, node: Node) -> bool:
        """Whether cgroup.procs opens: a removed directory still lists, empty, but has no files."""
        try:
            os.close(self._tree.open(node, PROCS))
        except OSError as error:
            self._reader.failed("cgroups", error)
            return False
        return True

    def _close(self, one: _Cgroup, names: Iterable[str]) -> None:
        for name in names:
            if (fd := one.kept.pop(name, None)) is not None:
                os.close(fd)
                self._descriptors.give()

    def _root(self, path: str) -> int:
        """The descriptor of another hierarchy's root; -1 where it is the one that is walked."""
        if path == self._memory:
            return -1
        if path not in self._roots:
            self._roots[path] = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._roots[path]


def _kept(one: _Cgroup) -> Sequence[bytes] | None:
    """The hot files of a cgroup, where all are kept open and short."""
    kept = one.kept
    try:
        texts = [os.pread(kept[name], CHUNK, 0) for name in one.plan.hot]
    except (KeyError, OSError):
        return None  # one by one tells which
    return texts if max(map(len, texts), default=0) < FULL else None
