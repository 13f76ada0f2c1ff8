"""Usage between two passes: the peak that the kernel keeps for a reader, or samples."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Mapping

log = logging.getLogger(__name__)

Key = int
"""What tells one cgroup from all others, those that had its path before included."""


class Peaks:
    """memory.peak of each cgroup through a descriptor of our own, reset at every look.

    The reset holds for our descriptor only (cgroup-v2.rst, "memory.peak"), since Linux commit
    c6f53ed8f213 ("mm, memcg: cg2 memory{.swap,}.peak write handlers") (v6.12).
    """

    def __init__(self) -> None:
        self._files: dict[Key, int] = {}
        self.granted = True  # False once the kernel, or the file's mode, refused

    def look(self, directories: Mapping[Key, int]) -> dict[Key, int]:
        """The highest usage of each cgroup since the last look, which is not the first."""
        for key in self._files.keys() - directories.keys():
            os.close(self._files.pop(key))
        peaks = {}
        for key, directory in directories.items():
            fd = self._files.get(key)
            try:
                if fd is None:
                    if self.granted:
                        self._open(key, directory)
                    continue
                peaks[key] = int(os.pread(fd, 32, 0))
                os.write(fd, b"reset\n")
            except OSError as error:
                log.debug("memory.peak: %s", error)  # the cgroup went between two reads
        return peaks

    def _open(self, key: Key, directory: int) -> None:
        try:
            fd = os.open("memory.peak", os.O_RDWR | os.O_CLOEXEC, dir_fd=directory)
        except FileNotFoundError:
            return  # the root has none
        except OSError as error:
            log.warning("memory.peak cannot be reset (Linux 6.12 and write access): %s", error)
            self.granted = False
            return
        self._files[key] = fd
        os.write(fd, b"reset\n")

    def close(self) -> None:
        """Close every descriptor."""
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()


class Samples:
    """A file of one number, read every interval for the cgroups that are watched just now."""

    def __init__(self, name: str, interval: float) -> None:
        self._name = name
        self._interval = interval
        self._condition = threading.Condition()
        self._files: dict[Key, int] = {}
        self._highest: dict[Key, int] = {}
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="samples", daemon=True)

    def look(self, directories: Mapping[Key, int]) -> dict[Key, int]:
        """The highest sample of each cgroup since the last look; from now on watch these."""
        with self._condition:
            for key in self._files.keys() - directories.keys():
                os.close(self._files.pop(key))
            for key in directories.keys() - self._files.keys():
                try:
                    self._files[key] = os.open(
                        self._name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=directories[key]
                    )
                except OSError as error:
                    log.debug("%s: %s", self._name, error)  # gone since the pass read it
            highest, self._highest = self._highest, {}
            if self._files:
                if self._thread.ident is None:
                    with contextlib.suppress(RuntimeError):  # EAGAIN, ENOMEM: in the next pass
                        self._thread.start()
                self._condition.notify()
        return highest

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._files or self._closed)
                self._condition.wait_for(lambda: self._closed, self._interval)
                if self._closed:
                    return
                for key, fd in list(self._files.items()):
                    try:
                        value = int(os.pread(fd, 32, 0))
                    except OSError:
                        os.close(self._files.pop(key))  # ENODEV: the cgroup is gone
                        continue
                    self._highest[key] = max(value, self._highest.get(key, 0))

    def close(self) -> None:
        """End the thread and close every descriptor."""
        with self._condition:
            self._closed = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join()
        for fd in self._files.values():
            os.close(fd)
        self._files.clear()
