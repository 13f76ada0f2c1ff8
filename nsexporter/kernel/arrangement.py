"""In which row each cgroup is: in that of the pass before, so that all else can stay as it is."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from heapq import heappop, heappush

from nsexporter.kernel.cgroup import Cgroup

_FEW = 4  # of how many one may have come or gone


def arranged(every: Sequence[Cgroup], length: int) -> list[Cgroup]:
    """The cgroups by rows, parents before children; `every` has them so, too, but the new ones in
    between. Each has its row as `index` from now on.

    Of `length` rows before, each cgroup stays in its own. A new one, whose index is -1, gets a row
    that is free or one at the end, and a row that stays free what is in one of the last. Where that
    cannot be done, or there is much of it, the cgroups are in the order they came in.
    """
    rows: list[Cgroup | None] = [None] * length
    new = []
    for one in every:
        if one.index < 0:
            new.append(one)
        else:
            rows[one.index] = one
    free = [row for row, one in enumerate(rows) if one is None]
    if max(len(free), len(new)) * _FEW > length:
        return _anew(every)
    for one in new:
        place = bisect(free, -1 if one.above is None else one.above.index)
        if place < len(free):
            one.index = free.pop(place)
            rows[one.index] = one
        else:
            one.index = len(rows)
            rows.append(one)
    return rows if _fill(rows, free) else _anew(every)  # type: ignore[return-value]


def _fill(rows: list[Cgroup | None], free: list[int]) -> bool:
    """Move cgroups that have none below them into rows before theirs that are `free`.

    Whether no row is free any more; those at the end are cut off.
    """
    for _ in range(_FEW * len(free)):
        while rows and rows[-1] is None:
            rows.pop()
        row = heappop(free)  # the lowest: in ascending order they are a heap
        if row >= len(rows):
            return True
        last = _last(rows, row)
        if last is None:
            return False
        rows[row], rows[last.index] = last, None
        heappush(free, last.index)
        last.index = row
    return not free


def _last(rows: Sequence[Cgroup | None], row: int) -> Cgroup | None:
    """The last that may be in that row: its parent's is before it."""
    for one in reversed(rows):
        if one is not None and one.above is not None and not one.node.children:
            if one.index <= row:
                break
            if one.above.index < row:
                return one
    return None


def _anew(every: Sequence[Cgroup]) -> list[Cgroup]:
    for row, one in enumerate(every):
        one.index = row
    return [*every]
