"""The counting: every kill once, whichever of the kernel's counters and log lines tell of it.

A kill shows in up to four places: the counter of the victim's cgroup, the hierarchical counters
of those above it (v2), the kernel log, and the host's total. None of them is complete: a cgroup
and its counter go together, the log is a ring whose fuller lines are rate-limited, the total
names nobody. So:

- A kill that the log places in a cgroup is counted there, and expected to show in its counter.
- A rise of a counter that no such kill explains is counted as kills without a name, for which
  the log may still tell the details.
- A rise of a hierarchical counter that nothing below explains is counted where it was seen, once
  a whole pass more has read every counter below it: until then what tells of a kill there tells
  of this one. If it was another, the next reading has one more.
- What the total has more, and has had for a second, is counted as unattributed.

Pure bookkeeping: nothing is read here, and times are passed in.
"""

from __future__ import annotations

from collections.abc import Set
from dataclasses import replace

from nsexporter.model import OomKill
from nsexporter.oom.entry import UNKNOWN, Entry, late
from nsexporter.oom.hierarchical import HierarchicalCounters, above
from nsexporter.oom.suspects import Line, Suspects
from nsexporter.oom.total import SETTLED, Total

_LATE = 60.0  # seconds for which a log line may still come to a kill that was counted


class Ledger:
    """Counts kills. Not for several threads at once."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.attributed = 0  # of this boot, also of entries that were dropped since
        self.unattributed = 0
        self.hierarchical = HierarchicalCounters()
        self.looked = False  # whether a pass has ended: what is found anew happened since
        self.unplaced: list[Line] = []  # whose cgroup is not known
        self.news: list[tuple[str | None, OomKill]] = []  # counted since the caller took them
        self.suspects = Suspects()
        self.unnamed: list[float] = []  # epoch; counted as unattributed
        self._total = Total()

    def kill(self, kill: OomKill, cgroup: str | None, *, sure: bool, now: float) -> None:
        """The log told of a kill; `sure` where it or the victim itself named the cgroup.

        Else the cgroup is the one in which the PID was last seen: that has to be confirmed by
        the cgroup's counter, or by the cgroup being gone.
        """
        if late(self.unnamed, kill):
            return
        if cgroup is None:
            self.unplaced.append(Line(now, kill))
            return
        entry = self.entries.setdefault(cgroup, Entry())
        if self._claim(cgroup, entry, kill, now):
            return
        if sure:
            entry.logged.append(now)
            self._attribute(cgroup, 1, now)
            self._book(cgroup, entry, kill)
        else:
            entry.held.append((now, kill))

    def count(self, cgroup: str, instance: int, value: int, at: float) -> int:
        """The counter of a cgroup was read at `at` (monotonic); how many kills that tells anew."""
        entry = self.entries.get(cgroup)
        if entry is None:
            if value == 0:
                return 0
            entry = self.entries[cgroup] = Entry()
        if instance != entry.instance:
            if at < entry.read:
                return 0  # read before its successor was
            entry.value = self._move(instance, entry)
            entry.instance = instance
        entry.gone, entry.read = None, max(entry.read, at)
        rise = value - entry.value
        if rise <= 0:
            return 0
        entry.value = value
        told = min(rise, len(entry.logged))
        del entry.logged[:told]
        for _ in range(rise - told):
            if not self._take_below(cgroup, at):
                self._attribute(cgroup, 1, at)
            entry.fresh += 1
        self._confirm(cgroup, entry, at)
        return rise - told

    def _move(self, instance: int, entry: Entry) -> int:
        """What a cgroup's counter told when it had another path, which v1 can change."""
        for other in self.entries.values():
            if other.instance == instance:
                entry.logged, other.logged = other.logged + entry.logged, []
                value, other.instance, other.value = other.value, 0, 0
                return value
        return 0

    def count_below(self, cgroup: str, instance: int, value: int, started: float) -> int:
        """A hierarchical counter, read in the pass that began at `started` (monotonic) before
        those below it were, which were counted already; how many kills it tells anew."""
        rise = self.hierarchical.rise(cgroup, instance, value, started)
        if rise:
            entry = self.entries.setdefault(cgroup, Entry())
            entry.below += [started] * rise
            self._attribute(cgroup, rise, started)
            self._confirm(cgroup, entry, started)
        return rise

    def settle(self, total: int | None, living: Set[str], started: float, epoch: float) -> None:
        """End of a pass that began at `started` (monotonic), when all that tells was read.

        `total` is the host's, read before all else; `living` the cgroups that were found.
        """
        for cgroup, entry in self.entries.items():
            self._close(cgroup, entry, cgroup in living, started, epoch)
        self._clear(started, epoch)
        self._place_by_suspects(total, started - SETTLED / 2, epoch)
        missing, when = self._missing(total, started)
        for cgroup in self.suspects.sure(when + SETTLED / 2):
            if missing and cgroup not in living:
                missing -= 1
                self.entries.setdefault(cgroup, Entry(gone=started)).fresh += 1
                self._attribute(cgroup, 1, started)
                del self.suspects[cgroup]
        self._name_fresh(started, epoch)
        self._give_up(missing, total is None, started, epoch)
        self.hierarchical.settle(living, started)
        self.looked = True

    def drop(self, before: float, most: int, living: Set[str]) -> None:
        """Forget the cgroups gone before a time (monotonic, so that no jump of the clock drops
        them), and the oldest of more than `most`.

        A container's counter must not fall while it is shown: what is forgotten of those below it
        goes to it, or where it is gone to who went last.
        """
        gone = sorted(
            (entry.gone, cgroup) for cgroup, entry in self.entries.items() if entry.gone is not None
        )
        heirs = {}
        for _, cgroup in gone:
            if (container := self.entries[cgroup].container) is not None:
                heirs[container.cgroup] = cgroup
        for number, (since, cgroup) in enumerate(gone):
            kept = self.entries[cgroup]
            old = since < before or not kept.kills or number < len(gone) - most
            if not old or kept.held:
                continue
            del self.entries[cgroup]
            if (container := kept.container) is not None:
                whose = container.cgroup
                heir = whose if whose in living else heirs[whose]
                if heir != cgroup:
                    self.entries.setdefault(heir, Entry()).add(kept)

    def _confirm(self, cgroup: str, entry: Entry, now: float) -> None:
        while entry.held and (entry.fresh or entry.below):
            self._take(entry, now)
            self._book(cgroup, entry, entry.held.pop(0)[1])

    def _take(self, entry: Entry, now: float) -> None:
        """One of the kills that were told without details has them."""
        if entry.fresh:
            entry.fresh -= 1
        else:
            entry.below.pop(0)
            entry.logged.append(now)  # its own counter has not shown it

    def _claim(self, cgroup: str, entry: Entry, kill: OomKill, now: float) -> bool:
        """Whether a kill is one that a counter, its own or one above it, told already."""
        if entry.fresh:
            self._take(entry, now)
            self._book(cgroup, entry, kill)
            return True
        if late(entry.unlogged, kill) or late(entry.unlogged_below, kill):
            if kill.time is not None and kill.time >= (entry.last.time or 0) - SETTLED:
                entry.last = kill
            return True
        if self._take_below(cgroup, now):
            entry.logged.append(now)
            self._book(cgroup, entry, kill)
            return True
        uppers = map(self.entries.get, above(cgroup))
        return any(upper is not None and late(upper.unlogged_below, kill) for upper in uppers)

    def _take_below(self, cgroup: str, now: float) -> bool:
        """Whether a kill in a cgroup is one that its hierarchical counter, or one above, told."""
        for path in (cgroup, *above(cgroup)):
            upper = self.entries.get(path)
            if upper is not None and upper.below:
                upper.below.pop(0)
                self.hierarchical.explain(cgroup, path, 1, now)
                return True
        return False

    def _attribute(self, cgroup: str, kills: int, now: float) -> None:
        if kills:
            self.attributed += kills
            self.hierarchical.explain(cgroup, None, kills, now)

    def _book(self, cgroup: str, entry: Entry, kill: OomKill) -> None:
        entry.kills[kill.constraint] = entry.kills.get(kill.constraint, 0) + 1
        if kill.time is not None or entry.last.time is None:
            entry.last = kill
        self.news.append((cgroup, kill))

    def _close(self, cgroup: str, entry: Entry, alive: bool, started: float, epoch: float) -> None:
        """Nothing more is to come for what was told before the pass began."""
        # A counter read in this pass has shown them, or they were of an earlier cgroup.
        entry.logged = [arrival for arrival in entry.logged if arrival >= started]
        for times in (entry.unlogged, entry.unlogged_below):
            times[:] = [time for time in times if time > epoch - _LATE]
        if alive:
            entry.gone = None
        elif entry.gone is None:
            # Told of by records from before the first pass: as old as they say.
            known = self.looked or entry.instance or entry.last.time is None
            entry.gone = started if known else started - max(0.0, epoch - (entry.last.time or 0))
        for arrival, kill in [one for one in entry.held if one[0] < started]:
            entry.held.remove((arrival, kill))
            if alive:
                self.unplaced.append(Line(arrival, kill))  # its counter says: not here
            elif not self._claim(cgroup, entry, kill, started):  # no counter above it told yet
                entry.logged.append(started)  # it may have come since the cgroups were listed
                self._attribute(cgroup, 1, started)
                self._book(cgroup, entry, kill)

    def _clear(self, started: float, epoch: float) -> None:
        """Forget suspects whose kill was told of otherwise, and those of long ago."""
        for cgroup, one in list(self.suspects.items()):
            entry = self.entries.get(cgroup, Entry())
            known = entry.last.time
            told = known is not None and known > epoch - (started - one.at) - 2 * SETTLED
            if told or entry.fresh or one.at < started - _LATE:
                del self.suspects[cgroup]

    def _place_by_suspects(self, total: int | None, until: float, epoch: float) -> None:
        """Place the lines that tell of more kills than the counters of living cgroups do."""
        surplus = len(self.unplaced) - sum(
            entry.fresh + len(entry.unlogged) + len(entry.unlogged_below)
            for entry in self.entries.values()
        )
        if total is not None:
            below = sum(len(entry.below) for entry in self.entries.values())
            surplus = min(surplus, total - self.attributed - self.unattributed + below)
        for (line, cgroup), _ in zip(
            list(self.suspects.pairs(self.unplaced, until)), range(surplus), strict=False
        ):
            self.unplaced.remove(line)
            del self.suspects[cgroup]
            entry = self.entries.setdefault(cgroup, Entry(gone=line.at))
            if not self._claim(cgroup, entry, line.kill, line.at):
                self._attribute(cgroup, 1, line.at)
                self._book(cgroup, entry, line.kill)

    def _missing(self, total: int | None, started: float) -> tuple[int, float]:
        """How many kills of the host's total, as it was a second ago, are not counted; when."""
        if total is None:
            return 0, started
        when, known = self._total.settled(total, started)
        return max(0, known - self.attributed - self.unattributed), when

    def _name_fresh(self, started: float, epoch: float) -> None:
        """Book what counters told and no line of the log was placed for.

        A line that nobody could place tells the details where there is but the one.
        """
        found = []
        for cgroup, entry in self.entries.items():
            # What was told of in this pass may be of a cgroup that it has not seen.
            due = sum(at < started or not self.looked for at in entry.below)
            if entry.fresh or due:
                found.append((cgroup, entry, due))
        single = sum(entry.fresh + due for _, entry, due in found) == len(self.unplaced) == 1
        constraints = {kill.constraint for _, kill in self.unplaced}
        for cgroup, entry, due in found:
            for number in range(entry.fresh + due):
                kill = replace(UNKNOWN, time=epoch if self.looked else None)
                times = entry.unlogged if number < entry.fresh else entry.unlogged_below
                if self.unplaced:
                    told = self.unplaced.pop(0).kill
                    if single:
                        kill = told
                    elif len(constraints) == 1:
                        kill = replace(kill, constraint=told.constraint)
                else:
                    times.append(epoch)
                self._book(cgroup, entry, kill)
            entry.fresh = 0
            del entry.below[:due]

    def _give_up(self, missing: int, no_total: bool, started: float, epoch: float) -> None:
        """Count as unattributed what nothing can place any more."""
        # Whatever the log held at the start is as old as what the total was then.
        old = [one for one in self.unplaced if one.at <= started - SETTLED or not self.looked]
        if no_total:
            missing = len(old)
        for number in range(missing):
            if number < len(old):
                self.news.append((None, old[number].kill))
                self.unplaced.remove(old[number])
            else:
                self.news.append((None, UNKNOWN))
                if self.looked:
                    self.unnamed.append(epoch)
        self.unattributed += missing
        self.unplaced = [one for one in self.unplaced if one.at > started - _LATE]
        self.unnamed = [time for time in self.unnamed if time > epoch - _LATE]
