"""What is another object than in the pass before: all that follows from the rest still holds."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress, count
from operator import is_not


def changed(before: Sequence[object], now: Sequence[object]) -> Sequence[int]:
    """The indexes of what is another object than `before`; all, where there are more or fewer.

    >>> a, b, c = [1], [1], [2]
    >>> changed((a, b, c), (a, a, c)), changed((a, b), (a, b, c))
    ([1], range(0, 3))
    """
    if len(before) != len(now):
        return range(len(now))
    return [*compress(count(), map(is_not, before, now))]
