"""Rounds of reclaim that a trace event tells of, in a tracing instance of our own."""

from __future__ import annotations

import contextlib
import os
import re

SOFT_LIMIT = "mm_vmscan_memcg_softlimit_reclaim_end"
"""Its record has the pages reclaimed, but no cgroup (include/trace/events/vmscan.h)."""

_RECORD = re.compile(rb"nr_reclaimed=(\d+)$|\[LOST (\d+) EVENTS\]$", re.MULTILINE)
_BUFFER_KB = b"256"  # of each CPU: some 8000 records between two looks


class ReclaimTrace:
    """Counts records of one event of the group vmscan, for the whole host.

    `rounds` counts every record, `pages` what those records say that were not lost to a full
    buffer. OSError where tracefs is not mounted, may not be written, or another exporter is at it.
    """

    def __init__(self, tracefs: str, event: str = SOFT_LIMIT) -> None:
        self.rounds = 0
        self.pages = 0
        self._instance = f"{tracefs}/instances/nsexporter"
        try:
            os.mkdir(self._instance)
        except FileExistsError:
            # Of an exporter that was killed; EBUSY where one still reads it.
            os.rmdir(self._instance)
            os.mkdir(self._instance)
        try:
            self._write("buffer_size_kb", _BUFFER_KB)
            self._write(f"events/vmscan/{event}/enable", b"1")
            self._pipe = os.open(
                f"{self._instance}/trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
            )
        except BaseException:
            os.rmdir(self._instance)
            raise

    def look(self) -> None:
        """Count what came since the last look."""
        text = b""
        with contextlib.suppress(BlockingIOError):
            while part := os.read(self._pipe, 65536):
                text += part
        for pages, lost in _RECORD.findall(text):
            self.rounds += int(lost) if lost else 1
            self.pages += int(pages or 0)

    def _write(self, name: str, text: bytes) -> None:
        fd = os.open(f"{self._instance}/{name}", os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, text)
        finally:
            os.close(fd)

    def close(self) -> None:
        """End the instance."""
        os.close(self._pipe)
        os.rmdir(self._instance)
