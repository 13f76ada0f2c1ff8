"""What v2's memory.min and memory.low are worth, and where more is promised than there is."""

from __future__ import annotations

from nsexporter.families.columns import Columns, texts
from nsexporter.families.derived import Column, Floats, limit, usage


def effective_min(columns: Columns) -> Column:
    """What memory.min is worth below ancestors that have less, in bytes."""
    return _effective_protection(columns, "memory.min")


def effective_low(columns: Columns) -> Column:
    """What memory.low is worth below ancestors that have less, in bytes."""
    return _effective_protection(columns, "memory.low")


def _effective_protection(columns: Columns, name: str) -> Column:
    """As effective_protection() of the kernel (mm/memcontrol.c, mm/page_counter.c from 6.11).

    A child of the root has what it is given. Below, siblings who claim more than the parent has
    share it by what they use of their own claim; with memory_recursiveprot what nobody claims
    goes to those who use more than they claim (cgroup-v2.rst, "memory.low").
    """
    whole = columns.whole
    given, used = limit(whole, name), usage(whole)
    claims = [
        None if setting is None or use is None else min(use, setting)
        for setting, use in zip(given, used, strict=True)
    ]
    claimed = _sums_of_children(whole, claims)
    result: list[float | None] = []
    for cgroup, setting, claim, use in zip(whole.cgroups, given, claims, used, strict=True):
        above = result[cgroup.parent] if cgroup.parent >= 0 else None
        if above is None or claim is None or use is None:
            result.append(setting)
            continue
        all_claims, parent_use = claimed[cgroup.parent], used[cgroup.parent] or 0
        if all_claims > above:
            result.append(claim * above / all_claims)
        elif columns.snapshot.recursive_protection and use > claim and parent_use > all_claims:
            unclaimed = above - all_claims
            share = (use - claim) / (parent_use - all_claims)
            result.append(claim + unclaimed * share)
        else:
            result.append(claim)
    return texts(columns.shown(result))


def min_overcommitted(columns: Columns) -> Column:
    """memory.min that the children are given beyond the cgroup's own, in bytes."""
    return _overcommitted(columns, "memory.min")


def low_overcommitted(columns: Columns) -> Column:
    """memory.low that the children are given beyond the cgroup's own, in bytes."""
    return _overcommitted(columns, "memory.low")


def _overcommitted(columns: Columns, name: str) -> Column:
    """Absent where no child is given any, and on the root, which has no protection of its own."""
    whole = columns.whole
    given = limit(whole, name)
    beyond = [
        None if own is None or not promised else 0 if own >= promised else promised - own
        for own, promised in zip(given, _sums_of_children(whole, given), strict=True)
    ]
    return texts(columns.shown(beyond))


def _sums_of_children(columns: Columns, own: Floats) -> list[float]:
    sums: list[float] = [0] * len(own)
    for cgroup, value in zip(columns.cgroups, own, strict=True):
        if cgroup.parent >= 0 and value is not None:
            sums[cgroup.parent] += value
    return sums
