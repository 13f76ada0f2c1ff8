"""eventfd(2) on a control file of cgroup v1: memory.oom_control, memory.pressure_level, ..."""

from __future__ import annotations

import os


class ControlEvents:
    """Notifications of one v1 control file, until `close`.

    OSError where the kernel grants none: ENOENT without the file or on v2, EINVAL for a file
    that has no events, EACCES for an ordinary user, EMFILE.
    """

    def __init__(self, directory: int, name: str, arguments: str = "") -> None:
        """Register with `cgroup.event_control` of a directory's descriptor (O_PATH will do).

        `arguments` is what the file asks for: nothing for memory.oom_control, "low",
        "medium,local", ... for memory.pressure_level, bytes for memory.usage_in_bytes
        (Documentation/admin-guide/cgroup-v1/memory.rst, sections 9 to 11).
        """
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        try:
            _register(directory, name, self._fd, arguments)
        except BaseException:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """The descriptor, for poll(2)."""
        return self._fd

    def read(self) -> int:
        """How many events came since the last call, without waiting.

        The removal of the cgroup is an event too. An event of memory.oom_control comes before
        the kill, and to every descendant of the cgroup whose limit it is.
        """
        try:
            return os.eventfd_read(self._fd)
        except BlockingIOError:
            return 0

    def close(self) -> None:
        """End the notifications."""
        os.close(self._fd)


def _register(directory: int, name: str, eventfd: int, arguments: str) -> None:
    watched = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directory)
    try:
        control = os.open("cgroup.event_control", os.O_WRONLY | os.O_CLOEXEC, dir_fd=directory)
        try:
            # The kernel keeps what it needs of both; only the eventfd has to stay open.
            os.write(control, f"{eventfd} {watched} {arguments}".rstrip().encode())
        finally:
            os.close(control)
    finally:
        os.close(watched)
