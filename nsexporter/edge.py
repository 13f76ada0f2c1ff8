"""What only looking again and again tells: time above the reservation, hits, peaks, pressure."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from operator import attrgetter

from nsexporter.changed import EachRow, Kept
from nsexporter.config import Memory
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.parse import ParseError, limit, oom_kills
from nsexporter.kernel.pressure_level import Counts, PressureLevels
from nsexporter.kernel.sampling import Peaks, Samples
from nsexporter.kernel.tracefs import ReclaimTrace
from nsexporter.model import History

log = logging.getLogger(__name__)

_KEY = attrgetter("key")
_PARENT = attrgetter("parent")
_Figures = tuple[float | None, int | None, int | None, tuple[int, ...] | None]
"""What a History is made of."""

NEAR = 0.1
"""A cgroup is near its limit when less than this part of the limit is left."""


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the files of one cgroup tell; None: it has not that bound, or does not tell."""

    usage: int | None  # bytes
    near: bool  # the limit
    above: bool | None  # the reservation
    failcnt: int | None


@dataclass(slots=True)
class _State:
    """One cgroup with a limit or a reservation, as the last pass saw it.

    `kills` are the OOM kills in it and below; `hits_at_kill` its failcnt when that rose last,
    None where it is not known: of kills before the first pass.
    """

    at: float  # monotonic seconds
    kills: int
    hits_at_kill: int | None
    above: bool = False  # usage was above the reservation
    exceeded: float | None = None  # seconds it was so; None: there is no reservation
    hits: int | None = None  # since the last kill; None: no limit, or not known

    def look(self, now: float, above: bool | None, failcnt: int | None, kills: int) -> None:
        """Bring it up to date; `above` is None without a reservation, `failcnt` without a limit.

        What held at a pass is taken to have held until the next.
        """
        if above is None:
            self.exceeded = None
        else:
            self.exceeded = (self.exceeded or 0.0) + (now - self.at if self.above else 0.0)
        self.at, self.above = now, bool(above)
        if kills > self.kills:
            self.hits_at_kill = failcnt
        self.kills = kills
        if failcnt is None or self.hits_at_kill is None:
            self.hits = None
        else:
            if failcnt < self.hits_at_kill:
                self.hits_at_kill = 0  # v1's counter was reset
            self.hits = failcnt - self.hits_at_kill


class Edge:
    """Looks at every pass; what it counts lives as long as the cgroup and the exporter."""

    def __init__(self, settings: Memory, tracefs: str) -> None:
        self._settings = settings
        self._states: dict[int, _State] = {}
        self._pressure: dict[int, Counts] = {}
        self._v1 = False  # as long as cgroups are the same ones, so is this
        self._kills = EachRow(self._kills_of, _KEY)
        self._killed = Kept(_with_below)
        self._readings = EachRow(self._read, _KEY)
        self._told: dict[int, tuple[_Figures, History]] = {}
        self._peaks = Peaks()
        self._samples: Samples | None = None
        self._levels: PressureLevels | None = None
        self._tracefs = tracefs if settings.soft_limit_trace else None
        self._trace: ReclaimTrace | None = None

    def inherit(self, previous: Edge) -> None:
        """Count on from where `previous` is, which counts no more."""
        self._states, self._pressure = previous._states, previous._pressure

    def soft_limit_rounds(self) -> tuple[int, int] | None:
        """The host's rounds of soft limit reclaim and their pages, since the trace began."""
        if self._tracefs is not None:
            # Not before the first pass: until then a collector of older settings may be at it.
            self._trace, self._tracefs = _trace(self._tracefs), None
        if self._trace is None:
            return None
        self._trace.look()
        return self._trace.rounds, self._trace.pages

    def look(
        self, v1: bool, every: Sequence[Found], found: Sequence[Found], now: float
    ) -> list[History | None]:
        """For each of those `found` what there is to tell; `now` is monotonic, in seconds.

        Those of `every` count as what is below them.
        """
        if not found:
            return []  # a pass that failed does not tell that the cgroups are gone
        self._v1 = v1
        kills = self._killed(v1, [*map(_PARENT, every)], self._kills(every))
        if found is not every:
            by_key = dict(zip(map(_KEY, every), kills, strict=True))
            kills = [by_key[one.key] for one in found]
        readings = self._readings(found)
        states: dict[int, _State] = {}
        bounded: dict[int, int] = {}
        near: dict[int, int] = {}
        usages: dict[int, int] = {}
        for one, reading, killed in compress(zip(found, readings, kills, strict=True), readings):
            if reading is None:
                continue
            bounded[one.key] = one.directory
            if reading.usage is None:
                continue
            usages[one.key] = reading.usage
            if reading.near:
                near[one.key] = one.directory
            state = self._states.get(one.key)
            if state is None:
                state = _State(now, killed, None if killed else 0)
            states[one.key] = state
            state.look(now, reading.above, reading.failcnt, killed)
        self._states = states
        peaks = self._look_for_peaks(v1, found, near)
        self._look_for_pressure(v1, _opened(bounded))
        before, self._told = self._told, {}
        for key in states.keys() | peaks.keys() | self._pressure.keys():
            figures = _figures(
                states.get(key), peaks.get(key), usages.get(key, 0), self._pressure.get(key)
            )
            kept = before.get(key)
            self._told[key] = kept if kept and kept[0] == figures else (figures, _history(*figures))
        nothing = None, None
        return [self._told.get(one.key, nothing)[1] for one in found]

    def _kills_of(self, one: Found, _: int | None) -> int:
        """The OOM kills that a cgroup tells of."""
        return oom_kills(one.files.get("memory.oom_control" if self._v1 else "memory.events")) or 0

    def _read(self, one: Found, _: _Reading | None) -> _Reading | None:
        """What matters of a cgroup with a limit or a reservation, or of one that has no parent."""
        v1, files = self._v1, one.files
        hard, reservation = _bounds(v1, files)
        if hard is None and reservation is None:
            return _Reading(None, False, None, None) if one.parent < 0 else None
        usage = _finite(files.get("memory.usage_in_bytes" if v1 else "memory.current"))
        if usage is None:
            return _Reading(None, False, None, None)
        return _Reading(
            usage=usage,
            near=hard is not None and hard - usage < NEAR * hard,
            above=None if reservation is None else usage > reservation,
            failcnt=None if hard is None else _failcnt(v1, files),
        )

    def _look_for_peaks(
        self, v1: bool, found: Sequence[Found], near: Mapping[int, int]
    ) -> Mapping[int, int]:
        if self._settings.reset_peak and not v1 and self._peaks.granted:
            return self._peaks.look(_opened({one.key: one.directory for one in found}))
        if not self._settings.sample_interval:
            return {}
        if self._samples is None:
            name = "memory.usage_in_bytes" if v1 else "memory.current"
            self._samples = Samples(name, self._settings.sample_interval)
        return self._samples.look(_opened(near))

    def _look_for_pressure(self, v1: bool, bounded: Mapping[int, int]) -> None:
        most = self._settings.pressure_notifications
        if not v1 or not most:
            return
        if self._levels is None:
            self._levels = PressureLevels(most)
        self._levels.look(bounded, self._pressure)
        for key in self._pressure.keys() - bounded.keys():
            del self._pressure[key]

    def close(self) -> None:
        """End the notifications, the samples and the trace."""
        self._peaks.close()
        for kept in (self._samples, self._levels, self._trace):
            if kept is not None:
                kept.close()


def _opened(directories: Mapping[int, int]) -> dict[int, int]:
    """Those whose directory has a descriptor: beyond the budget there is none."""
    return {key: directory for key, directory in directories.items() if directory >= 0}


def _figures(
    state: _State | None, peak: int | None, usage: int, pressure: Counts | None
) -> _Figures:
    return (
        None if state is None else state.exceeded,
        None if state is None else state.hits,
        None if peak is None else max(peak, usage),
        None if pressure is None else tuple(pressure),
    )


def _history(
    exceeded: float | None, hits: int | None, peak: int | None, pressure: tuple[int, ...] | None
) -> History:
    return History(
        reservation_exceeded=exceeded, hits_since_kill=hits, peak=peak, pressure=pressure
    )


def _trace(tracefs: str) -> ReclaimTrace | None:
    try:
        return ReclaimTrace(tracefs)
    except OSError as error:
        log.warning("soft limit reclaim cannot be traced: %s", error)
        return None


def _bounds(v1: bool, files: Mapping[str, bytes]) -> tuple[int | None, int | None]:
    """Hard limit and reservation; None where there is none."""
    if v1:
        hard, soft = files.get("memory.limit_in_bytes"), files.get("memory.soft_limit_in_bytes")
        return _finite(hard), _finite(soft)
    return _finite(files.get("memory.max")), _finite(files.get("memory.low")) or None


@functools.lru_cache(4096)  # most cgroups have the same: none
def _finite(text: bytes | None) -> int | None:
    if text is None:
        return None
    try:
        digits = limit(text)
    except ParseError:
        return None  # counted where the column of the file is made
    return None if digits == b"+Inf" else int(digits)


def _failcnt(v1: bool, files: Mapping[str, bytes]) -> int | None:
    if v1:
        return _finite(files.get("memory.failcnt"))
    text = files.get("memory.events.local") or files.get("memory.events")
    return None if text is None else _word(text, b"max")


def _with_below(v1: bool, parents: Sequence[int], own: Sequence[int]) -> Sequence[int]:
    """OOM kills in each cgroup and below, of those that are there (v1) or ever were (v2)."""
    if not v1 or not any(own):
        return own
    kills = [*own]
    for index in range(len(own) - 1, 0, -1):
        parent = parents[index]
        if parent >= 0:
            kills[parent] += kills[index]
    return kills


def _word(text: bytes, key: bytes) -> int | None:
    """One key of a flat keyed text."""
    match = re.search(rb"^%b (\d+)$" % key, text, re.MULTILINE)
    return None if match is None else int(match[1])
