"""What runtimes tell of containers, looked up once each and again only when it changes."""

from __future__ import annotations

import fnmatch
import logging
import math
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from nsexporter.containers.changes import Changes
from nsexporter.containers.source import Metadata, Source
from nsexporter.containers.state import StateFiles
from nsexporter.model import Identity

log = logging.getLogger(__name__)

_FIRST_RETRY = 1.0  # seconds
_LAST_RETRY = 300.0
_EARLY = 60.0  # seconds for which is kept what was asked for ahead of any pass
_HUNG = 5.0  # seconds after which a source is not waited for any more: a dead file system
_LONGEST = 1024  # characters; users write some of it, and a name is on every sample of a container
_TEXTS = ("runtime", "name", "image", "image_id", "pod_name", "pod_namespace", "pod_uid")
_UNWATCHED = 60.0  # seconds after which is asked again where no file can show a change


class _Answer(NamedTuple):
    """What the sources told of a container, and when (on the clock)."""

    path: str
    identity: Identity
    metadata: Metadata | None
    failed: bool
    at: float


@dataclass(slots=True)
class _Known:
    """What is known of one container, and when to ask again."""

    identity: Identity
    metadata: Metadata | None = None
    retry: float = math.inf  # on the clock; never while a source has told and nothing changed
    delay: float = _FIRST_RETRY


class MetadataCache:
    """Metadata of containers by cgroup path.

    Sources are asked in a thread of their own, so that one that hangs costs a pass the timeout
    at most; what comes later is there for the next pass. One that does not come back at all is left
    to its thread, and not asked until it does. `errors` counts failures by source, `denied` has the
    sources whose state may not be read.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        files: StateFiles,
        *,
        timeout: float,
        allow: Sequence[str],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.errors: Counter[str] = Counter({source.name: 0 for source in sources})
        self.denied: set[str] = set()
        self._sources = sources
        self._changes = Changes(files)
        self._timeout = timeout
        self._allow = re.compile("|".join(map(fnmatch.translate, allow)) or r"(?!)")
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._condition = threading.Condition()
        self._asked: dict[str, Identity] = {}
        self._answers: list[_Answer] = []
        self._thread: threading.Thread | None = None
        self._asking: dict[threading.Thread, tuple[str, float]] = {}  # which source, since when
        self._hung: dict[threading.Thread, str] = {}  # and those that were given up

    def close(self) -> None:
        """Watch no state file any more."""
        self._changes.close()

    def ahead(self, path: str, identity: Identity) -> None:
        """Have the sources asked of a container that was just made, without waiting for that.

        It may be gone, and with it what its runtime tells, before a pass sees it. For any thread.
        """
        with self._condition:
            if path not in self._asked and self._working():
                self._asked[path] = identity

    def update(self, containers: Mapping[str, Identity]) -> Mapping[str, Metadata]:
        """Cgroup path to what is known of each of `containers`, within the timeout."""
        known = self._known
        for gone in known.keys() - containers.keys():
            del known[gone]
            self._changes.follow(gone, {})
        now, changed = self._clock(), self._changes.users()
        due = {}
        for path, identity in containers.items():
            one = known.get(path)
            if one is None or (one.identity is not identity and one.identity != identity):
                known[path] = _Known(identity)
            elif one.retry > now and path not in changed:
                continue
            due[path] = identity
        self._give_up()
        if due:
            self._ask(due)
        self._take()
        return {path: one.metadata for path, one in known.items() if one.metadata is not None}

    def _ask(self, due: Mapping[str, Identity]) -> None:
        """Have the sources asked, and wait for all answers, or until the timeout."""
        with self._condition:
            new = {path: one for path, one in due.items() if path not in self._asked}
            if not new:
                return
            if not self._working():
                for path in new:
                    del self._known[path]
                return
            self._asked.update(new)
            self._condition.wait_for(lambda: not self._asked, self._timeout)

    def _working(self) -> bool:
        """Whether the sources are asked, for which a thread is started where there is none.

        It waits for the condition, which the caller has.
        """
        if self._thread is None:
            thread = threading.Thread(target=self._work, name="metadata", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:  # fork(2): EAGAIN or ENOMEM
                log.warning("metadata is asked for in the next pass: %s", error)
                return False
            self._thread = thread
        return True

    def _give_up(self) -> None:
        """Go on without a source that hangs, with another thread."""
        with self._condition:
            thread = self._thread
            if thread is None or thread not in self._asking:
                return
            name, since = self._asking[thread]
            if self._clock() - since < _HUNG:
                return
            log.warning("metadata source %s hangs: it is left alone until it answers", name)
            self.errors[name] += 1
            self._hung[thread] = name
            self._thread = None
            path = next(iter(self._asked))
            identity = self._asked.pop(path)
            self._answers.append(_Answer(path, identity, None, True, self._clock()))
            if self._asked:
                self._working()

    def _work(self) -> None:
        """Ask for each container, then end; what was given up meanwhile is no answer."""
        thread = threading.current_thread()
        while True:
            with self._condition:
                if not self._asked:
                    self._thread = None
                    return
                path, identity = next(iter(self._asked.items()))
            metadata, failed = self._lookup(identity)
            with self._condition:
                self._asking.pop(thread, None)
                if self._hung.pop(thread, None) is not None:
                    return
                self._answers.append(_Answer(path, identity, metadata, failed, self._clock()))
                del self._asked[path]
                self._condition.notify_all()

    def _lookup(self, identity: Identity) -> tuple[Metadata | None, bool]:
        """The first answer of a source, and whether one before it failed."""
        failed = False
        for source in self._sources:
            if identity.runtime is not None and identity.runtime not in source.runtimes:
                continue
            if source.name in self._hung.values():
                failed = True
                continue
            self._asking[threading.current_thread()] = source.name, self._clock()
            try:
                metadata = source.lookup(identity)
            except Exception as error:  # users write some of it: what it does to us is not foreseen
                self._failed(source, error)
                failed |= not isinstance(error, PermissionError)
                continue
            if metadata is None:
                continue
            if metadata.problem is not None:
                self._failed(source, metadata.problem)
                return metadata, True
            self.denied.discard(source.name)
            return metadata, failed
        return None, failed

    def _failed(self, source: Source, error: Exception) -> None:
        """Log a source's first failure, and count all; what may not be read is no failure."""
        if isinstance(error, PermissionError):
            if source.name not in self.denied:
                log.warning("the state of %s may not be read: %s", source.name, error)
            self.denied.add(source.name)
            return
        self.errors[source.name] += 1
        if self.errors[source.name] == 1:
            bug = not isinstance(error, OSError | ValueError)
            log.warning("metadata source %s failed: %s", source.name, error, exc_info=bug)

    def _take(self) -> None:
        """Keep the answers that have come."""
        with self._condition:
            answers, self._answers = self._answers, []
        now = self._clock()
        for answer in answers:
            path, identity, metadata, failed, at = answer
            one = self._known.get(path)
            if one is None and metadata is not None and at > now - _EARLY:
                with self._condition:
                    self._answers.append(answer)  # a kill in it may be told of later
            if one is None or one.identity != identity:
                continue
            # What nothing tells any more is kept, but no longer watched.
            self._changes.follow(path, {} if metadata is None else metadata.files)
            if metadata is None and one.metadata is not None:
                one.metadata = replace(one.metadata, files={})
            elif metadata is not None:
                one.metadata = self._shown(metadata)
            if metadata is None or failed:
                one.retry, one.delay = now + one.delay, min(2 * one.delay, _LAST_RETRY)
            else:
                one.retry = math.inf if metadata.files else now + _UNWATCHED
                one.delay = _FIRST_RETRY

    def _shown(self, metadata: Metadata) -> Metadata:
        """With the labels that are allowed, and no text longer than _LONGEST."""
        texts = {name: getattr(metadata, name)[:_LONGEST] for name in _TEXTS}
        allowed = {k: v[:_LONGEST] for k, v in metadata.labels.items() if self._allow.match(k)}
        return replace(metadata, labels=allowed, **texts)
