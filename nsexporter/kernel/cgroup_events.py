"""What the kernel tells of cgroups as it happens: made, entered, out of memory, removed.

Directories by inotify(7); out of memory by an eventfd on memory.oom_control (v1), or by inotify
on memory.events.local (v2).
"""

from __future__ import annotations

import errno
import logging
import os
import select
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, cast

from nsexporter.kernel import inotify
from nsexporter.kernel.eventfd import ControlEvents
from nsexporter.kernel.files import Reader
from nsexporter.kernel.inotify import Inotify
from nsexporter.kernel.parse import ParseError, oom_kills, pids

log = logging.getLogger(__name__)

# A rename, which v1 allows, is the end of one name and the beginning of another.
_COME = inotify.IN_CREATE | inotify.IN_MOVED_TO
_GONE = inotify.IN_DELETE | inotify.IN_MOVED_FROM
_DIRECTORY = _COME | _GONE | inotify.IN_MODIFY | inotify.IN_ONLYDIR
_V2_FILES = ("memory.events.local", "memory.events")

MADE, ENTERED, OUT_OF_MEMORY = "made", "entered", "out of memory"
REMOVED, MISSED = "removed", "missed"  # MISSED: removed before it could be watched


@dataclass(frozen=True, slots=True)
class Event:
    """What happened in a cgroup, by its path in the hierarchy (bytes not UTF-8 as surrogates).

    `times` is how often it was out of memory, on v1, where its removal tells the same once more:
    REMOVED has what was not told before it.
    """

    kind: str
    cgroup: str
    times: int = 1


_NOBODY = cast("dict[str, Any]", MappingProxyType({}))
"""The children of all that have none, as most have."""


@dataclass(slots=True, eq=False)
class _Watched:
    name: str
    above: _Watched | None
    watch: int
    children: dict[str, _Watched] = field(default_factory=lambda: _NOBODY)
    file_watch: int = -1
    control: ControlEvents | None = None

    @property
    def path(self) -> str:
        """Relative to the root, empty for it."""
        names = []
        one = self
        while one.above is not None:
            names.append(one.name)
            one = one.above
        return "".join([f"/{name}" for name in reversed(names)])


class CgroupEvents:
    """Watches at most `most` cgroups of a hierarchy; `complete` is False where there are more.

    OSError where nothing can be watched. The descriptors are registered in `poll`.
    """

    def __init__(
        self, reader: Reader, root: str, poll: select.epoll, *, v2: bool, most: int
    ) -> None:
        self.complete = True
        self._deep = False  # whether a path was too long
        self._reader = reader
        self._base = root.rstrip("/")
        self._poll = poll
        self._v2 = v2
        self._most = most
        self._inotify = Inotify()
        self._watches: dict[int, _Watched] = {}
        self._controls: dict[int, _Watched] = {}
        self._root: _Watched | None = None
        try:
            poll.register(self._inotify, select.EPOLLIN)
            self._root = self._add("", None)
            if self._root is None:
                raise FileNotFoundError(f"{root} cannot be watched")
            for _ in self._fill(self._root):
                pass  # what is there from the start was not made now
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End every notification."""
        for watched in self._controls.values():
            if watched.control is not None:
                watched.control.close()
        self._controls.clear()
        self._inotify.close()

    def read(self, ready: Iterable[int]) -> list[Event]:
        """What the descriptors that `poll` found ready tell, without waiting."""
        # Directories first: what an eventfd tells of a cgroup that is not yet known to be removed
        # is no news of its removal.
        events = list(self._directories())
        for fd in ready:
            watched = self._controls.get(fd)
            if watched is not None and watched.control is not None:
                times = watched.control.read()
                if times:
                    events.append(Event(OUT_OF_MEMORY, watched.path, times))
        return events

    def kills(self, cgroup: str) -> tuple[int, int] | None:
        """The inode of a cgroup and its own OOM kills, None where they cannot be read."""
        try:
            directory = os.open(self._base + cgroup, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            self._reader.failed("oom", error)
            return None
        try:
            inode = os.fstat(directory).st_ino
            name = "memory.events.local" if self._v2 else "memory.oom_control"
            value = oom_kills(self._reader.read("oom", name, directory))
            return None if value is None else (inode, value)
        finally:
            os.close(directory)

    def pids(self, cgroup: str) -> tuple[int, ...]:
        """The processes in a cgroup itself."""
        try:
            procs = self._reader.read_all("oom", f"{self._base}{cgroup}/cgroup.procs")
            return pids(procs or b"")
        except ParseError:
            return ()

    def _directories(self) -> Iterator[Event]:
        for event in self._inotify.read():
            if event.mask & inotify.IN_Q_OVERFLOW:
                if self._root is not None:
                    yield from self._fill(self._root)
                continue
            watched = self._watches.get(event.wd)
            if watched is None:
                continue
            if event.wd == watched.file_watch:
                yield Event(OUT_OF_MEMORY, watched.path)
            elif event.mask & inotify.IN_ISDIR:
                name = os.fsdecode(event.name)
                if event.mask & _GONE:
                    if name in watched.children:
                        yield from self._forget(watched.children.pop(name))
                    elif self.complete:
                        yield Event(MISSED, f"{watched.path}/{name}")
                elif event.mask & _COME:
                    yield from self._fill(watched, name)
            elif event.name in (b"cgroup.procs", b"tasks"):
                yield Event(ENTERED, watched.path)

    def _fill(self, watched: _Watched, only: str | None = None) -> Iterator[Event]:
        """Watch the children that are not yet watched, and theirs."""
        stack = [(watched, only)]
        while stack:
            above, name = stack.pop()
            try:
                names = [name] if name is not None else _subdirectories(self._base + above.path)
            except OSError as error:
                self._reader.failed("oom", error)
                continue
            for one in names:
                if one in above.children:
                    continue
                child = self._add(one, above)
                if child is not None:
                    above.children = above.children or {}
                    above.children[one] = child
                    yield Event(MADE, child.path)
                    stack.append((child, None))

    def _add(self, name: str, above: _Watched | None) -> _Watched | None:
        if len(self._watches) >= self._most:
            self._incomplete(f"{self._most} cgroups are watched")
            return None
        watched = _Watched(name, above, -1)
        place = self._base + watched.path
        try:
            watched.watch = self._inotify.add(os.fsencode(place or "/"), _DIRECTORY)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno == errno.ENAMETOOLONG:  # inotify(7) takes paths only: PATH_MAX
                self._too_long(place)
            else:  # ENOSPC, EACCES: it is not watched, and told so
                self._incomplete(f"{error.strerror}: {place[:80]!r}")
            return None
        self._watches[watched.watch] = watched
        try:
            if self._v2:
                self._watch_file(watched, place)
            else:
                self._watch_control(watched, place)
        except OSError as error:
            # Gone again, or without the memory controller; else EACCES for an ordinary user,
            # EMFILE, ENOSPC.
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                self._incomplete(f"{error.strerror}: {place[:80]!r}")
        return watched

    def _watch_file(self, watched: _Watched, place: str) -> None:
        for name in _V2_FILES:
            try:
                path = os.fsencode(f"{place}/{name}")
                watched.file_watch = self._inotify.add(path, inotify.IN_MODIFY)
            except FileNotFoundError:
                continue
            self._watches[watched.file_watch] = watched
            return

    def _watch_control(self, watched: _Watched, place: str) -> None:
        directory = os.open(place or "/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            watched.control = ControlEvents(directory, "memory.oom_control")
        finally:
            os.close(directory)
        self._controls[watched.control.fileno()] = watched
        self._poll.register(watched.control, select.EPOLLIN)

    def _forget(self, watched: _Watched) -> Iterator[Event]:
        stack = [watched]
        while stack:
            one = stack.pop()
            stack.extend(one.children.values())
            self._inotify.remove(one.watch)
            self._watches.pop(one.watch, None)
            if one.file_watch >= 0:
                self._inotify.remove(one.file_watch)
                self._watches.pop(one.file_watch, None)
            times = 0
            if one.control is not None:
                times = one.control.read()
                del self._controls[one.control.fileno()]
                one.control.close()
            yield Event(REMOVED, one.path, times)

    def _too_long(self, place: str) -> None:
        if not self._deep:
            log.warning("OOM events this deep are seen by passes only: %s…", place[:80])
            self._deep = True

    def _incomplete(self, why: str) -> None:
        if self.complete:
            log.warning("not every cgroup's OOM events are listened to: %s", why)
            self.complete = False


def _subdirectories(path: str) -> list[str]:
    with os.scandir(path) as entries:
        return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
