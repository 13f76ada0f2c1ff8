"""Which state files are not what they were: told by inotify, so that what stays costs nothing."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from nsexporter.containers.state import Stamp, StateFiles
from nsexporter.kernel import inotify

log = logging.getLogger(__name__)

# Runtimes replace a file (rename), or write it anew (close). Not IN_MODIFY: docker's log of a
# container is in the same directory.
_CHANGED = (
    inotify.IN_CLOSE_WRITE
    | inotify.IN_CREATE
    | inotify.IN_DELETE
    | inotify.IN_MOVED_FROM
    | inotify.IN_MOVED_TO
    | inotify.IN_MOVE_SELF
    | inotify.IN_ONLYDIR
)
_WITHOUT = "state files are looked at in every pass"
_LOST = inotify.IN_MOVE_SELF | inotify.IN_IGNORED  # whatever its path has now, it is another one


@dataclass(slots=True)
class _Directory:
    path: str
    watch: int
    users: dict[str, set[str]] = field(default_factory=dict)  # by the file's name in it


class Changes:
    """Knows for some users of files, by name, which of the files have changed.

    A file whose directory cannot be watched (limits of inotify, no permission) is looked at each
    time that is asked.
    """

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._inotify = inotify.instance(_WITHOUT)
        self._stamps: dict[str, dict[str, Stamp]] = {}  # by user and file, as it was read
        self._watched: dict[int, _Directory] = {}
        self._by_path: dict[str, _Directory] = {}
        self._looked_at: set[str] = set()  # users who changed, or have a file without a watch

    def close(self) -> None:
        """End the watches."""
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None
        self._watched.clear()
        self._by_path.clear()

    def follow(self, user: str, stamps: Mapping[str, Stamp]) -> None:
        """From now on a user needs these files, read when they had these stamps, and no others."""
        for path in self._stamps.pop(user, {}).keys() - stamps.keys():
            self._leave(user, path)
        self._looked_at.discard(user)
        if stamps:
            self._stamps[user] = dict(stamps)
            for path in stamps:
                self._watch(user, path)
            # Before the watch there was a while; and without one there is nothing else.
            self._looked_at.add(user)

    def users(self) -> set[str]:
        """Those of whose files one has changed since it was read, until they are followed anew."""
        told = self._told()
        changed = set()
        stamps: dict[str, Stamp | None] = {}
        for user in told | self._looked_at:
            for path, stamp in self._stamps.get(user, {}).items():
                if path not in stamps:
                    stamps[path] = self._files.stamp(path)
                if stamps[path] != stamp:
                    changed.add(user)
        self._looked_at = changed.union(
            user for user in self._looked_at if not self._all_watched(user)
        )
        return changed

    def _watch(self, user: str, path: str) -> None:
        directory, _, name = path.rpartition("/")
        known = self._by_path.get(directory)
        if known is None and self._inotify is not None:
            try:
                watch = self._inotify.add(os.fsencode(self._files.name(directory)), _CHANGED)
            except OSError as error:  # ENOSPC, EACCES, ENOENT: it is looked at
                log.debug("%s is not watched: %s", directory, error)
                return
            # Two paths may lead to one directory, which has one watch: the second is looked at.
            if watch not in self._watched:
                known = _Directory(directory, watch)
                self._watched[watch] = self._by_path[directory] = known
        if known is not None:
            known.users.setdefault(name, set()).add(user)

    def _leave(self, user: str, path: str) -> None:
        directory, _, name = path.rpartition("/")
        known = self._by_path.get(directory)
        if known is None:
            return
        users = known.users.get(name, set())
        users.discard(user)
        if not users:
            known.users.pop(name, None)
        if not known.users:
            self._forget(known)

    def _forget(self, known: _Directory) -> None:
        del self._watched[known.watch], self._by_path[known.path]
        if self._inotify is not None:
            self._inotify.remove(known.watch)

    def _told(self) -> set[str]:
        """The users of files of which inotify tells anything."""
        told: set[str] = set()
        for event in () if self._inotify is None else self._inotify.read():
            if event.mask & inotify.IN_Q_OVERFLOW:
                return self._watch_anew()
            known = self._watched.get(event.wd)
            if known is None:
                continue
            if event.mask & _LOST:
                users = set().union(*known.users.values())
                self._forget(known)
                self._looked_at |= users
                told |= users
            else:
                told |= known.users.get(os.fsdecode(event.name), set())
        return told

    def _watch_anew(self) -> set[str]:
        """All users: after an overflow nobody knows which watches the kernel has ended."""
        self.close()
        self._inotify = inotify.instance(_WITHOUT)
        for user, stamps in self._stamps.items():
            for path in stamps:
                self._watch(user, path)
        self._looked_at |= self._stamps.keys()
        return self._looked_at

    def _all_watched(self, user: str) -> bool:
        stamps = self._stamps.get(user, {})
        return all(
            (known := self._by_path.get(directory)) is not None
            and user in known.users.get(name, ())
            for directory, _, name in (path.rpartition("/") for path in stamps)
        )
