"""What tells of kills on this host, and the ledger that it is told to."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from operator import attrgetter
from pathlib import Path

from nsexporter.changed import EachRow
from nsexporter.config import Oom as Settings
from nsexporter.kernel import mounts
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader
from nsexporter.kernel.kmsg import Kmsg
from nsexporter.kernel.oom_report import Reports
from nsexporter.kernel.procfs import Procfs
from nsexporter.model import Cgroup, Container, OomKill, OomLedger
from nsexporter.oom import account
from nsexporter.oom.counters import counters
from nsexporter.oom.entry import Entry
from nsexporter.oom.ledger import Ledger
from nsexporter.oom.state import Kept, StateFile

log = logging.getLogger("nsexporter.oom")

_LINE_FOLLOWS = 0.02  # seconds in which the log has what a counter told


class Feed:
    """The ledger, fed by passes and, between them, by whoever calls `poll` and `count`.

    With `follow` each kill is told in the log, and the state is kept. For several threads at once.
    """

    def __init__(self, settings: Settings, procfs: Procfs, *, follow: bool) -> None:
        self.settings = settings
        self._follow = follow
        self.kmsg = _open_kmsg(settings.kmsg)
        self.sources = dict.fromkeys(("counters", "kmsg", "notifications", "vmstat"), False)
        self.sources["kmsg"] = self.kmsg is not None
        self._procfs = procfs
        self._lock = threading.RLock()
        self._state = StateFile(settings.state_file, procfs.boot_id())
        kept = self._state.load()
        self._ledger, self._sequence, self._until = kept or Kept(Ledger(), -1, 0.0)
        self._told = kept is not None  # what was before the start is told in one line
        self._reports = Reports()
        self._counters = EachRow(counters, attrgetter("key"))
        self._lost = 0
        # Processes and where they were seen: by the last pass, and since the one before it.
        self._pids: tuple[Mapping[int, int], Sequence[str]] = {}, ()
        self._recent: dict[int, str] = {}
        self._recent_before: dict[int, str] = {}
        self._reader = Reader()
        self._unified: str | None = None  # where cgroup v2 is, if it carries memory
        # Our cgroup namespace's root, None where it is not the host's and not known yet.
        self._namespace = None if procfs.in_foreign_cgroup_namespace() else "/"

    @property
    def state_file(self) -> Path | None:
        """Where the state is kept, if anywhere."""
        return self._state.path

    def close(self) -> None:
        """Write the state and close the kernel log."""
        self.save()
        if self.kmsg is not None:
            self.kmsg.close()

    def poll(self) -> int:
        """Take what the kernel log has; how many kills that told of."""
        told = 0
        with self._lock:
            if self.kmsg is None:
                return 0
            caught_up = self.kmsg.caught_up
            for record in self.kmsg.read():
                time_ = self.kmsg.epoch(record.microseconds)
                kill = self._reports.line(record.text, time_)
                if record.sequence <= self._sequence:
                    continue  # in the ledger already, from the state file
                self._sequence = record.sequence
                if record.microseconds / 1e6 <= self._until:
                    continue  # so is this, from counters and the total
                if kill is not None:
                    cgroup, sure = self._place(kill, now=caught_up)
                    self._ledger.kill(kill, cgroup, sure=sure, now=time.monotonic())
                    told += 1
            if self.kmsg.lost > self._lost:
                log.warning("records of the kernel log were overwritten before they were read")
                self._lost = self.kmsg.lost
        return told

    def count(self, cgroup: str, instance: int, value: int) -> int:
        """A cgroup's own counter was read; how many kills that told anew."""
        with self._lock:
            return self._ledger.count(cgroup, instance, value, time.monotonic())

    def suspect(self, cgroup: str, *, sure: bool) -> None:
        """A cgroup is gone, and its counter could not be read since it was out of memory.

        That was so for certain by its own limit (`sure`), or it is only possible.
        """
        with self._lock:
            self._ledger.suspects.add(cgroup, time.monotonic(), sure=sure)

    def remember(self, pids: Iterable[int], cgroup: str) -> None:
        """These processes were seen in a cgroup. Does not wait for a pass."""
        self._recent.update(dict.fromkeys(pids, cgroup))

    def look(
        self, found: Sequence[Found], total: int | None, started: float, unified: str | None = None
    ) -> None:
        """Take what a pass has read: `total` first of all, then the cgroups, parents first.

        `unified` is where they are, on v2.
        """
        with self._lock:
            self._unified = unified
            self.sources["vmstat"] = total is not None
            self.poll()
            self._count_all(found, started)
            deadline = time.monotonic() + _LINE_FOLLOWS
            while self.poll() or (self._pending() and self._wait(deadline)):
                pass
            self._place_again()
            living = {one.path for one in found}
            self._ledger.settle(total, living, started, time.time())
            self._ledger.drop(started - self.settings.retention, self.settings.max_gone, living)

    def unknown(self) -> list[str]:
        """The cgroups of kills that were gone before a pass saw whose they are."""
        with self._lock:
            return [
                cgroup
                for cgroup, entry in self._ledger.entries.items()
                if entry.gone is not None and not entry.known
            ]

    def publish(
        self,
        cgroups: Sequence[Cgroup],
        containers: Mapping[str, Container],
        pids: Mapping[int, int],
        wanted: Callable[[str], bool],
    ) -> OomLedger:
        """The ledger as a value, once it is known whose the cgroups are or were.

        `containers` has those of `cgroups` and `unknown` by the container's own cgroup, `pids`
        the index in `cgroups` of every process.
        """
        with self._lock:
            paths = [one.path for one in cgroups]
            self._pids = pids, paths
            self._find_namespace()
            self._recent_before, self._recent = self._recent, {}
            entries = self._ledger.entries
            if entries:
                index = {path: number for number, path in enumerate(paths)}
                for cgroup, entry in entries.items():
                    alive = index.get(cgroup)
                    self._identify(
                        cgroup, entry, None if alive is None else cgroups[alive], containers
                    )
            self._tell_news()
            self.save()
            return OomLedger(
                accounts=account.accounts(entries, wanted),
                unattributed=self._ledger.unattributed if any(self.sources.values()) else None,
                sources=dict(self.sources),
            )

    def save(self) -> None:
        """Keep the state, where it is kept."""
        with self._lock:
            if self._follow and self._ledger.looked:  # else what is old would look new
                until = self._until if self.kmsg is not None else time.monotonic()
                self._state.save(Kept(self._ledger, max(0, self._sequence), until))

    def _place(self, kill: OomKill, *, now: bool) -> tuple[str | None, bool]:
        """The cgroup of a kill's victim, and whether that is certain.

        A kill that is not of `now` has left its PID to others.
        """
        if kill.task_memcg is not None:
            return kill.task_memcg, True
        if kill.pid is not None and now:
            own = self._absolute(self._procfs.memory_cgroup(kill.pid))
            if own is not None:
                return self._charged(self._without_deleted(own)), True
            seen = self._seen(kill.pid)
            if seen is not None:
                return seen, False
        return kill.group, False

    def _absolute(self, cgroup: str | None) -> str | None:
        """The path of a cgroup that /proc tells relative to our cgroup namespace's root."""
        if cgroup is None or self._namespace == "/":
            return cgroup
        if self._namespace is None:
            return None
        absolute = os.path.normpath(f"{self._namespace}{cgroup}")
        return None if absolute == "/" else absolute  # v1: it exits

    def _find_namespace(self) -> None:
        """Our cgroup namespace's root, by where a pass found us."""
        pids, paths = self._pids
        if self._namespace is None and (index := pids.get(os.getpid())) is not None:
            inside = (self._procfs.memory_cgroup("self") or "").rstrip("/")
            if paths[index].endswith(inside):
                self._namespace = paths[index].removesuffix(inside)

    def _seen(self, pid: int) -> str | None:
        """The cgroup in which a process was seen last."""
        index, paths = self._pids
        cgroup = self._recent.get(pid) or self._recent_before.get(pid)
        if cgroup is None and pid in index:
            cgroup = paths[index[pid]]
        return None if cgroup is None else self._charged(cgroup)

    def _charged(self, cgroup: str) -> str:
        """The cgroup whose counter has the kill of a process in `cgroup`."""
        if self._unified is None:
            return cgroup
        return mounts.charged(self._reader, self._unified, cgroup)

    def _place_again(self) -> None:
        """Where a pass took a line of the log before the watcher had told of its PID."""
        unplaced, self._ledger.unplaced = self._ledger.unplaced, []
        for arrival, kill in unplaced:
            cgroup = None if kill.pid is None else self._seen(kill.pid)
            self._ledger.kill(kill, cgroup, sure=False, now=arrival)

    def _without_deleted(self, cgroup: str) -> str:
        """A removed cgroup's path without what v2 adds to it."""
        if cgroup in self._ledger.entries or cgroup in self._pids[1]:
            return cgroup
        return cgroup.removesuffix(" (deleted)")

    def _count_all(self, found: Sequence[Found], started: float) -> None:
        ledger, counters = self._ledger, self._counters(found)
        if not self.sources["counters"]:
            self.sources["counters"] = any(one.own is not None for one in counters)
        # Of a counter that is 0 the ledger has no use, where it knows of no kill there.
        own = [
            (one, told.own)
            for one, told in zip(found, counters, strict=True)
            if told.own or (told.own is not None and one.path in ledger.entries)
        ]
        for one, kills in own:
            ledger.count(one.path, one.key, kills, started)
        below = [
            (one, told.below)
            for one, told in zip(found, counters, strict=True)
            if told.below or (told.below is not None and one.path in ledger.hierarchical)
        ]
        for one, kills in reversed(below):  # children first
            ledger.count_below(one.path, one.key, kills, started)

    def _pending(self) -> bool:
        """Whether a counter told of a kill that the log will tell the details of."""
        return self.kmsg is not None and any(
            entry.fresh or entry.below for entry in self._ledger.entries.values()
        )

    def _wait(self, deadline: float) -> bool:
        left = deadline - time.monotonic()
        return left > 0 and self.kmsg is not None and self.kmsg.wait(left)

    def _identify(
        self,
        cgroup: str,
        entry: Entry,
        alive: Cgroup | None,
        containers: Mapping[str, Container],
    ) -> None:
        path = cgroup
        while path and path not in containers:
            path = path.rpartition("/")[0]
        if path:
            entry.container = containers[path]
        if alive is not None:
            entry.pod_name, entry.pod_namespace = alive.pod_name, alive.pod_namespace
        entry.known = True

    def _tell_news(self) -> None:
        news, self._ledger.news = self._ledger.news, []
        if self._follow:
            if self._told:
                account.tell(news, self._ledger.entries)
            else:
                account.tell_earlier(news)
            self._told = True


def _open_kmsg(path: str) -> Kmsg | None:
    if path == "none":
        return None
    try:
        return Kmsg(path)
    except OSError as error:  # whatever it is, the counters and notifications are left
        log.warning("OOM kills are counted without the kernel log: %s", error)
        return None
