"""What the kernel tells of this process."""

from __future__ import annotations

import functools
import os
import resource
import time
from dataclasses import dataclass

from nsexporter.kernel.files import Reader

_PROC = "/proc/self"  # in our own PID namespace, wherever the host's procfs is


@dataclass(frozen=True, slots=True)
class Itself:
    """This process; None is what /proc does not tell."""

    cpu: float  # seconds, user and system
    started: float  # seconds since the epoch
    virtual: int | None  # bytes
    resident: int | None  # bytes
    open_fds: int | None
    max_fds: int


def itself(reader: Reader) -> Itself:
    """As it is now."""
    max_fds, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    # proc(5): size, resident and others, in pages
    statm = (reader.read("self", f"{_PROC}/statm") or b"").split()
    pages = [int(field) * resource.getpagesize() for field in statm[:2]]
    virtual, resident = pages or (None, None)
    return Itself(
        cpu=time.process_time(),
        started=_started(),
        virtual=virtual,
        resident=resident,
        open_fds=_open_fds(reader),
        max_fds=max_fds,
    )


@functools.cache  # the clock may be set, and the answer must stay
def _started() -> float:
    """When we were started; where /proc does not tell, when we were first asked."""
    now = time.time()
    try:
        with open(f"{_PROC}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[19])  # field 22 of proc(5)
    except OSError:
        return now
    return now - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / os.sysconf("SC_CLK_TCK")


def _open_fds(reader: Reader) -> int | None:
    """How many descriptors are open; stat(2) tells since Linux 6.2, to list 19 000 takes 32 ms."""
    directory = f"{_PROC}/fd"
    try:
        return os.stat(directory).st_size or len(os.listdir(directory)) - 1  # less its own
    except OSError as error:
        reader.failed("self", error)
        return None
