"""Read a file relative to a directory descriptor; decide which errnos mean 'no value'."""

from __future__ import annotations

import errno
import os
from collections import Counter

# The file, cgroup or process is not there (any more), or the kernel does not support the file
# here: that is an absent value, not an error. ENODEV is what a kept descriptor of a removed
# cgroup gives, EOPNOTSUPP what cgroup.procs of a threaded cgroup gives (cgroup-v2.rst, "Threads").
ABSENT = frozenset(
    {errno.ENOENT, errno.ENODEV, errno.ESRCH, errno.ENOTDIR, errno.EOPNOTSUPP, errno.EINVAL}
)

_CHUNK = 65536


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
        """The text of a single-record file without its last newline, None where there is none.

        A kernfs file with one record comes whole in one read when the buffer is larger than
        it (seq_read_iter in fs/seq_file.c); a full buffer is read on.
        """
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        try:
            text = os.read(fd, _CHUNK)
            if len(text) == _CHUNK:
                text += _rest(fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        finally:
            os.close(fd)
        return text[:-1] if text.endswith(b"\n") else text

    def read_all(self, collector: str, name: str, dir_fd: int | None = None) -> bytes | None:
        """The text of a file of many records, which come in short reads; None where none."""
        try:
            fd = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=dir_fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        try:
            return _rest(fd)
        except OSError as error:
            self.failed(collector, error)
            return None
        finally:
            os.close(fd)


def _rest(fd: int) -> bytes:
    parts = []
    while part := os.read(fd, _CHUNK):
        parts.append(part)
    return b"".join(parts)
