"""Values that the kernel does not write down, computed from columns that it does."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from operator import attrgetter

from nsexporter.families.columns import Columns, integers, texts
from nsexporter.model import Cgroup, History

Column = Sequence[bytes | None]
Floats = Sequence[float | None]
Bound = tuple[float, int]
"""The least value on the way to the root, and the index in `Columns.whole` of who has it."""


def processes(columns: Columns) -> Column:
    """How many processes are in the cgroup itself (cgroup.procs)."""
    if columns.snapshot.foreign_pid_namespace and columns.snapshot.hierarchy == "v1":
        return [None] * len(columns.cgroups)  # the kernel leaves other namespaces' out
    return columns.column("processes", lambda cgroup: b"%d" % len(cgroup.pids))


def number(columns: Columns, name: str) -> Floats:
    """A file of one number, for arithmetic."""
    return columns.by_row((name, integers), integers, columns.number(name))


def limit(columns: Columns, name: str) -> Floats:
    """A file of one limit, for arithmetic; math.inf is none."""
    return columns.by_row((name, integers), integers, columns.limit(name))


def usage(columns: Columns) -> Floats:
    """memory.usage_in_bytes or memory.current, in bytes."""
    return number(columns, _usage_file(columns))


def working_set(columns: Columns) -> Column:
    """Usage less the file pages that are reclaimed first, not below 0, in bytes."""
    v1 = columns.snapshot.hierarchy == "v1"
    inactive = columns.stat(b"total_inactive_file" if v1 else b"inactive_file")
    return columns.by_row("working_set", _working_set, usage(columns), inactive)


def _working_set(usages: Floats, inactive: Column) -> list[bytes | None]:
    return texts(
        [
            None if used is None or file is None else max(0, used - int(file))
            for used, file in zip(usages, inactive, strict=True)
        ]
    )


def limits(columns: Columns) -> Floats:
    """memory.limit_in_bytes or memory.max, in bytes."""
    return limit(columns, _limit_file(columns))


def effective_limits(columns: Columns) -> Sequence[Bound | None]:
    """The smallest memory limit on the way to the root."""
    return _smallest(columns, _limit_file(columns))


def effective_limit(columns: Columns) -> Column:
    """The smallest memory limit from the cgroup to the root, in bytes."""
    return columns.by_row("effective_limit", _values, effective_limits(columns))


def effective_high(columns: Columns) -> Column:
    """The smallest memory.high from the cgroup to the root, in bytes."""
    return columns.by_row("effective_high", _values, _smallest(columns, "memory.high"))


def headrooms(columns: Columns) -> Sequence[Bound | None]:
    """The least of memory limit less usage on the way to the root."""
    return _least_rooms(columns, _limit_file(columns), _usage_file(columns))


def headroom(columns: Columns) -> Column:
    """The least of memory limit less usage from the cgroup to the root, not below 0, in bytes."""
    return columns.by_row("headroom", _values, headrooms(columns))


def memsw_effective_limit(columns: Columns) -> Column:
    """The smallest limit of memory and swap together (v1) from the cgroup to the root."""
    smallest = _smallest(columns, "memory.memsw.limit_in_bytes")
    return columns.by_row("memsw_effective_limit", _values, smallest)


def memsw_headroom(columns: Columns) -> Column:
    """The least of memory+swap limit less use (v1) from the cgroup to the root."""
    rooms = _least_rooms(columns, "memory.memsw.limit_in_bytes", "memory.memsw.usage_in_bytes")
    return columns.by_row("memsw_headroom", _values, rooms)


def swap_effective_limit(columns: Columns) -> Column:
    """The smallest limit of swap from the cgroup to the root, in bytes.

    v1 limits memory and swap together, so the swap that a cgroup may use depends on the memory
    that it uses: exact is only that swap is not limited where memory+swap is not.
    """
    if columns.snapshot.hierarchy == "v1":
        return columns.by_row("swap_effective_limit", _unlimited, memsw_effective_limit(columns))
    return columns.by_row("swap_effective_limit", _values, _smallest(columns, "memory.swap.max"))


def _unlimited(column: Column) -> list[bytes | None]:
    return [value if value == b"+Inf" else None for value in column]


def swap_headroom(columns: Columns) -> Column:
    """The least of swap limit less swap used (v2) from the cgroup to the root, in bytes."""
    rooms = _least_rooms(columns, "memory.swap.max", "memory.swap.current")
    return columns.by_row("swap_headroom", _values, rooms)


def bound_by(columns: Columns) -> Sequence[int]:
    """For each cgroup the index of the parent whose limits bind it too, -1 where none does.

    On v1 a cgroup without use_hierarchy binds nothing below it. There is none such since Linux
    commit bef8620cd8e0 ("mm: memcg: deprecate the non-hierarchical mode") (v5.11).
    """

    def binding(parents: Sequence[int], hierarchical: Column) -> Sequence[int]:
        return [
            -1 if parent >= 0 and hierarchical[parent] == b"0" else parent for parent in parents
        ]

    hierarchical = columns.number("memory.use_hierarchy")
    return columns.made("bound_by", binding, parents(columns), hierarchical)


def parents(columns: Columns) -> Sequence[int]:
    """For each cgroup the index of its parent."""
    return columns.column("parents", attrgetter("parent"))


def _usage_file(columns: Columns) -> str:
    return "memory.usage_in_bytes" if columns.snapshot.hierarchy == "v1" else "memory.current"


def _limit_file(columns: Columns) -> str:
    return "memory.limit_in_bytes" if columns.snapshot.hierarchy == "v1" else "memory.max"


def _smallest(columns: Columns, name: str) -> Sequence[Bound | None]:
    """The smallest limit in the files of that name on the way to the root."""
    return _least(columns, name, limit(columns.whole, name))


def _least_rooms(columns: Columns, allowed: str, used: str) -> Sequence[Bound | None]:
    """The least of limit less use, in the files of these names, on the way to the root."""
    whole = columns.whole
    key = allowed, "rooms"
    rooms = whole.by_row(key, _rooms, limit(whole, allowed), number(whole, used))
    return _least(columns, key, rooms)


def _rooms(allowed: Floats, used: Floats) -> list[float | None]:
    return [
        None if most is None or use is None else max(0, most - use)
        for most, use in zip(allowed, used, strict=True)
    ]


def _least(columns: Columns, key: Hashable, own: Floats) -> Sequence[Bound | None]:
    """Of values of every cgroup of `columns.whole` the least on the way to the root."""
    whole = columns.whole
    return columns.shown(key, whole.made((key, "least"), _least_upwards, bound_by(whole), own))


def _least_upwards(parents: Sequence[int], own: Floats) -> list[Bound | None]:
    """The least value from each cgroup to the root, over those too that are not shown.

    Of equal ones the nearest; of what is not bound at all, the root's, one object for all.
    """
    result: list[Bound | None] = []
    for index, (value, parent) in enumerate(zip(own, parents, strict=True)):
        above = result[parent] if parent >= 0 else None
        if value is None or (above is not None and (above[0] < value or value == math.inf)):
            result.append(above)
        else:
            result.append((value, index))
    return result


def _values(bounds: Sequence[Bound | None]) -> list[bytes | None]:
    return texts([None if bound is None else bound[0] for bound in bounds])


def reservation(columns: Columns) -> Column:
    """What --memory-reservation sets: the soft limit on v1 (+Inf: none), memory.low on v2."""
    if columns.snapshot.hierarchy == "v1":
        return columns.limit("memory.soft_limit_in_bytes")
    return columns.limit("memory.low")


def reservation_excess(columns: Columns) -> Column:
    """Usage above the reservation, in bytes; absent where there is no reservation."""
    v1 = columns.snapshot.hierarchy == "v1"
    reserved = limit(columns, "memory.soft_limit_in_bytes" if v1 else "memory.low")
    unset = math.inf if v1 else 0

    def excess(usages: Floats, reserved: Floats) -> list[bytes | None]:
        return texts(
            [
                None if used is None or kept is None or kept == unset else max(0, used - kept)
                for used, kept in zip(usages, reserved, strict=True)
            ]
        )

    return columns.by_row("reservation_excess", excess, usage(columns), reserved)


def told(figure: Callable[[History], float | None]) -> Callable[[Columns], Column]:
    """A column of what the passes saw over time, rounded to milliseconds where it is a time."""

    def cell(cgroup: Cgroup) -> bytes | None:
        value = None if cgroup.history is None else figure(cgroup.history)
        return None if value is None else repr(round(value, 3)).encode()

    return lambda columns: columns.column(("told", figure), cell)


def notifications(level: int) -> Callable[[Columns], Column]:
    """Notifications of at least one level of memory pressure: 0 low, 1 medium, 2 critical."""
    return told(lambda history: None if history.pressure is None else history.pressure[level])
