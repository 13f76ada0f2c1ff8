"""The host's total of kills, as it was when all that tells of them had time to come."""

from __future__ import annotations

SETTLED = 1.0  # seconds after which nothing more is expected to tell of a kill


class Total:
    """`oom_kill` of /proc/vmstat over the passes."""

    def __init__(self) -> None:
        self._told: list[tuple[float, int]] = []  # when (monotonic) and what vmstat told

    def settled(self, total: int, started: float) -> tuple[float, int]:
        """When (monotonic) and what it was SETTLED before the pass that just read it began."""
        if not self._told:  # whatever was before the exporter is as settled as it will be
            self._told = [(started - SETTLED, total)]
        self._told.append((started, total))
        settled = [one for one in self._told if one[0] <= started - SETTLED]
        self._told = settled[-1:] + self._told[len(settled) :]
        return self._told[0]
