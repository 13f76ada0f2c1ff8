"""Who is in which namespace, followed from pass to pass, is what it is counted at once."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from nsexporter.kernel.processes import Seen
from nsexporter.model import Identity
from nsexporter.namespaces.inside import Inside, Key, Members

# Few of each, so that they meet: mappings are shared by identity, as a scan does, or only equal.
MAPPINGS = [
    {"mnt": mnt, "net": net, "pid": 1, "pid_for_children": pid}
    for mnt in (1, 2)
    for net in (1, 2)
    for pid in (1, 2)
]
MAPPINGS += [dict(MAPPINGS[0])]
THREADS = [(), (("7", "net", 2),), (("7", "net", 3), ("8", "net", 3), ("8", "mnt", 1))]
IDENTITIES = [
    *(Identity(kind="container", container_id=one) for one in ("a", "b", "a")),
    *(Identity(kind=one) for one in ("service", "other")),
]

SEEN = st.builds(
    lambda pid, namespaces, threads: Seen(pid, 0, b"", namespaces, threads),
    st.integers(1, 6),
    st.sampled_from(MAPPINGS),
    st.sampled_from(THREADS),
)
CHANGES = st.tuples(
    st.lists(SEEN, max_size=3),
    st.sets(st.integers(1, 6), max_size=2),
    st.dictionaries(st.integers(1, 6), st.sampled_from(IDENTITIES), max_size=4),
)
"""Processes that came or are others now, PIDs that are gone, and whose all cgroups are."""


def counted(
    processes: Mapping[int, Seen], identity_of: Mapping[int, Identity]
) -> dict[Key, tuple[object, ...]]:
    """The same, process by process."""
    keys = {
        *((name, inode) for one in processes.values() for name, inode in one.namespaces.items()),
        *((ns_type, inode) for one in processes.values() for _, ns_type, inode in one.threads),
    }
    found: dict[Key, tuple[object, ...]] = {}
    for ns_type, inode in {(name.removesuffix("_for_children"), i) for name, i in keys}:
        inside = [one for one in processes.values() if one.namespaces.get(ns_type) == inode]
        threads = [
            one for one in processes.values() for t in one.threads if t[1:] == (ns_type, inode)
        ]
        bound = [
            one
            for one in processes.values()
            if one.namespaces.get(f"{ns_type}_for_children") == inode and one not in inside
        ]
        whose = [identity_of.get(one.pid) for one in (*inside, *threads)]
        found[ns_type, inode] = (
            *(len(inside), len(bound), len(threads)),
            {"" if one is None else one.kind for one in whose},
            {one.container_id for one in whose if one is not None} - {None},
            min((one.pid for one in inside), default=None),
        )
    return found


def told(inside: Mapping[Key, Inside]) -> dict[Key, tuple[object, ...]]:
    return {
        key: (
            *(one.processes, one.for_children, one.threads, one.kinds, one.containers),
            None if one.first is None else one.first.pid,
        )
        for key, one in inside.items()
    }


@settings(deadline=None)  # of a loaded machine nothing is asserted
@given(st.lists(CHANGES, max_size=6))
def test_members_followed_are_those_counted(
    passes: list[tuple[list[Seen], set[int], dict[int, Identity]]],
) -> None:
    members = Members()
    processes: dict[int, Seen] = {}
    before: dict[Key, Inside] = {}
    for came, gone, identity_of in passes:
        if came or gone:
            processes = processes | {one.pid: one for one in came}
            processes = {pid: one for pid, one in sorted(processes.items()) if pid not in gone}
        changed = members.update(processes, identity_of)
        assert told(members.inside) == counted(processes, identity_of)
        # There is a way to open each.
        assert all(one.first is not None or one.paths for one in members.inside.values())
        now = dict(members.inside)
        assert changed == {key for key in before | now if before.get(key) != now.get(key)}
        before = now
