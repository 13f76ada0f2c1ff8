"""What limits and protections are worth in a tree of cgroups, worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nsexporter.families import derived, protection, samples
from nsexporter.families.columns import Columns
from nsexporter.model import Cgroup, Identity
from tests.snapshots import NOTHING

M = 1 << 20
Files = dict[str, str | int]
Tree = dict[str, Files]


def columns(hierarchy: str, tree: Tree, *, recursive: bool = False) -> Columns:
    """Columns of cgroups given by path, parents first, with the texts of their files."""
    paths = list(tree)
    cgroups = tuple(
        Cgroup(
            path=path,
            parent=-1 if path == "/" else paths.index(path.rpartition("/")[0] or "/"),
            identity=Identity(kind="other"),
            files={name: str(text).encode() for name, text in files.items()},
        )
        for path, files in tree.items()
    )
    return Columns(
        replace(NOTHING, hierarchy=hierarchy, cgroups=cgroups, recursive_protection=recursive)
    )


def v1(limit: int, usage: int, **more: int) -> Files:
    files: Files = {"memory.limit_in_bytes": limit, "memory.usage_in_bytes": usage}
    return files | {f"memory.{name}": value for name, value in more.items()}


NONE = 9223372036854771712


def test_the_smallest_limit_on_the_way_up_binds_and_the_nearest_of_equal_ones() -> None:
    made = columns(
        "v2",
        {
            "/": {},
            "/pod": {"memory.max": 64 * M, "memory.current": 60 * M},
            "/pod/above": {"memory.max": 256 * M, "memory.current": 20 * M},
            "/pod/below": {"memory.max": 32 * M, "memory.current": 31 * M},
            "/pod/equal": {"memory.max": 64 * M, "memory.current": 0},
            "/free": {"memory.max": "max", "memory.current": 5 * M},
        },
    )
    limits = derived.effective_limits(made)
    assert limits[:5] == [None, (64 * M, 1), (64 * M, 1), (32 * M, 3), (64 * M, 4)]
    assert derived.headrooms(made)[:5] == [None, (4 * M, 1), (4 * M, 1), (M, 3), (4 * M, 1)]
    assert derived.effective_limit(made)[5] == derived.headroom(made)[5] == b"+Inf"


def test_what_is_not_shown_limits_and_protects_all_the_same() -> None:
    tree: Tree = {
        "/": {},
        "/pod": {
            "memory.max": 64 * M,
            "memory.current": 60 * M,
            "memory.low": 10 * M,
            "memory.high": 50 * M,
            "memory.swap.max": 8 * M,
            "memory.swap.current": 7 * M,
        },
        "/pod/a": {"memory.max": "max", "memory.current": 20 * M, "memory.low": 20 * M},
        "/pod/b": {"memory.max": 256 * M, "memory.current": 20 * M, "memory.low": 20 * M},
        "/pod/b/c": {"memory.max": "max", "memory.current": M, "memory.low": 0},
    }
    whole = columns("v2", tree)
    kept = [index for index, path in enumerate(tree) if path in ("/", "/pod/b", "/pod/b/c")]
    parents = {"/": -1, "/pod/b": 0, "/pod/b/c": 1}
    shown = Columns(
        replace(
            whole.snapshot,
            cgroups=tuple(
                replace(one, parent=parents[one.path])
                for one in map(whole.cgroups.__getitem__, kept)
            ),
            every=whole.cgroups,
        )
    )
    for derive in (
        derived.effective_limit,
        derived.headroom,
        derived.effective_high,
        derived.swap_effective_limit,
        derived.swap_headroom,
        protection.effective_low,
        protection.low_overcommitted,
    ):
        expected = list(derive(whole))
        assert list(derive(shown)) == [expected[index] for index in kept], derive
    assert derived.effective_limits(shown)[1:] == [(64 * M, 1), (64 * M, 1)]
    assert protection.effective_low(shown)[1] == b"%d" % (5 * M)
    named = [dict(pairs)["limiting_cgroup"] for pairs, _ in samples.limited_by_info(shown)]
    assert named == ["/pod", "/pod"]


def test_a_cgroup_without_use_hierarchy_binds_nothing_below_it() -> None:
    tree: Tree = {
        "/": v1(NONE, 9 * M, use_hierarchy=0),
        "/loose": v1(16 * M, 16 * M, use_hierarchy=0),
        "/loose/child": v1(NONE, M, use_hierarchy=1),
        "/loose/child/leaf": v1(64 * M, M, use_hierarchy=1),
    }
    assert derived.effective_limit(columns("v1", tree)) == [
        b"+Inf",
        b"%d" % (16 * M),
        b"+Inf",
        b"%d" % (64 * M),
    ]
    assert derived.headroom(columns("v1", tree))[3] == b"%d" % (63 * M)
    for files in tree.values():
        del files["memory.use_hierarchy"]  # the root has it, so it was not read
    assert derived.effective_limit(columns("v1", tree))[3] == b"%d" % (16 * M)
    assert derived.headroom(columns("v1", tree))[3] == b"0"


def test_swap_of_v1_is_told_only_where_memory_and_swap_are_not_limited_together() -> None:
    made = columns(
        "v1",
        {
            "/": {"memory.memsw.limit_in_bytes": NONE, "memory.memsw.usage_in_bytes": 9},
            "/a": {"memory.memsw.limit_in_bytes": 64 * M, "memory.memsw.usage_in_bytes": 60 * M},
            "/a/b": {"memory.memsw.limit_in_bytes": NONE, "memory.memsw.usage_in_bytes": M},
        },
    )
    assert derived.swap_effective_limit(made) == [b"+Inf", None, None]
    assert derived.memsw_headroom(made) == [b"+Inf", b"%d" % (4 * M), b"%d" % (4 * M)]
    made = columns(
        "v2",
        {
            "/": {},
            "/a": {"memory.swap.max": 8 * M, "memory.swap.current": 7 * M},
            "/a/b": {"memory.swap.max": "max", "memory.swap.current": M},
        },
    )
    assert derived.swap_effective_limit(made) == [None, b"%d" % (8 * M), b"%d" % (8 * M)]
    assert derived.swap_headroom(made) == [None, b"%d" % M, b"%d" % M]


def protected(given: str | int, usage: int) -> Files:
    return {"memory.min": given, "memory.current": usage}


# The tree of tools/testing/selftests/cgroup/test_memcontrol.c (test_memcg_protection), once
# as it starts and once where reclaim has left it: there each has what it uses protected.
SELFTEST: Tree = {
    "/": {},
    "/A": protected(50 * M, 150 * M),
    "/A/B": protected(50 * M, 150 * M),
    "/A/B/C": protected(75 * M, 50 * M),
    "/A/B/D": protected(25 * M, 50 * M),
    "/A/B/E": protected(0, 50 * M),
    "/A/B/F": protected(500 * M, 0),
}


@pytest.mark.parametrize("recursive", [False, True])
def test_siblings_that_claim_too_much_share_by_what_they_use_of_it(recursive: bool) -> None:
    made = columns("v2", SELFTEST, recursive=recursive)
    third = 50 * M // 3
    assert protection.effective_min(made) == [
        None,
        b"%d" % (50 * M),
        b"%d" % (50 * M),
        b"%d" % (100 * M // 3),
        b"%d" % third,
        b"0",
        b"0",
    ]
    assert protection.min_overcommitted(made) == [
        None,
        b"0",
        b"%d" % (550 * M),
        *[None] * 4,
    ]
    after = SELFTEST | {
        "/A/B/C": protected(75 * M, 29 * M),
        "/A/B/D": protected(25 * M, 21 * M),
        "/A/B/E": protected(0, 0),
    }
    assert protection.effective_min(columns("v2", after, recursive=recursive))[3:] == [
        b"%d" % (29 * M),
        b"%d" % (21 * M),
        b"0",
        b"0",
    ]


def test_what_nobody_claims_is_handed_down_with_memory_recursiveprot_only() -> None:
    tree: Tree = {
        "/": {},
        "/A": protected(60 * M, 100 * M),
        "/A/claims": protected(20 * M, 40 * M),
        "/A/claims-not": protected(0, 60 * M),
    }
    assert protection.effective_min(columns("v2", tree))[2:] == [b"%d" % (20 * M), b"0"]
    # 40 MB are left over, for the 20 and 60 MB used beyond the claims.
    assert protection.effective_min(columns("v2", tree, recursive=True))[2:] == [
        b"%d" % (30 * M),
        b"%d" % (30 * M),
    ]


def test_a_protection_without_end_is_none_the_less_a_number() -> None:
    tree: Tree = {
        "/": {},
        "/A": protected("max", 100 * M),
        "/A/B": protected(10 * M, 40 * M),
        "/A/C": protected("max", 40 * M),
    }
    assert protection.effective_min(columns("v2", tree))[1:] == [
        b"+Inf",
        b"%d" % (10 * M),
        b"%d" % (40 * M),
    ]
    assert protection.effective_min(columns("v2", tree, recursive=True))[2] == b"+Inf"
    assert protection.min_overcommitted(columns("v2", tree))[1] == b"0"
