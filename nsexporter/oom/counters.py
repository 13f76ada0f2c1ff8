"""What the counters of one cgroup tell of OOM kills."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.parse import oom_kills


@dataclass(frozen=True, slots=True)
class Counters:
    """Kills by a cgroup's counters, None where there is none, and the texts that tell them."""

    text: bytes | None  # of memory.oom_control (v1) or memory.events.local
    text_below: bytes | None  # of memory.events (v2)
    own: int | None  # in the cgroup itself
    below: int | None  # in it and all below


def counters(one: Found, before: Counters | None) -> Counters:
    """Those of a cgroup; `before` where its texts are still the same."""
    text = one.files.get("memory.oom_control") or one.files.get("memory.events.local")
    below = one.files.get("memory.events")
    if before is not None and before.text is text and before.text_below is below:
        return before
    return _counters(text, below)


@functools.lru_cache(1000)  # most cgroups have the same texts
def _counters(text: bytes | None, below: bytes | None) -> Counters:
    return Counters(text, below, oom_kills(text), oom_kills(below))
