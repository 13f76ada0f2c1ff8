"""One cgroup as far as it was read, and which of its files are read when."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from nsexporter.kernel.discovery import Node
from nsexporter.kernel.interface_files import (
    HOT,
    KILLS,
    LIMITED,
    MEMSW_PEAK,
    MEMSW_USAGE,
    PROCS,
    TCP_USAGE,
    WRITTEN,
)
from nsexporter.kernel.parse import ParseError, limit
from nsexporter.kernel.texts import Places, Texts, places

_TCP_LIMIT = LIMITED["memory.kmem.tcp.failcnt"]

Kept = dict[str, int]
"""File name to a descriptor, of the files of one cgroup that are kept open."""


@dataclass(frozen=True, slots=True)
class Found:
    """One cgroup as read: the path as text, the parent's index, file name to text.

    `key` is the directory's inode, which no other cgroup has while it lives, nor for long after;
    `directory` its descriptor (O_PATH), open until the next `read` at least, -1 where the budget
    of descriptors is spent. The same object as in the pass before where nothing has changed.
    """

    path: str
    parent: int
    files: Mapping[str, bytes]
    key: int
    directory: int


@dataclass(frozen=True, slots=True)
class Plan:
    """Which files are read when, of all cgroups that have the same ones."""

    hot: tuple[str, ...]  # in every pass
    warm: tuple[str, ...]  # when a hot one has changed, and in turn
    cold: tuple[str, ...]  # in turn
    told: tuple[str, ...]  # when something tells that they have changed, and in turn, but seldom
    late: frozenset[str]  # of all those that the cgroup may get later
    places: Places

    @classmethod
    def of(cls, names: Iterable[str], watched: frozenset[str], *, told: bool, exact: bool) -> Plan:
        """For cgroups that may have files of these names.

        Of those in `watched` inotify tells what is written to, if it does at all (`told`); it does
        not tell which there are of the others.
        """
        names = [*names]
        written = WRITTEN & watched
        hot = {*names} if exact else {*HOT} if told else {*HOT, *written, PROCS}
        cold = WRITTEN - watched - hot
        telling = (written | KILLS) - hot
        return cls(
            hot=tuple(name for name in names if name in hot),
            warm=tuple(name for name in names if name not in hot | cold | telling),
            cold=tuple(name for name in names if name in cold),
            told=tuple(name for name in names if name in telling),
            late=frozenset(names) - watched | {PROCS},
            places=places(names),
        )


@dataclass(slots=True, eq=False)
class Cgroup:
    """What was read of a cgroup so far."""

    node: Node
    turn: int  # the pass in which all is read, modulo REFRESH * ROUNDS
    plan: Plan
    path: str
    above: Cgroup | None = None
    warm: tuple[str, ...] = ()  # of the plan's those that can change, when last seen
    young: bool = True  # not read in turn yet: files in other hierarchies may still come
    kept: Kept = field(default_factory=dict)
    read: bool = False
    index: int = -1  # among those that are shown
    files: Texts = field(init=False)
    found: Found | None = None

    def __post_init__(self) -> None:
        self.files = Texts(self.plan.places)

    @property
    def members(self) -> list[bytes]:
        """The PIDs in it."""
        return (self.files.get(PROCS) or b"").split()

    def see_what_can_change(self, *, swap: bool) -> None:
        """Leave out of the warm files those that it has not, and those that stay as they are.

        These are what no limit lets count, what is charged only where a limit was set, and,
        without `swap`, what is the same as the usage and what grows only with its peak.
        """
        stays = set() if swap else {MEMSW_USAGE}
        if not swap and self._is_unlimited("memory.failcnt"):
            stays.add(MEMSW_PEAK)
        if self.files.get(TCP_USAGE) == b"0" and self._is_unlimited(TCP_USAGE):
            stays.add(TCP_USAGE)
        can = (name for name in self.can_change() if self.young or name in self.files)
        self.warm = _one(tuple(name for name in can if name not in stays))

    def can_change(self) -> list[str]:
        """The warm files that it has, or may get, less those that no limit lets count."""
        there = [name for name in self.plan.warm if name in self.files or name in self.plan.late]
        return [name for name in there if name not in LIMITED or not self._is_unlimited(name)]

    def _is_unlimited(self, name: str) -> bool:
        """Whether what a file counts is bound by no limit, so that it stays as it is."""
        limiting = _TCP_LIMIT if name == TCP_USAGE else LIMITED.get(name)
        if limiting is None:
            return False
        binding: Cgroup | None = self
        while binding is not None:
            text = binding.files.get(limiting)
            if text is not None and not _is_none(text):
                return False
            # Only pids.events tells of the limits above, too.
            binding = binding.above if limiting == "pids.max" else None
        return limiting in self.files


@functools.cache
def _one(names: tuple[str, ...]) -> tuple[str, ...]:
    """Of equal ones the same object."""
    return names


@functools.lru_cache(1000)  # most cgroups have the same
def _is_none(text: bytes) -> bool:
    try:
        return limit(text) == b"+Inf"
    except ParseError:
        return False
