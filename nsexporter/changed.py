"""What is another object than in the pass before: all that follows from the rest still holds."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from itertools import compress, count
from operator import is_not
from typing import Any, Generic, TypeVar

T = TypeVar("T")


def changed(
    before: Sequence[object],
    now: Sequence[object],
    differ: Callable[[Any, Any], object] = is_not,
) -> Sequence[int]:
    """The indexes of what is another object than `before`, and of what is beyond its end.

    >>> a, b, c = [1], [1], [2]
    >>> changed((a, b, c), (a, a, c)), changed((a, b), (a, b, c)), changed((a, b, c), (a, b))
    ([1], [2], [])
    """
    if not before:
        return range(len(now))
    return [*compress(count(), map(differ, before, now)), *range(len(before), len(now))]


def rows_changed(
    before: Sequence[Sequence[Any]], columns: Sequence[Sequence[Any]]
) -> Sequence[int]:
    """The rows, in order, in which a cell of some columns is another object than `before`.

    All, where these are not as many columns; none, where all are equal.
    """
    if len(before) != len(columns):
        return range(len(columns[0]))
    rows: set[int] = set()
    for column, now in zip(before, columns, strict=True):
        if column is not now and column != now:  # to compare them is four times faster
            rows.update(changed(column, now))
    return sorted(rows)


class EachRow(Generic[T]):
    """A value of each row of some columns, made anew only where a cell is another object.

    `make` gets the cells of a row, and the value of the row before whose first cell had the same
    `key`, None where there was none. It gives that very object where nothing has changed: then
    the values of all are the same list as in the call before.
    """

    def __init__(self, make: Callable[..., T], key: Callable[[Any], Hashable]) -> None:
        self._make = make
        self._key = key
        self._columns: Sequence[Sequence[Any]] = ()
        self._values: list[T] = []

    def __call__(self, *columns: Sequence[Any]) -> list[T]:
        """The value of each row."""
        rows = rows_changed(self._columns, columns)
        before, length = self._values, len(columns[0])
        # Whose row it was that is another one now, or none: it may be in another row.
        left = [row for row in rows if row < len(before)]
        left += range(length, len(before))
        items = _cells(self._columns[0], left) if left else ()
        known = dict(zip(map(self._key, items), _cells(before, left), strict=True))
        cells = [_cells(column, rows) for column in columns]
        made = [*map(self._make, *cells, map(known.get, map(self._key, cells[0])))]
        self._columns = columns
        if length != len(before) or any(map(is_not, made, _cells(before, rows))):
            self._values = fitted(before, length)
            for row, value in zip(rows, made, strict=True):
                self._values[row] = value
        return self._values


def fitted(column: list[T], length: int) -> list[T]:
    """A copy of so many cells, those that are not there yet being None."""
    return column[:length] + [None] * (length - len(column))  # type: ignore[list-item]


def _cells(column: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [column[row] for row in rows]


class Kept(Generic[T]):
    """What was made last, given again while what it was made of is equal to what it was."""

    def __init__(self, make: Callable[..., T]) -> None:
        self._make = make
        self._made: tuple[tuple[object, ...], T] | None = None

    def __call__(self, *inputs: object) -> T:
        """`make(*inputs)`; neither these nor what it gave may be changed afterwards."""
        if self._made is None or self._made[0] != inputs:
            self._made = inputs, self._make(*inputs)
        return self._made[1]
