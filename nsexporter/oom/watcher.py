"""Between passes: kills are attributed while their victims and cgroups can still be asked."""

from __future__ import annotations

import logging
import os
import select
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from nsexporter.containers.identity import identify
from nsexporter.kernel import cgroup_events
from nsexporter.kernel.cgroup_events import CgroupEvents
from nsexporter.kernel.files import Descriptors, Reader
from nsexporter.kernel.mounts import Hierarchies
from nsexporter.kernel.parse import ParseError, text_of
from nsexporter.model import Identity
from nsexporter.oom.feed import Feed

log = logging.getLogger("nsexporter.oom")

_OFTEN = 0.001  # seconds from being out of memory to the first look at the counter
_AT_MOST = 0.5  # seconds for which the counter is looked at
_TOGETHER = 0.05  # seconds in which the limit of a cgroup tells all those below it
_MANY = 64  # cgroups told together; a pass looks at all of them faster
_LOOKS = 1.0  # seconds between two passes that are asked for
_TWICE = 2  # of them after a kill: one that finds it, one that places what was told of it late
_CONTAINERS = frozenset({"container", "sandbox"})


@dataclass(slots=True)
class _Due:
    """A cgroup that is out of memory: when to look at its counter, how long to wait then."""

    since: float
    next: float
    delay: float
    own: bool  # its own limit, not that of one above it


class Watcher:
    """A thread that waits for the kernel log, cgroups' events and inotify, and feeds the ledger.

    `look` asks for a pass, `made` is told of the cgroup of a new container, `hierarchies` tells
    where the cgroups are.
    """

    def __init__(
        self,
        feed: Feed,
        look: Callable[[], None],
        made: Callable[[str, Identity], None],
        hierarchies: Callable[[], Hierarchies],
    ) -> None:
        self._feed = feed
        self._look = look
        self._made = made
        self._hierarchies = hierarchies
        self._v2 = False
        self._poll = select.epoll()
        self._stop = os.eventfd(0, os.EFD_CLOEXEC)
        self._poll.register(self._stop, select.EPOLLIN)
        if feed.kmsg is not None:
            self._poll.register(feed.kmsg, select.EPOLLIN)
        self._events: CgroupEvents | None = None
        self._due: dict[str, _Due] = {}
        self._told: dict[str, float] = {}  # when a cgroup was told to be out of memory
        self._looked = 0.0
        self._looks = 0  # passes that are still to be asked for
        self._thread = threading.Thread(target=self._run, name="oom", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread and close what it watched."""
        os.eventfd_write(self._stop, 1)
        self._thread.join(1)

    def _run(self) -> None:
        try:
            # A cgroup may live for some milliseconds only: come before passes and scrapes.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -10)
        except PermissionError as error:
            log.debug("OOM events are watched without priority: %s", error)
        self._listen()
        while True:
            ready = [fd for fd, _ in self._poll.poll(self._timeout())]
            if self._stop in ready:
                break
            try:
                self._turn(ready)
            except (OSError, ParseError) as error:
                log.error("OOM events are no longer watched: %s", error)
                break
        self._feed.sources["notifications"] = False
        if self._events is not None:
            self._events.close()
        self._poll.close()
        os.close(self._stop)

    def _listen(self) -> None:
        most = self._feed.settings.max_watches
        try:
            hierarchies = self._hierarchies()
            self._v2 = hierarchies.version == "v2"
            if not self._v2:  # an eventfd for each cgroup
                most = min(most, Descriptors.for_events())
            if most and hierarchies.memory is not None and hierarchies.version != "none":
                self._events = CgroupEvents(
                    Reader(), hierarchies.memory, self._poll, v2=self._v2, most=most
                )
                self._feed.sources["notifications"] = self._events.complete
        except (OSError, ParseError) as error:
            log.warning("cgroups are not watched between passes: %s", error)

    def _timeout(self) -> float | None:
        times = [one.next for one in self._due.values()]
        if self._looks:
            times.append(self._looked + _LOOKS)
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _turn(self, ready: list[int]) -> None:
        """One round: events first, since they have the PIDs that the log's lines may need."""
        told = 0
        if self._events is not None:
            self._feed.sources["notifications"] = self._events.complete
            told += self._take(self._events, ready)
            told += self._count_due(self._events)
        told += self._feed.poll()
        if told:
            self._feed.save()
            self._looks = _TWICE
        now = time.monotonic()
        if self._looks and now >= self._looked + _LOOKS:
            self._looks, self._looked = self._looks - 1, now
            self._look()

    def _take(self, events: CgroupEvents, ready: list[int]) -> int:
        now = time.monotonic()
        out_of_memory: dict[str, None] = {}
        for event in events.read(ready):
            if event.kind == cgroup_events.OUT_OF_MEMORY:
                out_of_memory[event.cgroup] = None
            elif event.kind == cgroup_events.ENTERED:
                self._remember(events, event.cgroup)
            elif event.kind == cgroup_events.MADE:
                self._remember(events, event.cgroup)
                identity = identify(cgroup := text_of(event.cgroup))
                if identity.kind in _CONTAINERS:
                    self._made(cgroup, identity)
                    self._looks = max(self._looks, 1)
            elif event.kind == cgroup_events.MISSED:
                self._feed.suspect(text_of(event.cgroup), sure=False)
            elif event.kind == cgroup_events.REMOVED:
                self._removed(event)
        if len(out_of_memory) > _MANY:
            self._looks = _TWICE
            return 0
        told = 0
        self._told = {c: at for c, at in self._told.items() if at > now - _TOGETHER}
        self._told |= dict.fromkeys(out_of_memory, now)
        for cgroup in out_of_memory:
            told += self._out_of_memory(events, cgroup, now)
        return told

    def _removed(self, event: cgroup_events.Event) -> None:
        """A cgroup is gone: what it was told of then, or before, may have been a kill."""
        due = self._due.pop(event.cgroup, None)
        # Of the events that come with it one is that of the removal itself, if it came yet.
        if due is not None or event.times:
            sure = (due is not None and due.own) or event.times > 1
            self._feed.suspect(text_of(event.cgroup), sure=sure)

    def _remember(self, events: CgroupEvents, cgroup: str) -> None:
        self._feed.remember(events.pids(cgroup), text_of(cgroup))

    def _out_of_memory(self, events: CgroupEvents, cgroup: str, now: float) -> int:
        """The notification comes before the kill: look who is there, and again at the counter."""
        due = self._due.get(cgroup)
        if due is None:
            due = _Due(now, now, _OFTEN, not self._v2 and not self._above_told(cgroup))
        elif self._v2:
            return 0  # events of memory.events come by the thousand: look in a while
        kills = events.kills(cgroup)
        if kills is None:
            self._due.pop(cgroup, None)
            self._feed.suspect(text_of(cgroup), sure=due.own)
            return 0
        self._remember(events, cgroup)
        due.since, due.delay = now, _OFTEN
        due.next = now + due.delay
        self._due[cgroup] = due
        return self._feed.count(text_of(cgroup), *kills)

    def _above_told(self, cgroup: str) -> bool:
        """Whether a cgroup above was told at the same time: then it may be that one's limit."""
        while (cut := cgroup.rfind("/")) >= 0:
            cgroup = cgroup[:cut]
            if cgroup in self._told:
                return True
        return False

    def _count_due(self, events: CgroupEvents) -> int:
        now = time.monotonic()
        told = 0
        for cgroup, due in list(self._due.items()):
            if due.next > now:
                continue
            kills = events.kills(cgroup)
            if kills is None:
                self._feed.suspect(text_of(cgroup), sure=due.own)
                del self._due[cgroup]
                continue
            rise = self._feed.count(text_of(cgroup), *kills)
            told += rise
            if rise or now > due.since + _AT_MOST:
                del self._due[cgroup]
            else:
                due.delay *= 2
                due.next = now + due.delay
        return told
