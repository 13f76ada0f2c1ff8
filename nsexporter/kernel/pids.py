"""Which processes there are: /proc is listed only where what the kernel counts does not tell."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from nsexporter.kernel.files import Reader

_SPARSE = 4  # of that many processes listed there is time to look for one PID


class _Counts(NamedTuple):
    """What changes when a process comes or goes."""

    links: int  # of /proc: its own and one for each process, zombies too (proc_root_getattr)
    last: int  # the PID given last in our PID namespace (loadavg_proc_show)


class Pids:
    """The processes of a procfs, by what it lists.

    To list 2000 takes 3 ms. PIDs are given in order: those that came since are between the PID
    given last then and now, and where as many processes have come as there are more, none has
    gone. A process whose PID was chosen (clone3(2), set_tid) is seen when one is gone besides, or
    when /proc is listed again, in every `refresh`-th look.
    """

    def __init__(self, reader: Reader, root: str, refresh: int, *, counted: bool) -> None:
        """Where it is not `counted`, as in another PID namespace, /proc is always listed."""
        self._reader = reader
        self._root = root
        self._refresh = refresh
        self._counted = counted
        self._looks = 0
        self._there: Mapping[int, int] = {}
        self._counts: _Counts | None = None  # when those were there; None: not known

    def look(self) -> Mapping[int, int]:
        """PID to the inode of its directory; the same object where none changed."""
        self._looks += 1
        before, now = self._counts, self._count()
        if before is not None and now is not None and self._looks % self._refresh:
            came = self._came(before.last, now.last)
            if came is not None and len(came) == now.links - before.links:
                self._counts = now
                if came:
                    self._there = {**self._there, **came}
                return self._there
        return self._list(now)

    def _list(self, before: _Counts | None) -> Mapping[int, int]:
        with os.scandir(self._root) as entries:
            there = {int(one.name): one.inode() for one in entries if one.name.isdigit()}
        if there != self._there:
            self._there = there
        after = self._count()
        self._counts = after if after == before else None
        return self._there

    def _came(self, before: int, last: int) -> dict[int, int] | None:
        """The processes with PIDs given since; None where they are too many to look for each."""
        if not 0 <= last - before <= len(self._there) // _SPARSE:
            return None
        came = {}
        for pid in range(before + 1, last + 1):
            place = f"{self._root}/{pid}"
            if not os.access(place, os.F_OK):
                continue  # it was of one that has ended since
            status = self._reader.read("namespaces", f"{place}/status") or b""
            if b"\nTgid:\t%d\n" % pid in status:  # else it is of a thread
                try:
                    came[pid] = os.stat(place).st_ino
                except FileNotFoundError:
                    continue  # it has ended now
        return came

    def _count(self) -> _Counts | None:
        if not self._counted:
            return None
        text = self._reader.read("namespaces", f"{self._root}/loadavg")
        last = b"" if text is None else text.rpartition(b" ")[2]
        return _Counts(os.stat(self._root).st_nlink, int(last)) if last.isdigit() else None
