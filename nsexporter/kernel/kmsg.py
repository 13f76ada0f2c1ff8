"""The kernel log: /dev/kmsg, a record a read (Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import os
import re
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from nsexporter.kernel.parse import ParseError, text_of

_LARGEST = 8192  # CONSOLE_EXT_LOG_MAX; a smaller buffer than the record is EINVAL
_APART = 500e-6  # seconds a second that two clocks part by, at most (NTP adjusts no more either)
_HEADER = re.compile(rb"(\d+),(\d+),(\d+),[^;]*;([^\n]*)")
_ESCAPE = re.compile(rb"\\x([0-9a-f]{2})")


@dataclass(frozen=True, slots=True)
class Record:
    """One record of the kernel's own (facility 0), its text unescaped."""

    sequence: int
    microseconds: int  # of the kernel's local clock, since boot, suspension left out
    text: str


def record(raw: bytes) -> Record | None:
    """A record as read; None where user space wrote it (its facility is not 0).

    >>> record(b"3,425,3389791857,-;Killed process 7 (a\\\\x5cb)\\n SUBSYSTEM=x")
    Record(sequence=425, microseconds=3389791857, text='Killed process 7 (a\\\\b)')
    >>> record(b"12,10,1000,-;Out of memory: Killed process 1 (spoofed)")
    """
    match = _HEADER.match(raw)
    if match is None:
        raise ParseError(f"kmsg: {raw[:80]!r}")
    priority, sequence, microseconds, text = match.groups()
    if int(priority) >= 8:
        return None
    if b"\\x" in text:
        text = _ESCAPE.sub(lambda escaped: bytes([int(escaped[1], 16)]), text)
    return Record(int(sequence), int(microseconds), text_of(text))


class Clock:
    """The log's clock (local_clock()), which is not adjusted as CLOCK_MONOTONIC is.

    It runs some ppm off, seconds after weeks. A record that is read when it is `new` shows by how
    much, unless it is read late: so that is believed no further than the clocks can have parted
    since the record before. None is of the future.
    """

    def __init__(self) -> None:
        self._behind = 0.0  # seconds
        self._known = 0.0  # when (monotonic): at boot they were together

    def age(self, seconds: float, now: float, *, new: bool) -> float:
        """How old a record of that time is `now` (monotonic)."""
        age = now - seconds - self._behind
        if age < 0:
            self._behind += age
            age = 0.0
        elif new and age > 1:
            parted = min(age, _APART * (now - self._known))
            self._behind += parted
            age -= parted
        if new:
            self._known = now
        return age


class Kmsg:
    """A reader of the kernel log, from its oldest record on.

    OSError where it may not be read: EPERM with kernel.dmesg_restrict and without CAP_SYSLOG,
    EACCES for an ordinary user, ENOENT in most containers.
    `lost` counts how often the log was overwritten before it was read, `caught_up` tells whether
    all is read that was there at first.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.lost = 0
        self._clock = Clock()
        self.caught_up = False

    def fileno(self) -> int:
        """The descriptor, for poll(2): readable when a record is there."""
        return self._fd

    def wait(self, seconds: float) -> bool:
        """Whether a record came within so many seconds."""
        return bool(select.select([self._fd], [], [], seconds)[0])

    def read(self) -> Iterator[Record]:
        """The kernel's own records that are there, without waiting."""
        while True:
            try:
                raw = os.read(self._fd, _LARGEST)
            except BlockingIOError:
                self.caught_up = True
                return
            except BrokenPipeError:  # overwritten; the next read has the oldest that is left
                self.lost += 1
                continue
            if not raw:  # a plain file in the place of the log has an end
                return
            found = record(raw)
            if found is not None:
                yield found

    def epoch(self, microseconds: int) -> float:
        """The record's time as seconds since the epoch."""
        age = self._clock.age(microseconds / 1e6, time.monotonic(), new=self.caught_up)
        return time.time() - age

    def close(self) -> None:
        """Close the log."""
        os.close(self._fd)
