"""The loop that makes passes, and what it publishes."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from nsexporter.collector import Collector
from nsexporter.model import Snapshot

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """The last pass that ended well, and when (monotonic seconds)."""

    snapshot: Snapshot
    at: float
    number: int


class Loop:
    """Makes a pass every interval, and at once for whoever finds the last one too old."""

    def __init__(self, collector: Collector) -> None:
        self._collector = collector
        self._condition = threading.Condition()
        self._wanted = False  # a pass that begins from now on
        self._under_way = False
        self._stopping = False
        self._retired: list[Collector] = []
        self._ended = 0  # the number of the newest pass that ended, well or not
        self._failed = False
        self._published: Published | None = None
        self._thread = threading.Thread(target=self._run, name="collector", daemon=True)

    @property
    def published(self) -> Published | None:
        """The last pass that ended well."""
        return self._published

    @property
    def healthy(self) -> bool:
        """Whether the newest pass ended well."""
        return self._published is not None and not self._failed

    @property
    def alive(self) -> bool:
        """Whether passes are being made, however long the one under way takes."""
        return self._thread.is_alive()

    def once(self) -> Published | None:
        """One pass, here and now; None where it failed."""
        self._pass(self._collector)
        return self._published

    def start(self) -> None:
        """Make the first pass and go on."""
        self._thread.start()

    def stop(self, timeout: float) -> None:
        """End after the pass under way, or after `timeout` seconds."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(timeout)

    def reload(self, collector: Collector) -> None:
        """Make the next passes with another collector."""
        with self._condition:
            self._retired.append(self._collector)
            self._collector = collector
            self._wanted = True
            self._condition.notify_all()

    def look(self) -> None:
        """Make a pass soon, without waiting for it."""
        with self._condition:
            self._wanted = True
            self._condition.notify_all()

    def fresh(self, max_age: float, budget: float | None) -> Published | None:
        """A pass no older than `max_age` seconds, one pass for all who wait.

        Where it does not end within `budget` seconds, or fails: the last one, or None.
        """
        deadline = None if budget is None else time.monotonic() + budget
        with self._condition:
            last = self._published
            if last is not None and time.monotonic() - last.at <= max_age:
                return last
            # A pass that began before this call will do too, when it ends after.
            if not self._under_way:
                self._wanted = True
                self._condition.notify_all()
            target = self._ended + 1
            while self._ended < target and not self._stopping:
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    break
                self._condition.wait(left)
            return self._published

    def _run(self) -> None:
        while True:
            with self._condition:
                stopping, collector = self._stopping, self._collector
                self._wanted, self._under_way = False, not stopping
                retired, self._retired = self._retired, []
            for old in retired:
                old.close()
            if stopping:
                collector.close()
                return
            self._pass(collector)
            with self._condition:
                self._ended += 1
                self._under_way = False
                self._condition.notify_all()
                if not self._wanted and not self._stopping:
                    self._condition.wait_for(
                        lambda: self._wanted or self._stopping,
                        collector.config.collection.interval,
                    )

    def _pass(self, collector: Collector) -> None:
        try:
            snapshot = collector.collect()
        except Exception:  # a bug: say so, keep the last exposition, and go on
            if not self._failed:
                log.exception("the pass failed")
            self._failed = True
            return
        self._failed = False
        self._published = Published(snapshot, time.monotonic(), self._ended + 1)
