"""Cgroups that were gone before their counter could be read: one of them had the kill that is
in nobody's counter."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from nsexporter.model import OomKill

_NEAR = 2.0  # seconds between a line of the log and the news that the cgroup is gone


class Line(NamedTuple):
    """A kill that the log told of, and when (monotonic)."""

    at: float
    kill: OomKill


@dataclass(frozen=True, slots=True)
class Suspect:
    """When a cgroup was found to be gone (monotonic).

    `sure` where it was out of memory by its own limit before, else that is only possible.
    """

    at: float
    sure: bool


class Suspects(dict[str, Suspect]):
    """By the cgroup's path, in the order in which they were told of."""

    def add(self, cgroup: str, at: float, *, sure: bool) -> None:
        """It is gone; what was told of it first stays."""
        before = self.get(cgroup)
        if before is None or (sure and not before.sure):
            self[cgroup] = Suspect(at, sure)

    def sure(self, until: float) -> Iterator[str]:
        """Those that were certainly out of memory, told of until a time (monotonic)."""
        for cgroup, one in list(self.items()):
            if one.sure and one.at <= until:
                yield cgroup

    def pairs(self, lines: Sequence[Line], until: float) -> Iterator[tuple[Line, str]]:
        """Which line of the log tells of whose kill; both told of until a time (monotonic).

        What was out of memory for certain comes first. Of the others there may be no more than
        there are lines: who of them had none could not be told.
        """
        left = [line for line in lines if line.at <= until]
        for sure in (True, False):
            near = [
                (cgroup, some)
                for cgroup, one in self.items()
                if one.sure is sure
                and one.at <= until
                and (some := [line for line in left if abs(line.at - one.at) <= _NEAR])
            ]
            told = sum(any(line in some for _, some in near) for line in left)
            if not sure and len(near) > told:
                return
            for cgroup, some in near:
                line = next((line for line in some if line in left), None)
                if line is not None:
                    left.remove(line)
                    yield line, cgroup
