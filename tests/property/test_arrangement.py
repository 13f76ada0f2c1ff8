"""Cgroups stay in their rows whatever comes and goes, and none comes before its parent."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from nsexporter.kernel.arrangement import arranged
from nsexporter.kernel.cgroup import Cgroup, Plan
from nsexporter.kernel.discovery import Node

PLAN = Plan.of([], frozenset(), told=True, exact=False)


class Host:
    """A tree of cgroups, and in which rows they are."""

    def __init__(self) -> None:
        self.root = self._made(None, "")
        self.rows = arranged([self.root], 0)
        self._count = 0

    def _made(self, above: Cgroup | None, name: str) -> Cgroup:
        node = Node(name, "", None if above is None else above.node, 1)
        return Cgroup(node, 0, PLAN, name, above=above)

    def every(self) -> list[Cgroup]:
        """All there are, parents first, as a walk of the tree finds them."""
        found, left = [], [self.root.node]
        cgroups = {one.node: one for one in (*self.rows, *self.new)}
        while left:
            node = left.pop()
            found.append(cgroups[node])
            left.extend(reversed(node.children.values()))
        return found

    def change(self, come: list[int], go: list[int]) -> None:
        """Below some of them come others, and some go with all below."""
        self.new: list[Cgroup] = []
        for number in come:
            there = [*self.rows, *self.new]
            above = there[number % len(there)]
            self._count += 1
            one = self._made(above, str(self._count))
            above.node.children = {**above.node.children, one.node.name: one.node}
            self.new.append(one)
        for number in go:
            there = self.every()
            node = there[number % len(there)].node
            if node.parent is not None:
                del node.parent.children[node.name]
        every = self.every()
        self.rows = arranged(every, len(self.rows))
        assert len(self.rows) == len(every) and {*self.rows} == {*every}
        for row, one in enumerate(self.rows):
            assert one.index == row
            assert one.above is None or one.above.index < row


numbers = st.lists(st.integers(0, 200), max_size=4)


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(
    st.lists(st.integers(0, 200), min_size=1, max_size=30), st.lists(st.tuples(numbers, numbers))
)
def test_parents_come_first_and_every_one_has_a_row(
    first: list[int], changes: list[tuple[list[int], list[int]]]
) -> None:
    host = Host()
    for come, go in ((first, []), *changes):
        host.change(come, go)


def _host() -> Host:
    """The root in row 0, ten below it in 1, 4, ... to 28, and below each of them two after it."""
    host = Host()
    host.change([0] * 10, [])
    host.change([1 + number // 2 for number in range(20)], [])
    return host


def _differing(before: list[Cgroup], now: list[Cgroup]) -> list[int]:
    pairs = enumerate(zip(before, now, strict=False))
    return [row for row, (old, new) in pairs if old is not new]


def test_one_that_comes_takes_the_row_of_one_that_has_gone() -> None:
    host = _host()
    before = host.rows
    host.change([28], [29])
    assert _differing(before, host.rows) == [29]
    assert len(host.rows) == 31


def test_one_more_is_the_last_and_one_less_is_replaced_by_the_last() -> None:
    host = _host()
    before = host.rows
    host.change([4], [])
    assert _differing(before, host.rows) == []
    assert len(host.rows) == 32
    before, gone = host.rows, host.rows[17]
    host.change([], [host.every().index(gone)])
    assert _differing(before, host.rows) == [17]
    assert host.rows[17] is before[31]
    assert len(host.rows) == 31


def test_what_may_not_move_as_far_moves_after_what_did() -> None:
    host = _host()
    host.change([1], [])
    host.change([28], [])
    before = host.rows
    host.change([], [host.every().index(before[12])])
    assert _differing(before, host.rows) == [12, 31]
    assert host.rows[12] is before[31]
    assert host.rows[31] is before[32]


def test_after_many_changes_they_are_in_the_order_of_the_tree() -> None:
    host = _host()
    host.change([1, 2, 3, 4, 5, 6, 7, 8], [])
    assert host.rows == host.every()
