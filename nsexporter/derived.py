"""Values that the kernel does not write down, computed from columns that it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from nsexporter.columns import Columns, integers, texts
from nsexporter.model import History

Column = Sequence[bytes | None]
Floats = Sequence[float | None]
Bound = tuple[float, int]
"""The least value on the way to the root, and the index in `Columns.whole` of who has it."""


def processes(columns: Columns) -> Column:
    """How many processes are in the cgroup itself (cgroup.procs)."""
    if columns.snapshot.foreign_pid_namespace and columns.snapshot.hierarchy == "v1":
        return [None] * len(columns.cgroups)  # the kernel leaves other namespaces' out
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


def effective_limits(columns: Columns) -> list[Bound | None]:
    """The smallest memory limit on the way to the root."""
    return _least_upwards(columns, limits)


def effective_limit(columns: Columns) -> Column:
    """The smallest memory limit from the cgroup to the root, in bytes."""
    return _values(effective_limits(columns))


def effective_high(columns: Columns) -> Column:
    """The smallest memory.high from the cgroup to the root, in bytes."""
    return _values(_least_upwards(columns, _limit("memory.high")))


def headrooms(columns: Columns) -> list[Bound | None]:
    """The least of memory limit less usage on the way to the root."""
    return _least_upwards(columns, lambda whole: _rooms(limits(whole), usage(whole)))


def headroom(columns: Columns) -> Column:
    """The least of memory limit less usage from the cgroup to the root, not below 0, in bytes."""
    return _values(headrooms(columns))


def memsw_effective_limit(columns: Columns) -> Column:
    """The smallest limit of memory and swap together (v1) from the cgroup to the root."""
    return _values(_least_upwards(columns, _limit("memory.memsw.limit_in_bytes")))


def memsw_headroom(columns: Columns) -> Column:
    """The least of memory+swap limit less use (v1) from the cgroup to the root."""
    return _values(
        _least_upwards(
            columns,
            lambda whole: _rooms(
                _limit("memory.memsw.limit_in_bytes")(whole),
                integers(whole.number("memory.memsw.usage_in_bytes")),
            ),
        )
    )


def swap_effective_limit(columns: Columns) -> Column:
    """The smallest limit of swap from the cgroup to the root, in bytes.

    v1 limits memory and swap together, so the swap that a cgroup may use depends on the memory
    that it uses: exact is only that swap is not limited where memory+swap is not.
    """
    if columns.snapshot.hierarchy == "v1":
        return [value if value == b"+Inf" else None for value in memsw_effective_limit(columns)]
    return _values(_least_upwards(columns, _limit("memory.swap.max")))


def swap_headroom(columns: Columns) -> Column:
    """The least of swap limit less swap used (v2) from the cgroup to the root, in bytes."""
    return _values(
        _least_upwards(
            columns,
            lambda whole: _rooms(
                _limit("memory.swap.max")(whole), integers(whole.number("memory.swap.current"))
            ),
        )
    )


def _limit(name: str) -> Callable[[Columns], Floats]:
    return lambda columns: integers(columns.limit(name))


def _rooms(allowed: Floats, used: Floats) -> list[float | None]:
    return [
        None if limit is None or use is None else max(0, limit - use)
        for limit, use in zip(allowed, used, strict=True)
    ]


def bound_by(columns: Columns) -> list[int]:
    """For each cgroup the index of the parent whose limits bind it too, -1 where none does.

    On v1 a cgroup without use_hierarchy binds nothing below it. There is none such since Linux
    commit bef8620cd8e0 ("mm: memcg: deprecate the non-hierarchical mode") (v5.11).
    """
    cgroups = columns.cgroups
    return [
        -1 if parent >= 0 and cgroups[parent].files.get("memory.use_hierarchy") == b"0" else parent
        for parent in [cgroup.parent for cgroup in cgroups]
    ]


def _least_upwards(columns: Columns, own: Callable[[Columns], Floats]) -> list[Bound | None]:
    """The least value from each cgroup to the root, over those too that are not shown.

    Of equal ones the nearest.
    """
    whole = columns.whole
    result: list[Bound | None] = []
    for index, (value, parent) in enumerate(zip(own(whole), bound_by(whole), strict=True)):
        above = result[parent] if parent >= 0 else None
        if value is None or (above is not None and above[0] < value):
            result.append(above)
        else:
            result.append((value, index))
    return columns.shown(result)


def _values(bounds: Sequence[Bound | None]) -> Column:
    return texts([None if bound is None else bound[0] for bound in bounds])


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


def told(figure: Callable[[History], float | None]) -> Callable[[Columns], Column]:
    """A column of what the passes saw over time, rounded to milliseconds where it is a time."""

    def column(columns: Columns) -> Column:
        return [
            None
            if cgroup.history is None or (value := figure(cgroup.history)) is None
            else repr(round(value, 3)).encode()
            for cgroup in columns.cgroups
        ]

    return column


def notifications(level: int) -> Callable[[Columns], Column]:
    """Notifications of at least one level of memory pressure: 0 low, 1 medium, 2 critical."""
    return told(lambda history: None if history.pressure is None else history.pressure[level])
