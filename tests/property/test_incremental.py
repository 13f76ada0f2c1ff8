"""Whatever has changed since the pass before: what is rendered is what the snapshot alone gives."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from nsexporter import exposition
from nsexporter.catalogue import CADVISOR_METRICS, METRICS
from nsexporter.families import derived
from nsexporter.families.columns import BLOCK, Columns, Memo
from nsexporter.model import (
    Cgroup,
    Container,
    History,
    Identity,
    OomAccount,
    OomKill,
    OomLedger,
    Snapshot,
)
from tests.snapshots import NOTHING

PATHS = ("/", "/a", "/a/b", "/a/b/c", "/a/d", "/e", "/e/f")
TEXTS = st.sampled_from([b"0", b"7", b"4096", b"max", b"9223372036854771712", b"none", None])
EVENTS = st.sampled_from([b"low 0\nmax 1\noom_kill 0", b"low 2\nmax 1\noom_kill 3", b"max", None])
STATS = st.sampled_from(
    [
        b"anon 1\ninactive_file 2\nfile 3\n",
        b"anon 1\ninactive_file 5\nfile 3\n",
        b"file 4096\ntotal_inactive_file 7\n",
        b"file 1\nfile 2\n",
        b"file\n",
        b"",
        None,
    ]
)
FILES: Mapping[str, st.SearchStrategy[bytes | None]] = {
    **dict.fromkeys(
        [
            *("memory.current", "memory.max", "memory.high", "memory.low", "memory.min"),
            *("memory.usage_in_bytes", "memory.limit_in_bytes", "memory.soft_limit_in_bytes"),
            *("memory.memsw.usage_in_bytes", "memory.memsw.limit_in_bytes"),
            "memory.use_hierarchy",
        ],
        TEXTS,
    ),
    **dict.fromkeys(("memory.events.local", "memory.events", "memory.oom_control"), EVENTS),
    "memory.pressure": st.sampled_from([b"some total=1500000\nfull total=12", b"some", None]),
    "memory.stat": STATS,
    "memory.numa_stat": st.sampled_from([b"total=3 N0=3\nanon N0=4096", b"anon N0", None]),
    "hugetlb.2MB.max": st.sampled_from([b"max", b"2097152", None]),
}
HISTORIES = st.sampled_from(
    [None, History(reservation_exceeded=1.5, hits_since_kill=2, peak=None, pressure=(1, 2, 3))]
)
NAMES = st.sampled_from(["", "web", 'we"b'])


@st.composite
def cgroups(draw: st.DrawFn, path: str, before: Cgroup | None) -> Cgroup:
    """A cgroup in which something, or nothing, is not what it was."""
    one = before or Cgroup(path=path, parent=-1, identity=Identity(kind="other"), files={})
    what = draw(st.sampled_from(["files", "memory.stat", "history", "container", "pids"]))
    if what in ("files", "memory.stat"):
        name = what if what in FILES else draw(st.sampled_from(sorted(FILES)))
        files = {**one.files, name: draw(FILES[name])}
        kept = {name: text for name, text in files.items() if text is not None}
        return replace(one, files=kept)
    if what == "history":
        return replace(one, history=draw(HISTORIES))
    if what == "pids":
        return replace(one, pids=draw(st.sampled_from([(), (1,), (1, 2)])))
    if draw(st.booleans()):
        return replace(one, container=None)
    container = Container(
        container_id=path, label_id=path, runtime="runc", cgroup=path, name=draw(NAMES)
    )
    return replace(one, container=container)


@st.composite
def ledgers(draw: st.DrawFn) -> OomLedger:
    """Kills in some of the cgroups, which may be gone."""
    last = OomKill(time=1.0, constraint="memcg", comm="hog")
    accounts = {
        path: OomAccount(
            cgroup=path,
            container=None,
            pod_name="",
            pod_namespace="",
            kills={"memcg": draw(st.integers(1, 3))},
            last=last,
        )
        for path in draw(st.sets(st.sampled_from(PATHS)))
    }
    return OomLedger(accounts=accounts, sources={"kmsg": draw(st.booleans())})


@st.composite
def passes(draw: st.DrawFn) -> list[Snapshot]:
    """Passes over a host on which cgroups come, go and change, and change back."""
    hierarchy = draw(st.sampled_from(["v1", "v2"]))
    there: dict[str, Cgroup] = {}
    made: list[Snapshot] = []
    order: list[str] = []
    for _ in range(draw(st.integers(2, 6))):
        for path in draw(st.lists(st.sampled_from(PATHS), max_size=3)):
            if path in there and draw(st.integers(0, 3)) == 0:
                del there[path]
            else:
                there[path] = draw(cgroups(path, there.get(path)))
        order = _ordered(order, there)
        snapshot = _snapshot(there, order, hierarchy, draw(ledgers()), draw(st.booleans()))
        there = {one.path: one for one in snapshot.every or snapshot.cgroups}
        made.append(snapshot)
    again = draw(st.lists(st.sampled_from(made), max_size=2))
    return [*made, *map(replace, again)]  # every pass makes a Snapshot of its own


def _ordered(before: Sequence[str], there: Collection[str]) -> list[str]:
    """Each where it was, new ones where others were; or by path, where a parent comes too late."""
    new = [path for path in sorted(there) if path not in before]
    rows = [path if path in there else new.pop(0) if new else None for path in before]
    order = [path for path in (*rows, *new) if path is not None]
    late = any(
        below != path and f"{below}/".startswith(f"{path.rstrip('/')}/")
        for row, path in enumerate(order)
        for below in order[:row]
    )
    return sorted(there) if late else order


def _snapshot(
    there: Mapping[str, Cgroup],
    paths: Sequence[str],
    hierarchy: str,
    oom: OomLedger,
    recursive: bool,
) -> Snapshot:
    found = tuple(_below(there[path], paths) for path in paths)
    hidden = "/a/b/c" in there
    shown = [path for path in paths if path != "/a"] if hidden else paths
    return replace(
        NOTHING,
        hierarchy=hierarchy,
        cgroups=tuple(_below(there[path], shown) for path in shown) if hidden else found,
        every=found if hidden else (),
        containers=tuple(one.container for one in found if one.container is not None),
        recursive_protection=recursive,
        oom=oom,
    )


def _below(cgroup: Cgroup, paths: Sequence[str]) -> Cgroup:
    """The cgroup with the index of its parent, the same object where it has that already."""
    above = [
        index
        for index, path in enumerate(paths)
        if path != cgroup.path and f"{cgroup.path}/".startswith(f"{path.rstrip('/')}/")
    ]
    parent = max(above, key=lambda index: len(paths[index]), default=-1)
    return cgroup if cgroup.parent == parent else replace(cgroup, parent=parent)


ALL = METRICS + CADVISOR_METRICS
SOME = (ALL, ALL[::2], ALL[1::3])
"""Rows of several passes: what follows from a column need not be asked for whenever that is."""


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(passes(), st.data())
def test_passes_one_after_the_other_are_what_each_is_alone(
    made: list[Snapshot], data: st.DataObject
) -> None:
    memo: Memo = {}
    for snapshot in made:
        columns, alone = Columns(snapshot, memo), Columns(snapshot)
        metrics = data.draw(st.sampled_from(SOME))
        assert exposition.render(columns, metrics) == exposition.render(alone, metrics)
        assert columns.malformed == alone.malformed


def test_what_is_not_asked_for_in_a_pass_has_missed_nothing_in_the_next() -> None:
    def snapshot(*usages: bytes) -> Snapshot:
        return replace(
            NOTHING,
            cgroups=tuple(
                Cgroup(
                    path=f"/{number}",
                    parent=-1,
                    identity=Identity(kind="other"),
                    files={"memory.current": usage, "memory.max": b"9"},
                )
                for number, usage in enumerate(usages)
            ),
        )

    memo: Memo = {}
    told = []
    for made, whole in (
        (snapshot(b"1", b"2"), 1),
        (snapshot(b"3", b"2"), 0),
        (snapshot(b"3", b"4"), 1),
    ):
        columns = Columns(made, memo)
        columns.number("memory.current")
        told.append(derived.headroom(columns) if whole else None)
    assert told == [[b"8", b"7"], None, [b"6", b"5"]]


def test_of_many_cgroups_only_the_lines_about_one_that_changed_are_other_ones() -> None:
    def numbered(number: int, usage: bytes) -> Cgroup:
        files = {"memory.current": usage}
        return Cgroup(path=f"/{number}", parent=-1, identity=Identity(kind="other"), files=files)

    all_ = [numbered(number, b"%d" % number) for number in range(3 * BLOCK + 1)]
    other = [*all_[: BLOCK + 1], numbered(BLOCK + 1, b"0"), *all_[BLOCK + 2 :]]
    shorter = other[: 2 * BLOCK - 1]
    longer = other[: 2 * BLOCK + 2]
    memo: Memo = {}
    bodies = []
    for cgroups in (all_, other, shorter, longer):
        snapshot = replace(NOTHING, cgroups=tuple(cgroups))
        families = exposition.render(Columns(snapshot, memo), METRICS)
        assert families == exposition.render(Columns(snapshot), METRICS)
        (usage,) = [one for one in families if one.name == "nsexporter_cgroup_memory_usage_bytes"]
        bodies.append(usage.bodies)
    same = [a is b for a, b in zip(bodies[0], bodies[1], strict=True)]
    assert same == [True, False, True, True]
    assert [a is b for a, b in zip(bodies[1], bodies[2], strict=False)] == [True, False]
    assert [a is b for a, b in zip(bodies[2], bodies[3], strict=False)] == [True, False]
