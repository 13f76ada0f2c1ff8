"""Read a file relative to a directory descriptor; decide which errnos mean 'no value'."""

from __future__ import annotations

import errno
import os
import resource
from collections import Counter
from collections.abc import Callable

# The file, cgroup or process is not there (any more), or the kernel does not support the file
# here: that is an absent value, not an error. ENODEV is what a kept descriptor of a removed
# cgroup gives, EOPNOTSUPP what cgroup.procs of a threaded cgroup gives (cgroup-v2.rst, "Threads").
ABSENT = frozenset(
    {errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.ENOTDIR, errno.EOPNOTSUPP, errno.EINVAL}
)

READ = os.O_RDONLY | os.O_CLOEXEC

CHUNK = 4096
"""More than nearly all files have."""

FULL = CHUNK - 64
"""A first read shorter than this is all of a file: seq_read_iter in fs/seq_file.c ends one early
only before a record that does not fit into a page any more, and no record of a file of many (a
PID, a line of vmstat) has 64 bytes."""


class Descriptors:
    """How many more descriptors may be kept open: `left`."""

    def __init__(self, most: int) -> None:
        self.left = most

    @classmethod
    def budgets(cls) -> tuple[Descriptors, Descriptors]:
        """For directories and for files, of RLIMIT_NOFILE less what others may need.

        A kept directory costs the kernel 0.2 kB, a kept file 4.4 kB.
        """
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        left = max(0, soft - cls.for_events() - max(_RESERVED, soft // 16))
        files = min(left * 2 // 3, KEPT_FILES)
        return cls(left - files), cls(files)

    @staticmethod
    def for_events() -> int:
        """How many eventfds may be open: a quarter of RLIMIT_NOFILE."""
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4

    def take(self, spare: int = 0) -> bool:
        """Whether one more may be kept, leaving `spare`; it counts from now on."""
        if self.left <= spare:
            return False
        self.left -= 1
        return True

    def give(self) -> None:
        """One that was kept is closed."""
        self.left += 1


KEPT_FILES = 10240
"""Most files that are kept open, 45 MB of kernel memory."""

_RESERVED = 512  # for clients, state files and v1's pressure notifications


class Reader:
    """Reads kernel files and counts what fails for a reason that costs samples.

    `errors` maps (collector, errno name) to how often a read failed so.
    """

    def __init__(self) -> None:
        self.errors: Counter[tuple[str, str]] = Counter()

    def failed(self, collector: str, error: OSError) -> None:
        """Count `error` unless it only says that there is no value."""
        if error.errno not in ABSENT:
            self.errors[collector, errno.errorcode.get(error.errno or 0, "UNKNOWN")] += 1

    def read(self, collector: str, name: str, dir_fd: int | None = None) -> bytes | None:
        """The text of a file without its last newline, None where there is none."""
        return self._opened(collector, name, dir_fd, _text)

    def read_all(self, collector: str, name: str, dir_fd: int | None = None) -> bytes | None:
        """The text of a file of many records, which come in short reads; None where none."""
        return self._opened(collector, name, dir_fd, _rest)

    def _opened(
        self, collector: str, name: str, dir_fd: int | None, read: Callable[[int], bytes]
    ) -> bytes | None:
        try:
            fd = os.open(name, READ, dir_fd=dir_fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        try:
            return read(fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        finally:
            os.close(fd)


def whole(fd: int, text: bytes, full: int = FULL) -> bytes:
    """`text`, the first CHUNK of a file, and the rest where that is `full` or longer."""
    while len(text) >= full and (more := os.pread(fd, 65536, len(text))):
        text += more
    return text


def exact(text: bytes) -> bytes:
    """The same text in no more memory than it takes.

    os.read(2) shrinks what it has asked for where it is: what is left of CHUNK behind a text that
    is kept is too small for the next read. That was 3 MB at 5000 cgroups.
    """
    return bytes(memoryview(text))


def line(text: bytes) -> bytes:
    """A text without its last newline."""
    return text[:-1] if text.endswith(b"\n") else text


def _text(fd: int) -> bytes:
    return line(whole(fd, os.read(fd, CHUNK)))


def _rest(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)
