"""Values that the kernel does not write down, computed from columns that it does."""

from __future__ import annotations

import math
from collections.abc import Sequence

from nsexporter.columns import Columns, integers, texts

Column = Sequence[bytes | None]


def processes(columns: Columns) -> Column:
    """How many processes are in the cgroup itself (cgroup.procs)."""
    return [b"%d" % len(cgroup.pids) for cgroup in columns.cgroups]


def usage(columns: Columns) -> list[float | None]:
    """memory.usage_in_bytes or memory.current, in bytes."""
    v1 = columns.snapshot.hierarchy == "v1"
    return integers(columns.number("memory.usage_in_bytes" if v1 else "memory.current"))


def working_set(columns: Columns) -> Column:
    """Usage less the file pages that are reclaimed first, not below 0, in bytes."""
    v1 = columns.snapshot.hierarchy == "v1"
    inactive = integers(columns.stat(b"total_inactive_file" if v1 else b"inactive_file"))
    return texts(
        [
            None if used is None or file is None else max(0, used - file)
            for used, file in zip(usage(columns), inactive, strict=True)
        ]
    )


def limits(columns: Columns) -> list[float | None]:
    """memory.limit_in_bytes or memory.max, in bytes."""
    v1 = columns.snapshot.hierarchy == "v1"
    return integers(columns.limit("memory.limit_in_bytes" if v1 else "memory.max"))


def chains(columns: Columns) -> list[list[int]]:
    """For each cgroup the cgroups whose limits bind it: itself first, then upwards.

    On v1 a cgroup without use_hierarchy is not bound by its parent; its
    hierarchical_memory_limit is then larger than what the parent's would be.
    """
    own = limits(columns)
    v1 = columns.snapshot.hierarchy == "v1"
    told = integers(columns.stat(b"hierarchical_memory_limit")) if v1 else [None] * len(own)
    result: list[list[int]] = []
    for index, cgroup in enumerate(columns.cgroups):
        parent = cgroup.parent
        above = result[parent] if parent >= 0 else []
        limit = told[index]
        if limit is not None and limit < math.inf:
            bound = min((o for i in above if (o := own[i]) is not None), default=math.inf)
            if limit > bound:
                above = []
        result.append([index, *above])
    return result


def effective_limits(columns: Columns) -> list[tuple[float, int] | None]:
    """The smallest limit on the way to the root and the index of the cgroup that sets it."""
    own = limits(columns)
    result: list[tuple[float, int] | None] = []
    for chain in chains(columns):
        known = [(limit, i) for i in chain if (limit := own[i]) is not None]
        # The nearest of equal limits: min() keeps the first, and the chain starts at the leaf.
        result.append(min(known, key=lambda pair: pair[0]) if known else None)
    return result


def effective_limit(columns: Columns) -> Column:
    """The smallest limit from the cgroup to the root, in bytes."""
    return texts([None if found is None else found[0] for found in effective_limits(columns)])


def headroom(columns: Columns) -> Column:
    """The least of limit less usage from the cgroup to the root, not below 0, in bytes."""
    own, used = limits(columns), usage(columns)
    column: list[float | None] = []
    for chain in chains(columns):
        rooms = [
            max(0, limit - use)
            for i in chain
            if (limit := own[i]) is not None and (use := used[i]) is not None
        ]
        column.append(min(rooms) if rooms else None)
    return texts(column)


def reservation(columns: Columns) -> Column:
    """What --memory-reservation sets: the soft limit on v1 (+Inf: none), memory.low on v2."""
    if columns.snapshot.hierarchy == "v1":
        return columns.limit("memory.soft_limit_in_bytes")
    return columns.limit("memory.low")


def reservation_excess(columns: Columns) -> Column:
    """Usage above the reservation, in bytes; absent where there is no reservation."""
    v1 = columns.snapshot.hierarchy == "v1"
    column: list[float | None] = []
    for used, reserved in zip(usage(columns), integers(reservation(columns)), strict=True):
        unset = math.inf if v1 else 0
        if used is None or reserved is None or reserved == unset:
            column.append(None)
        else:
            column.append(max(0, used - reserved))
    return texts(column)
