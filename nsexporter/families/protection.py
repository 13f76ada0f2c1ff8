"""What v2's memory.min and memory.low are worth, and where more is promised than there is."""

from __future__ import annotations

from collections.abc import Sequence

from nsexporter.families.columns import Columns, texts
from nsexporter.families.derived import Column, Floats, limit, parents, usage


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
    given = limit(whole, name)
    # Where nobody is given any, usage, which changes all the time, does not matter.
    used = usage(whole) if any(given) else given

    recursive = columns.snapshot.recursive_protection
    key = name, "effective"
    effective = whole.made(key, _effective, parents(whole), given, used, recursive)
    return columns.by_row((*key, "texts"), texts, columns.shown(key, effective))


def _effective(parents: Sequence[int], given: Floats, used: Floats, recursive: bool) -> Floats:
    claims = [
        None if setting is None or use is None else min(use, setting)
        for setting, use in zip(given, used, strict=True)
    ]
    claimed = _sums_of_children(parents, claims)
    result: list[float | None] = []
    for parent, setting, claim, use in zip(parents, given, claims, used, strict=True):
        above = result[parent] if parent >= 0 else None
        if above is None or claim is None or use is None:
            result.append(setting)
            continue
        all_claims, parent_use = claimed[parent], used[parent] or 0
        if all_claims > above:
            result.append(claim * above / all_claims)
        elif recursive and use > claim and parent_use > all_claims:
            unclaimed = above - all_claims
            share = (use - claim) / (parent_use - all_claims)
            result.append(claim + unclaimed * share)
        else:
            result.append(claim)
    return result


def min_overcommitted(columns: Columns) -> Column:
    """memory.min that the children are given beyond the cgroup's own, in bytes."""
    return _overcommitted(columns, "memory.min")


def low_overcommitted(columns: Columns) -> Column:
    """memory.low that the children are given beyond the cgroup's own, in bytes."""
    return _overcommitted(columns, "memory.low")


def _overcommitted(columns: Columns, name: str) -> Column:
    """Absent where no child is given any, and on the root, which has no protection of its own."""
    whole = columns.whole
    beyond = whole.made((name, "beyond"), _beyond, parents(whole), limit(whole, name))
    return columns.by_row((name, "overcommitted"), texts, columns.shown((name, "beyond"), beyond))


def _beyond(parents: Sequence[int], given: Floats) -> Floats:
    return [
        None if own is None or not promised else 0 if own >= promised else promised - own
        for own, promised in zip(given, _sums_of_children(parents, given), strict=True)
    ]


def _sums_of_children(parents: Sequence[int], own: Floats) -> list[float]:
    sums: list[float] = [0] * len(own)
    for parent, value in zip(parents, own, strict=True):
        if parent >= 0 and value is not None:
            sums[parent] += value
    return sums
