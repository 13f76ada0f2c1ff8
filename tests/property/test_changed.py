"""What is made of changed cgroups only is what is made of all: passes in which they come, go, are
replaced, move and change, and change back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from nsexporter import config
from nsexporter.cgroups import Cgroups
from nsexporter.changed import EachRow, changed, rows_changed
from nsexporter.edge import Edge
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader
from nsexporter.model import Cgroup, History, Identity

PATHS = ("/", "/a", "/a/b", "/a/c", "/d")
TEXTS = {
    "memory.usage_in_bytes": [b"0", b"4096", b"8192"],
    "memory.limit_in_bytes": [b"8192", b"9223372036854771712"],
    "memory.soft_limit_in_bytes": [b"4095", b"9223372036854771712"],
    "memory.failcnt": [b"0", b"7"],
    "memory.oom_control": [b"under_oom 0\noom_kill 0", b"under_oom 0\noom_kill 2", b"under_oom 0"],
    "memory.stat": [b"cache 1\nrss 2", b"cache 1\nrss 3", b"rss 3\ncache 1", b"cache"],
    "cgroup.procs": [b"", b"1\n2", b"2", b"x"],
}


@st.composite
def passes(draw: st.DrawFn) -> list[list[Found]]:
    """Lists of cgroups as read, each the same object as before where nothing of it has changed."""
    there: dict[str, Found] = {}
    made: list[list[Found]] = []
    for _ in range(draw(st.integers(2, 6))):
        for path in draw(st.lists(st.sampled_from(PATHS), max_size=4)):
            before = there.pop(path, None)
            what = draw(st.sampled_from(["gone", "replaced", "changed", "changed"]))
            if what == "gone":
                continue
            key = draw(st.integers(1, 40)) if before is None or what == "replaced" else before.key
            files = {} if before is None else dict(before.files)
            name = draw(st.sampled_from(sorted(TEXTS)))
            files[name] = draw(st.sampled_from(TEXTS[name]))
            # An inode that another cgroup has had may be used again.
            if all(other.key != key for other in there.values()):
                there[path] = Found(path, -1, files, key, -1)
        made.append(_arranged(there))
        there = {one.path: one for one in made[-1]}
    return [*made, *draw(st.lists(st.sampled_from(made), max_size=2))]


def _arranged(there: dict[str, Found]) -> list[Found]:
    paths = sorted(there)
    found = []
    for path in paths:
        above = path.rpartition("/")[0] or "/"
        parent = paths.index(above) if above in there and path != "/" else -1
        one = there[path]
        found.append(one if one.parent == parent else replace(one, parent=parent))
    return found


def _again(found: Sequence[Found]) -> list[Found]:
    """Equal ones, none of them the same object."""
    return [replace(one, files=dict(one.files)) for one in found]


@given(passes())
def test_cgroups_are_what_a_first_pass_makes_of_them(made: list[list[Found]]) -> None:
    def values(cgroups: Cgroups, found: list[Found]) -> list[Cgroup]:
        procs = cgroups.procs(found)
        identities = [Identity(kind="other") for _ in found]
        nothing = [None] * len(found)
        pods = [("", "") for _ in found]
        invocations = [""] * len(found)
        return [*cgroups.values(found, procs, identities, nothing, pods, invocations, nothing)]

    kept = Cgroups(Reader())
    before: dict[int, Cgroup] = {}
    for found in made:
        cgroups = values(kept, found)
        assert cgroups == values(Cgroups(Reader()), found)
        # What is equal is the same object, so that nothing is made of it again.
        now = {one.key: cgroup for one, cgroup in zip(found, cgroups, strict=True)}
        assert all(
            now[key] is before[key] for key in now.keys() & before if now[key] == before[key]
        )
        before = now


@given(passes())
def test_what_passes_saw_is_the_same_as_when_all_is_looked_at_anew(
    made: list[list[Found]],
) -> None:
    settings = config.load(None, {}).collectors.memory
    settings = replace(settings, sample_interval=0, pressure_notifications=0)
    edge, anew = Edge(settings, "/none"), Edge(settings, "/none")
    before: dict[int, History | None] = {}
    for number, found in enumerate(made):
        shown = found[1:]
        told = edge.look(True, found, shown, number * 1.5)
        assert told == anew.look(True, _again(found), _again(shown), number * 1.5)
        now = {one.key: history for one, history in zip(shown, told, strict=True)}
        assert all(
            now[key] is before[key] for key in now.keys() & before if now[key] == before[key]
        )
        before = now or before


@given(
    st.lists(st.lists(st.tuples(st.integers(0, 5), st.booleans()), unique_by=lambda one: one[0]))
)
def test_a_value_of_each_row_follows_it_wherever_it_goes(
    tables: list[list[tuple[int, bool]]],
) -> None:
    items = {(number, flag): [number, flag] for number in range(6) for flag in (False, True)}
    made: list[int] = []

    def make(item: list[int], before: int | None) -> int:
        assert before in (None, item[0])
        made.append(item[0])
        return item[0]

    each = EachRow(make, lambda item: item[0])
    before: list[list[int]] = []
    for table in tables:
        column = [items[one] for one in table]
        made.clear()
        assert each(column) == [number for number, _ in table]
        assert made == [column[row][0] for row in changed(before, column)]
        before = column


def test_rows_have_changed_where_one_of_their_cells_is_another() -> None:
    a, b, other = [1], [2], [2]
    assert rows_changed(((a, b), (b, b)), ((a, b), (b, b))) == []
    assert rows_changed(((a, b, a), (b, b, b)), ((b, b, a), (b, b, a))) == [0, 2]
    assert rows_changed(((a, b),), ((a, b, b),)) == [2]
    assert rows_changed(((a, b, b),), ((b, b),)) == [0]
    assert rows_changed((), ((a, b),)) == range(2)
    assert rows_changed(((a, b),), ((a, other),)) == []  # all are equal
    assert changed((b,), (other,)) == [0]
