"""What the ledger knows of one cgroup's path."""

from __future__ import annotations

from dataclasses import dataclass, field

from nsexporter.model import Container, OomKill

UNKNOWN = OomKill(time=None, constraint="unknown")
"""A kill of which no line of the log told."""

_CLOCKS = 0.2  # seconds by which the log's clock may be ahead


@dataclass(slots=True)
class Entry:
    """The kills of one cgroup's path, over all cgroups that had it."""

    kills: dict[str, int] = field(default_factory=dict)  # constraint to how many
    last: OomKill = UNKNOWN
    instance: int = 0  # inode of the cgroup that was read last
    value: int = 0  # its counter
    read: float = 0.0  # when (monotonic)
    logged: list[float] = field(default_factory=list)  # arrival of kills no counter has shown
    held: list[tuple[float, OomKill]] = field(default_factory=list)  # arrival; to be confirmed
    fresh: int = 0  # kills its counter told, whose details are looked for
    # When its hierarchical counter told of more (start of the pass): in it or below.
    below: list[float] = field(default_factory=list)
    unlogged: list[float] = field(default_factory=list)  # epoch; counted, no line in the log yet
    unlogged_below: list[float] = field(default_factory=list)
    gone: float | None = None  # since when the cgroup is not there (monotonic)
    known: bool = False  # whether the next three were looked up
    container: Container | None = None  # that the cgroup is, or lies in
    pod_name: str = ""  # of the pod that it is, or lies in
    pod_namespace: str = ""

    def add(self, other: Entry) -> None:
        """Take over the kills of a cgroup below."""
        for constraint, kills in other.kills.items():
            self.kills[constraint] = self.kills.get(constraint, 0) + kills
        self.last = max(self.last, other.last, key=lambda kill: kill.time or 0)


def late(times: list[float], kill: OomKill) -> bool:
    """Whether a kill is one of those counted at `times` (epoch), which it then leaves."""
    for time in times:
        if kill.time is not None and kill.time <= time + _CLOCKS:
            times.remove(time)
            return True
    return False
