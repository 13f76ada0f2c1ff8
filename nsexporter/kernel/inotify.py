"""inotify(7): what the kernel tells of watched directories and files, without a library."""

from __future__ import annotations

import logging
import os
import struct
from dataclasses import dataclass

from nsexporter.libc import LIBC, checked

log = logging.getLogger(__name__)

IN_MODIFY = 0x002
IN_CLOSE_WRITE = 0x008
IN_MOVED_FROM = 0x040
IN_MOVED_TO = 0x080
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_MOVE_SELF = 0x800
IN_Q_OVERFLOW = 0x4000
IN_IGNORED = 0x8000  # the kernel has ended the watch: the directory is gone, or its file system
IN_ONLYDIR = 0x01000000
IN_ISDIR = 0x40000000

_HEAD = struct.Struct("iIII")


@dataclass(frozen=True, slots=True)
class Event:
    """One event; `wd` is -1 for IN_Q_OVERFLOW, `name` is empty for the watched one itself."""

    wd: int
    mask: int
    name: bytes


class Inotify:
    """One inotify instance. OSError where the kernel grants none (EMFILE, ENOSYS)."""

    def __init__(self) -> None:
        self._fd = checked(LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))

    def fileno(self) -> int:
        """The descriptor, for poll(2)."""
        return self._fd

    def add(self, path: bytes, mask: int) -> int:
        """Watch a path; the watch's number. OSError: ENOSPC at the limit of watches, ENOENT."""
        return checked(LIBC.inotify_add_watch(self._fd, path, mask), path)

    def remove(self, wd: int) -> None:
        """End a watch; one that the kernel has ended already (EINVAL) is no error.

        A removed directory of cgroupfs keeps its watch until this is called.
        """
        LIBC.inotify_rm_watch(self._fd, wd)

    def read(self) -> list[Event]:
        """The events that are there, without waiting."""
        events: list[Event] = []
        while True:
            try:
                buffer = os.read(self._fd, 65536)
            except BlockingIOError:
                return events
            offset = 0
            while offset < len(buffer):
                wd, mask, _, length = _HEAD.unpack_from(buffer, offset)
                offset += _HEAD.size
                name = buffer[offset : offset + length].rstrip(b"\0")
                events.append(Event(wd, mask, name))
                offset += length

    def close(self) -> None:
        """End every watch."""
        os.close(self._fd)


def instance(without: str) -> Inotify | None:
    """An instance, or None where the kernel grants none; the log tells what is done `without`."""
    try:
        return Inotify()
    except OSError as error:
        log.info("%s: inotify: %s", without, error)
        return None
