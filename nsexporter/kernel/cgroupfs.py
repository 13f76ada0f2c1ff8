"""Every cgroup of the hierarchy that carries memory: what is read of it, and when."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nsexporter.kernel.arrangement import arranged
from nsexporter.kernel.cgroup import Cgroup, Found, Plan
from nsexporter.kernel.cgroup_files import CgroupFiles
from nsexporter.kernel.discovery import Node, Tree
from nsexporter.kernel.files import Descriptors, Reader, line
from nsexporter.kernel.interface_files import (
    KILLS,
    LONG,
    MEMSW_PEAK,
    MEMSW_USAGE,
    PEAK,
    PIDS_FILES,
    PROCS,
    REFRESH,
    ROUNDS,
    SHORT,
    USAGE,
    V1_FILES,
    V2_FILES,
    WRITTEN,
)
from nsexporter.kernel.kept import HotFiles, preads
from nsexporter.kernel.mounts import Hierarchies
from nsexporter.kernel.parse import text_of

_MEMBERS = frozenset({PROCS, "tasks", "cgroup.threads"})
_ALIKE = WRITTEN | KILLS
"""Files whose texts few cgroups have for themselves: settings, most often the kernel's own."""
_LEADING = frozenset({USAGE, PEAK})
_MOST_SHARED = 1000


class CgroupTree:
    """The cgroups of one hierarchy, read by temperature.

    Every pass reads the hot files of every cgroup; where one of them has changed, the other
    files that the kernel counts in; what somebody wrote to, or a kill has changed, then; and in
    turn, spread over REFRESH passes, everything. `exact` reads everything in every pass. Within
    the budget of descriptors the hot files are kept open, and those that were read as one of them
    changed.
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
        self._exact = exact or not memory  # without hot files nothing tells what has changed
        directories, descriptors = Descriptors.budgets()
        self._tree = Tree(reader, hierarchies.memory, directories)
        self._told = self._tree.told
        self._files = CgroupFiles(reader, self._tree, hierarchies, descriptors)
        self._files.add("cgroups", (PROCS,), hierarchies.memory)
        if memory:
            every = V1_FILES if hierarchies.version == "v1" else V2_FILES
            names = [name for name in every if name != "memory.pressure"]
            # Below a root with use_hierarchy every cgroup has it (memory.rst): then nobody else's
            # needs reading.
            if reader.read("memory", "memory.use_hierarchy", self._tree.root.fd) == b"0":
                names.append("memory.use_hierarchy")
            self._files.add("memory", names, hierarchies.memory)
        if pressure:
            self._files.add("pressure", ("memory.pressure",), hierarchies.unified)
        if pids:
            self._files.add("pids", PIDS_FILES, hierarchies.pids)
        if numa:
            self._files.add("numa", ("memory.numa_stat",), hierarchies.memory)
        self._files.add("hugetlb", hugetlb, hierarchies.hugetlb)
        self._plans: dict[frozenset[str], Plan] = {}
        self._cgroups: dict[Node, Cgroup] = {}
        self._passes = self._made = 0
        self._turns: list[list[Cgroup]] = []
        self._hot = HotFiles(self._files, self._take)
        self._rearranged = True  # which are shown may have changed
        self._changed: set[Cgroup] = set()  # in this pass
        self._found: list[Found] = []
        self._kills: int | None = None
        self._kills_due = 0  # passes in which the counters of kills are to be read
        self._shared: dict[bytes, bytes] = {}  # texts that many cgroups have
        self._swap = True
        self._waiting: set[Cgroup] = set()  # whose processes wait instead of being killed

    def close(self) -> None:
        """Close every descriptor; the tree cannot be read any more."""
        for one in self._cgroups.values():
            self._files.give(one.kept, [*one.kept])
        self._cgroups.clear()
        self._tree.close()
        self._files.close()

    def read(self, kills: int | None = None, *, swap: bool = True) -> list[Found]:
        """Every cgroup, parents before children, each with what could be read of it.

        A cgroup that goes during the pass is left out, one that appears may be in or not. `kills`
        is how many the host has counted, None where it does not tell: in a pass in which that is
        what it was in the last two, no cgroup's own counter of them is read. Without `swap`
        nothing is swapped out on the host.
        """
        self._passes += 1
        if self._tree.update():
            self._arrange()
        if kills is None or kills != self._kills:
            self._kills, self._kills_due = kills, 2  # the host's is counted a moment earlier
        if swap != self._swap:
            self._swap = swap
            for one in self._cgroups.values():
                one.see_what_can_change(swap=swap)
        new: list[Cgroup] = []
        gone = {*self._again(), *self._first(new)}  # those above are read before those below
        for _ in range(3):  # what replaced a cgroup that is gone is read at once
            if not gone:
                break
            self._tree.drop([one.node for one in gone])
            self._arrange()
            gone = {*self._first(new)}
        self._follow_moves(new)
        self._kills_due = max(0, self._kills_due - 1)
        return self._shown()

    def _arrange(self) -> None:
        """Follow the tree: forget what is gone, and plan the reading of what is new."""
        known = self._cgroups
        if len(self._shared) > _MOST_SHARED:
            self._shared.clear()
        if self._told != self._tree.told:
            self._told = self._tree.told
            self._plans.clear()
        self._cgroups = {}
        self._turns = [[] for _ in range(REFRESH)]
        for node in self._tree.nodes():
            plan = self._plans.get(node.files)
            if plan is None:
                plan = self._plans[node.files] = Plan.of(
                    self._files.names(node.files),
                    self._files.watched,
                    told=self._tree.told,
                    exact=self._exact,
                )
            one = known.get(node)
            if one is None or one.plan is not plan:
                self._made += 1
                index = -1 if one is None else one.index
                one = Cgroup(node, self._made % (REFRESH * ROUNDS), plan, text_of(node.path))
                one.index = index
            else:
                del known[node]
            one.above = None if node.parent is None else self._cgroups[node.parent]
            self._cgroups[node] = one
            self._turns[one.turn % REFRESH].append(one)
        for gone in known.values():
            self._files.give(gone.kept, [*gone.kept])
            self._waiting.discard(gone)
        self._hot.grouped, self._rearranged = False, True

    def _first(self, new: list[Cgroup]) -> list[Cgroup]:
        """Read those that are `new`, and get into that list; which of them are gone again."""
        gone = []
        for one in self._cgroups.values() if self._rearranged else ():
            if one.read:
                continue
            self._reread(one, one.plan.hot, keep=True)
            self._reread(one, (*one.plan.warm, *one.plan.cold, *one.plan.told))
            if not one.files and not self._files.is_alive(one.node):
                gone.append(one)
                continue
            one.read = True
            one.see_what_can_change(swap=self._swap)
            new.append(one)
            self._hot.grouped = False
        return gone

    def _again(self) -> list[Cgroup]:
        """Bring those up to date that were read before; which of them are gone."""
        if not self._hot.grouped:
            self._hot.group(self._cgroups.values())
        busy, doubtful = self._hot.read()
        gone = [one for one in doubtful if not self._files.is_alive(one.node)]
        busy.difference_update(gone)
        self._reread_busy(busy)
        turn = self._passes % (REFRESH * ROUNDS)
        for one in self._turns[turn % REFRESH]:
            if one.read and one not in gone:
                self._reread_in_turn(one, everything=one.turn == turn, busy=one in busy)
        for node, names in self._tree.written.items():
            written = self._cgroups.get(node)
            if written is not None and written.read and names & {*written.files} - _MEMBERS:
                # What was counted up to another limit, or was itself set to another value, too.
                self._reread(written, (*names.intersection(written.plan.told), *written.plan.warm))
                written.see_what_can_change(swap=self._swap)
        if self._kills_due or self._waiting:
            for one in self._cgroups.values():
                self._reread(one, KILLS.intersection(one.plan.told) if one.read else ())
        return gone

    def _reread_busy(self, busy: Iterable[Cgroup]) -> None:
        """Read the warm files of these, those that are kept open at one go."""
        kept = [
            (one, name, one.kept[name]) for one in busy for name in one.warm if name in one.kept
        ]
        for one in busy:
            self._reread(one, [name for name in one.warm if name not in one.kept], keep=True)
        texts = preads([descriptor for _, _, descriptor in kept], SHORT)
        for (one, name, _), text in zip(kept, texts, strict=True):
            if text is None or len(text) == SHORT:
                self._reread(one, (name,), keep=True)
            else:
                self._take(one, name, text)

    def _reread_in_turn(self, one: Cgroup, *, everything: bool, busy: bool) -> None:
        """Read what nothing told of, and keep none of it open where nothing happens."""
        if not busy:
            self._files.give(one.kept, one.plan.warm)
        warm = (*one.plan.warm, *one.plan.told) if everything else one.can_change()
        self._reread(one, (*one.plan.cold, *warm))
        if one.young or one in self._changed:
            one.young = False
            one.see_what_can_change(swap=self._swap)

    def _reread(self, one: Cgroup, names: Iterable[str], *, keep: bool = False) -> None:
        for name, text in self._files.texts(one.node, one.kept, names, keep=keep):
            self._take(one, name, text)

    def _take(self, one: Cgroup, name: str, text: bytes | None) -> bool:
        """Whether that text is another one than before."""
        place = one.plan.places[name]
        before = one.files.texts[place]
        if text is not None:
            if before == text[:-1]:
                return False
            if name not in LONG:
                text = line(text)
        if before == text:
            return False
        if one not in self._changed:
            self._changed.add(one)
            one.files = one.files.copy()  # the last pass's is not ours any more
        if text is not None and name in _ALIKE:
            text = self._shared.setdefault(text, text)
        one.files.texts[place] = text
        if name in _LEADING and not (self._swap or self._exact):
            self._follow(one, name)
        if name in KILLS:
            if text is not None and (b"_disable 1" in text or b"under_oom 1" in text):
                self._waiting.add(one)
            else:
                self._waiting.discard(one)
        return True

    def _follow(self, one: Cgroup, name: str) -> None:
        """Bring up to date what with swap is as without, where nothing is swapped out."""
        if name == PEAK:
            if MEMSW_PEAK in one.files and MEMSW_PEAK not in one.warm:
                self._reread(one, (MEMSW_PEAK,), keep=True)
        # lxcfs may tell of no swap where there is some.
        elif MEMSW_USAGE in one.files and b"total_swap 0\n" in (
            one.files.get("memory.stat") or b""
        ):
            places, texts = one.plan.places, one.files.texts
            texts[places[MEMSW_USAGE]] = texts[places[USAGE]]

    def _follow_moves(self, new: Sequence[Cgroup]) -> None:
        """Read cgroup.procs where processes came in, and where those were before."""
        moved = {pid for one in new for pid in one.members}
        nobody = False
        entered = set(new)
        for node, names in self._tree.written.items():
            one = self._cgroups.get(node)
            if one is None or not one.read or one in entered or _MEMBERS.isdisjoint(names):
                continue
            entered.add(one)
            before = one.members
            self._reread(one, (PROCS,))
            came = {*one.members}.difference(before)
            moved |= came
            nobody |= not came  # who came has ended or gone on: nothing tells where from
        if moved or nobody:
            for one in self._cgroups.values():
                known = one.read and one not in entered
                if known and (nobody or not moved.isdisjoint(one.members)):
                    self._reread(one, (PROCS,))

    def _shown(self) -> list[Found]:
        """All that were read; the same objects as before but for those that have changed."""
        if self._rearranged:
            shown: set[Cgroup] = set()
            for one in self._cgroups.values():
                if one.read and (one.above is None or one.above in shown):
                    shown.add(one)
                else:
                    one.index = -1
            every = [one for one in self._cgroups.values() if one in shown]
            found: list[Found] = []
            for one in arranged(every, len(self._found)):
                above = -1 if one.above is None else one.above.index
                if one.found is None or one in self._changed or one.found.parent != above:
                    one.found = _found(one, above)
                found.append(one.found)
            self._rearranged = len(found) < len(self._cgroups)
        else:
            found = [*self._found]
            for one in self._changed:
                one.found = found[one.index] = _found(one, found[one.index].parent)
        self._changed.clear()
        self._found = found
        return found


def _found(one: Cgroup, parent: int) -> Found:
    return Found(one.path, parent, one.files, one.node.inode, one.node.fd)
