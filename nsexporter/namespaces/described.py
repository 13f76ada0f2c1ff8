"""What namespaces say of themselves: asked once for as long as a process stays in each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from nsexporter.kernel.nsfs import Description, Nsfs
from nsexporter.kernel.processes import Seen
from nsexporter.namespaces.inside import Inside, Key


@dataclass(frozen=True, slots=True)
class Answer:
    """What a namespace said, which holds as long as that process stays in it."""

    by: Seen
    description: Description | None
    uid_map: tuple[tuple[int, int, int], ...] = ()


class Described:
    """The answers of the namespaces that processes are in."""

    def __init__(self, nsfs: Nsfs) -> None:
        self._nsfs = nsfs
        self.answers: dict[Key, Answer] = {}
        self._unmapped: set[Key] = set()  # user namespaces without a uid map
        self._above: dict[Key, Description] | None = None

    @property
    def above(self) -> dict[Key, Description]:
        """The owners and parents that the answers tell of."""
        if self._above is None:
            self._above = above(answer.description for answer in self.answers.values())
        return self._above

    def ask(self, inside: Mapping[Key, Inside], stale: set[Key]) -> None:
        """Follow `inside`, which has changed at `stale`; where an answer is new is added to it."""
        for key in stale:
            one = inside.get(key)
            first = None if one is None else one.first
            answer = self.answers.get(key)
            if answer is not None and answer.by is not first:
                del self.answers[key]
                self._unmapped.discard(key)
                self._above = answer = None
            if answer is None and first is not None:
                told = self._nsfs.describe(f"{first.pid}/ns/{key[0]}", *key)
                self.answers[key] = Answer(first, told)
                self._above = None
                if key[0] == "user":
                    self._unmapped.add(key)
        for key in tuple(self._unmapped):  # it is written once, after clone(2)
            answer = self.answers[key]
            uid_map = self._nsfs.uid_map(answer.by.pid)
            if uid_map:
                self.answers[key] = replace(answer, uid_map=uid_map)
                self._unmapped.discard(key)
                stale.add(key)


def above(descriptions: Iterable[Description | None]) -> dict[Key, Description]:
    """The owners and parents of some namespaces, and theirs."""
    return {
        one.key: one
        for description in descriptions
        if description is not None
        for one in description.above()
    }
