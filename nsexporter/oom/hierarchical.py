"""The hierarchical counters (memory.events of v2), each of which has the kills of all below it."""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field


@dataclass(slots=True)
class HierarchicalCounter:
    """What is known of the counter at a path."""

    instance: int = 0  # inode of the cgroup, 0: not seen yet
    explained: int = 0  # kills that were counted and that are in it, or will be
    counted: list[float] = field(default_factory=list)  # when (monotonic), since the last pass


class HierarchicalCounters(dict[str, HierarchicalCounter]):
    """By path, of those with a kill in or below them."""

    def __init__(self) -> None:
        super().__init__()
        self._absent: set[str] = set()

    def rise(self, cgroup: str, instance: int, value: int, started: float) -> int:
        """How many kills of a counter, read in the pass that began at `started`, nothing explains.

        They are explained only once they were passed to `explain`.
        """
        counter = self.setdefault(cgroup, HierarchicalCounter())
        if counter.instance != instance:
            # Of its predecessor's kills it has none, but may not have the latest ones yet.
            unread = sum(at >= started for at in counter.counted)
            counter.instance = instance
            counter.explained = min(counter.explained, value + unread)
        return max(0, value - counter.explained)

    def explain(self, cgroup: str, up_to: str | None, kills: int, now: float) -> None:
        """Kills were counted that the counters from `cgroup` up to below `up_to` contain."""
        for path in (cgroup, *above(cgroup)):
            if path == up_to:
                return
            counter = self.setdefault(path, HierarchicalCounter())
            counter.explained += kills
            counter.counted += [now] * kills

    def settle(self, living: Set[str], started: float) -> None:
        """End of a pass; forget what two passes in a row did not find."""
        for counter in self.values():
            counter.counted = [at for at in counter.counted if at >= started]
        absent = self.keys() - living
        for cgroup in absent & self._absent:
            del self[cgroup]
        self._absent = absent


def above(cgroup: str) -> Iterator[str]:
    """The paths above a cgroup, nearest first, without the root.

    >>> list(above("/a/b/c"))
    ['/a/b', '/a']
    """
    while (cut := cgroup.rfind("/")) > 0:
        cgroup = cgroup[:cut]
        yield cgroup
