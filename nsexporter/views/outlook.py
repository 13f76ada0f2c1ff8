"""In words, what will happen when a cgroup grows: reclaim here, throttling there, a kill."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from nsexporter.families import derived, protection
from nsexporter.families.columns import Columns, integers
from nsexporter.families.derived import Bound
from nsexporter.views.units import size


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One cgroup on the way to the root; None: the kernel gives no value, +Inf: no limit."""

    path: str
    usage: float | None
    limit: float | None
    high: float | None  # v2's memory.high
    headroom: float | None  # limit less usage
    binds: bool  # of all on the way it has the least headroom: its limit is reached first


def way(columns: Columns, index: int) -> list[int]:
    """The cgroup and those whose limits bind it too, upwards to the root."""
    bound_by = derived.bound_by(columns)
    found = []
    while index >= 0:
        found.append(index)
        index = bound_by[index]
    return found


def steps(columns: Columns, index: int) -> list[Step]:
    """The way to the root with the limits on it; nothing binds where there is no limit."""
    used, limits = derived.usage(columns), derived.limits(columns)
    high = integers(columns.limit("memory.high"))
    bound = _finite(derived.headrooms(columns)[index])
    found = []
    for i in way(columns, index):
        use, limit = used[i], limits[i]
        found.append(
            Step(
                path=columns.cgroups[i].path,
                usage=use,
                limit=limit,
                high=high[i],
                headroom=None if use is None or limit is None else max(0, limit - use),
                binds=bound is not None and bound[1] == i,
            )
        )
    return found


def outlook(columns: Columns, index: int) -> list[str]:
    """One sentence or two for each thing that will happen, in the order in which it will."""
    return [*_kept(columns, index), *_throttled(columns, index), *_end(columns, index)]


def _kept(columns: Columns, index: int) -> Iterator[str]:
    """What is reclaimed from it when others need memory."""
    excess = integers(derived.reservation_excess(columns))[index]
    reserved = integers(derived.reservation(columns))[index]
    if columns.snapshot.hierarchy == "v1":
        if excess is None:
            return
        if not columns.snapshot.soft_limit_reclaim:
            yield f"Its soft limit of {size(reserved)} has no effect: this kernel ignores it."
        elif excess:
            yield (
                f"It is {size(excess)} above its soft limit of {size(reserved)}: when the host runs"
                " short of memory, the kernel takes from here first. Nothing happens before."
            )
        else:
            yield (
                f"It is below its soft limit of {size(reserved)}: when the host runs short of"
                " memory, the kernel takes from those first that are above theirs."
            )
        return
    for name, column, promise in (
        ("memory.min", protection.effective_min(columns), "is never reclaimed"),
        ("memory.low", protection.effective_low(columns), "is reclaimed only when all else is"),
    ):
        given, worth = integers(columns.limit(name))[index], integers(column)[index]
        if worth:
            less = f", of the {size(given)} it is given" if given and worth < given else ""
            everything = worth == math.inf
            yield f"{'All' if everything else size(worth)} of it {promise} ({name}{less})."
        elif given:
            yield f"Its {name} of {size(given)} is worth nothing: those above it have none."


def _throttled(columns: Columns, index: int) -> Iterator[str]:
    """Where v2 slows it down."""
    high, used = integers(columns.limit("memory.high")), derived.usage(columns)
    for i in way(columns, index):
        limit, use = high[i], used[i]
        if limit is None or limit == math.inf or use is None:
            continue
        if use > limit:
            yield (
                f"{_whose(columns, index, i)} memory.high of {size(limit)} is exceeded: its"
                " processes are slowed down and reclaim their own memory now."
            )
        else:
            yield (
                f"After another {size(limit - use)}, at {_whose(columns, index, i, False)}"
                f" memory.high of {size(limit)}, its processes are slowed down and have to reclaim;"
                " nothing is killed for that."
            )


def _end(columns: Columns, index: int) -> Iterator[str]:
    """Where it ends: at a limit or with the host's memory."""
    bound = _finite(derived.headrooms(columns)[index])
    available = columns.snapshot.meminfo.get(b"MemAvailable")
    if bound is None:
        yield (
            f"No limit bounds it but the host's memory, of which {size(available)} is available."
        )
        yield _host_end()
        return
    room, i = bound
    limit = derived.limits(columns)[i]
    if available is not None and room > available:
        yield (
            f"{_whose(columns, index, i)} limit of {size(limit)} is {size(room)} away, but the"
            f" host has only {size(available)} available: the host runs out first."
        )
        yield _host_end()
    yield (
        f"After another {size(room)} {_whose(columns, index, i, False)} limit of {size(limit)} is"
        " reached."
    )
    smallest = _finite(derived.effective_limits(columns)[index])
    if smallest is not None and smallest[1] != i:
        yield (
            f"{_whose(columns, index, smallest[1])} limit of {size(smallest[0])} is smaller, but"
            f" more of it is left: others use memory of {_name(columns, index, i)} too."
        )
    yield _reclaimable(columns, i)
    yield _kill(columns, index, i)


def _reclaimable(columns: Columns, i: int) -> str:
    """What the kernel can take back at the limit of a cgroup."""
    v1 = columns.snapshot.hierarchy == "v1"
    prefix = b"total_" if v1 else b""
    files = sum(
        int(value)
        for kind in (b"inactive_file", b"active_file")
        if (value := columns.stat(prefix + kind)[i]) is not None
    )
    text = f"There the kernel first takes back page cache ({size(files)} is there)"
    free = columns.snapshot.meminfo.get(b"SwapFree", 0)
    headrooms = derived.memsw_headroom(columns) if v1 else derived.swap_headroom(columns)
    room = integers(headrooms)[i]
    swap = min(free, math.inf if room is None else room)
    if not free:
        return f"{text}; the host has no swap, so anonymous memory stays."
    if not swap:
        return f"{text}; its swap is used up or not allowed, so anonymous memory stays."
    return f"{text} and swaps out anonymous memory ({size(swap)} of swap is left to it)."


def _kill(columns: Columns, index: int, i: int) -> str:
    """Who is killed at the limit of cgroup `i`."""
    disabled = columns.key("memory.oom_control", b"oom_kill_disable")[i]
    if disabled == b"1":
        return (
            "When that is not enough, its processes wait, for the OOM killer is disabled there"
            " (memory.oom_control): they hang until memory is freed or the limit raised."
        )
    inside = below(columns, i)
    containers = {
        owner.container_id for k in inside if (owner := columns.cgroups[k].container) is not None
    }
    own = columns.cgroups[index].container
    others = containers - {own.container_id if own else None}
    text = "When that is not enough, the OOM killer kills the largest process"
    where = " of it" if i == index else f" below {columns.cgroups[i].path}"
    if others and i != index:
        one = "the other container"
        if len(others) > 1:
            one = f"one of {len(others)} other containers"
        where += f", which may be {one} there"
    group = columns.number("memory.oom.group")
    # From the victim up to where the limit is, the topmost with the flag dies whole
    # (mem_cgroup_get_oom_group in mm/memcontrol.c).
    whole = [k for k in way(columns, index) if k in inside and group[k] == b"1"]
    if whole:
        return (
            f"{text}{where}; if that is one of {_name(columns, index, whole[-1])}, all processes"
            " of that are killed with it (memory.oom.group)."
        )
    return f"{text}{where}, oom_score_adj considered."


def _host_end() -> str:
    return (
        "When the host runs out, the kernel reclaims from every cgroup, and then kills the largest"
        " process of the host, oom_score_adj considered: of this cgroup or of any other."
    )


def below(columns: Columns, i: int) -> set[int]:
    """A cgroup and all below it."""
    found = {i}
    for k in range(i + 1, len(columns.cgroups)):
        if columns.cgroups[k].parent in found:
            found.add(k)
    return found


def _whose(columns: Columns, index: int, i: int, begins: bool = True) -> str:
    if i == index:
        return "Its own" if begins else "its own"
    return f"{columns.cgroups[i].path}'s"


def _name(columns: Columns, index: int, i: int) -> str:
    return "this cgroup" if i == index else columns.cgroups[i].path


def _finite(bound: Bound | None) -> Bound | None:
    return None if bound is None or bound[0] == math.inf else bound
