"""Files that are kept open, read at one go: what has not changed costs the kernel's time only."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, repeat
from operator import ne

from nsexporter.kernel.cgroup import Cgroup
from nsexporter.kernel.cgroup_files import CgroupFiles, size_of
from nsexporter.kernel.files import exact, whole
from nsexporter.kernel.interface_files import LONG

_AT_ONCE = 256
"""Texts that are there a second time while they are compared: what stays of them lies together."""

_ROOM = 256
"""Bytes by which more is asked for. Of 4 kB for a text of 0.8 the C library kept the rest."""

Take = Callable[[Cgroup, str, bytes | None], bool]
"""Called with a cgroup, a file's name and its text, None: there is none; whether it is new."""


class HotFiles:
    """The files that every pass reads, in columns by name where they are kept open."""

    def __init__(self, files: CgroupFiles, take: Take) -> None:
        self._files = files
        self._take = take
        self._columns: dict[str, Column] = {}
        self._loose: list[tuple[Cgroup, tuple[str, ...]]] = []  # those that are not kept open
        self.grouped = False  # False: which are kept has changed

    def group(self, cgroups: Iterable[Cgroup]) -> None:
        """Sort the hot files of all cgroups into those that are kept open and the others."""
        columns: dict[str, Column] = {}
        self._loose = []
        for one in cgroups:
            if not one.read:
                continue
            loose = []
            for name in one.plan.hot:
                fd = one.kept.get(name)
                if fd is None:
                    loose.append(name)
                    continue
                column = columns.get(name)
                if column is None:
                    column = columns[name] = Column(size_of(name))
                text = one.files[name]
                column.add(one, fd, text if name in LONG else text + b"\n")
            if loose or not one.plan.hot:
                self._loose.append((one, tuple(loose)))
        self._columns = columns
        self.grouped = True

    def read(self) -> tuple[set[Cgroup], set[Cgroup]]:
        """Of which cgroups a file has changed, and which may be gone."""
        changed: set[Cgroup] = set()
        doubtful: set[Cgroup] = set()
        for name, column in self._columns.items():
            for one, text in column.read():
                if text is None:
                    self._files.give(one.kept, (name,))
                    self.grouped = False
                    doubtful.add(one)
                    text = self._files.text(one.node, one.kept, name, keep=True)
                if self._take(one, name, text):
                    changed.add(one)
        for one, names in self._loose:
            for name, text in self._files.texts(one.node, one.kept, names, keep=True):
                if self._take(one, name, text):
                    changed.add(one)
                if name in one.kept:
                    self.grouped = False
            if not any(name in one.files for name in one.plan.hot):
                doubtful.add(one)
        return changed, doubtful


class Column:
    """The files of one name, each of another cgroup; a read tells those that have changed."""

    def __init__(self, most: int) -> None:
        """What is longer than `most` bytes costs a second read."""
        self._cgroups: list[Cgroup] = []
        self._descriptors: list[int] = []
        self._texts: list[bytes | None] = []
        self._most = most
        self._size = min(most, _ROOM)  # what is asked for, more than any text has had

    def add(self, one: Cgroup, descriptor: int, text: bytes) -> None:
        """A file with its text as it was read last."""
        self._cgroups.append(one)
        self._descriptors.append(descriptor)
        self._texts.append(text)
        self._fit(text)

    def read(self) -> Iterator[tuple[Cgroup, bytes | None]]:
        """Whose text is another one than at the last read, and the text; None: it is gone."""
        texts = self._texts  # what is equal stays the object that the cgroup has, too
        for start in range(0, len(texts), _AT_ONCE):
            size = self._size
            before = texts[start : start + _AT_ONCE]
            now = preads(self._descriptors[start : start + _AT_ONCE], size)
            # Nothing is done in Python for those that are what they were.
            for index, text in compress(enumerate(now, start), map(ne, now, before)):
                if text is not None and len(text) >= size:
                    text = self._whole(index, text, size)
                    if text == texts[index]:
                        continue
                if text is not None:
                    self._fit(text)
                    text = exact(text)
                texts[index] = text
                yield self._cgroups[index], text

    def _fit(self, text: bytes) -> None:
        """Ask for all of it from now on."""
        if len(text) >= self._size:
            self._size = min(self._most, (len(text) // _ROOM + 1) * _ROOM)

    def _whole(self, index: int, text: bytes, size: int) -> bytes | None:
        try:
            return whole(self._descriptors[index], text, size)
        except OSError:
            return None  # it is read again by itself, which counts why


def preads(descriptors: Sequence[int], size: int) -> list[bytes | None]:
    """The first `size` bytes of each file; None where it cannot be read (ENODEV: it is gone)."""
    texts: list[bytes | None] = []
    rest = map(os.pread, descriptors, repeat(size), repeat(0))
    while True:
        try:
            texts.extend(rest)  # what comes before an error stays
        except OSError:  # likewise
            texts.append(None)
        else:
            return texts
