"""What is said of a cgroup that grows, in whole sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from nsexporter.families.columns import Columns
from nsexporter.model import Cgroup, Container, Identity
from nsexporter.views.explanation import NotFoundError, explain, find
from nsexporter.views.outlook import outlook, steps
from tests.snapshots import NOTHING

M = 1 << 20
HOST = {b"MemAvailable": 4096 * M}
Files = Mapping[str, str | int]


def columns(
    hierarchy: str, tree: Mapping[str, Files], *, containers: str = "", soft: bool = True
) -> Columns:
    """Cgroups by path, parents first; those named in `containers` are containers."""
    paths = list(tree)
    cgroups = tuple(
        Cgroup(
            path=path,
            parent=-1 if path == "/" else paths.index(path.rpartition("/")[0] or "/"),
            identity=Identity(kind="other"),
            container=Container(
                container_id=f"{name}0123456789ab", label_id=name, runtime="docker", cgroup=path,
                name=name,
            )
            if (name := path.rpartition("/")[2]) in containers.split()
            else None,
            files={
                "memory.stat": b"inactive_file 1048576\nactive_file 1048576\n"
                b"total_inactive_file 1048576\ntotal_active_file 1048576\n",
            } | {f"memory.{key}": str(text).encode() for key, text in files.items()},
            pids=(1000 + paths.index(path),),
        )
        for path, files in tree.items()
    )  # fmt: skip
    return Columns(
        replace(
            NOTHING, hierarchy=hierarchy, cgroups=cgroups, meminfo=HOST, soft_limit_reclaim=soft
        )
    )


def v1(usage: int, limit: int = 9223372036854771712, **more: str | int) -> Files:
    return {"usage_in_bytes": usage, "limit_in_bytes": limit, **more}


def v2(usage: int, limit: str | int = "max", **more: str | int) -> Files:
    names = {"oom_group": "oom.group"}
    return {"current": usage, "max": limit} | {names.get(k, k): v for k, v in more.items()}


CACHE = "There the kernel first takes back page cache (2.0MiB is there)"
NO_SWAP = "; the host has no swap, so anonymous memory stays."
HOST_END = (
    "When the host runs out, the kernel reclaims from every cgroup, and then kills the largest"
    " process of the host, oom_score_adj considered: of this cgroup or of any other."
)


def test_what_follows_at_its_own_limit_is_told() -> None:
    made = columns("v1", {"/": v1(0), "/a": v1(60 * M, 64 * M)})
    assert outlook(made, 1) == [
        "After another 4.0MiB its own limit of 64.0MiB is reached.",
        CACHE + NO_SWAP,
        "When that is not enough, the OOM killer kills the largest process of it, oom_score_adj"
        " considered.",
    ]
    assert [(step.path, step.binds, step.headroom) for step in steps(made, 1)] == [
        ("/a", True, 4 * M),
        ("/", False, float("inf")),
    ]


def test_a_limit_above_it_binds_where_less_of_it_is_left() -> None:
    made = columns(
        "v2",
        {
            "/": {},
            "/pod": v2(100 * M, 104 * M, oom_group=1),
            "/pod/a": v2(20 * M, 64 * M, oom_group=0),
            "/pod/b": v2(80 * M),
            "/pod/c": v2(0),
        },
        containers="a b c",
    )
    assert outlook(made, 2) == [
        "After another 4.0MiB /pod's limit of 104.0MiB is reached.",
        "Its own limit of 64.0MiB is smaller, but more of it is left: others use memory of /pod"
        " too.",
        CACHE + NO_SWAP,
        "When that is not enough, the OOM killer kills the largest process below /pod, which may be"
        " one of 2 other containers there; if that is one of /pod, all processes of that are killed"
        " with it (memory.oom.group).",
    ]
    assert [step.path for step in steps(made, 2) if step.binds] == ["/pod"]


def test_of_two_containers_the_other_one_may_be_killed() -> None:
    tree = {"/": {}, "/pod": v2(100 * M, 104 * M), "/pod/a": v2(20 * M), "/pod/b": v2(80 * M)}
    made = columns("v2", tree, containers="a b")
    assert outlook(made, 2)[-1] == (
        "When that is not enough, the OOM killer kills the largest process below /pod, which may be"
        " the other container there, oom_score_adj considered."
    )


def test_without_a_limit_the_hosts_memory_bounds_it() -> None:
    made = columns("v2", {"/": {}, "/a": v2(60 * M)})
    assert outlook(made, 1) == [
        "No limit bounds it but the host's memory, of which 4.0GiB is available.",
        HOST_END,
    ]
    assert not any(step.binds for step in steps(made, 1))
    beyond = columns("v2", {"/": {}, "/a": v2(60 * M, 65536 * M)})
    assert outlook(beyond, 1)[:2] == [
        "Its own limit of 64.0GiB is 63.9GiB away, but the host has only 4.0GiB available: the host"
        " runs out first.",
        HOST_END,
    ]


@pytest.mark.parametrize(
    ("usage", "soft", "sentence"),
    [
        (
            60 * M,
            True,
            "It is 28.0MiB above its soft limit of 32.0MiB: when the host runs short of memory, the"
            " kernel takes from here first. Nothing happens before.",
        ),
        (
            30 * M,
            True,
            "It is below its soft limit of 32.0MiB: when the host runs short of memory, the kernel"
            " takes from those first that are above theirs.",
        ),
        (60 * M, False, "Its soft limit of 32.0MiB has no effect: this kernel ignores it."),
    ],
)
def test_the_soft_limit_says_who_is_reclaimed_first(usage: int, soft: bool, sentence: str) -> None:
    tree = {"/": v1(0), "/a": v1(usage, soft_limit_in_bytes=32 * M)}
    assert outlook(columns("v1", tree, soft=soft), 1)[0] == sentence


def test_protection_and_throttling_are_told_before_the_limits() -> None:
    made = columns(
        "v2",
        {
            "/": {},
            "/slice": v2(100 * M, low=16 * M, min=0, high=128 * M),
            "/slice/a": v2(60 * M, low=32 * M, min=8 * M, high=50 * M),
        },
    )
    assert outlook(made, 2)[:4] == [
        "Its memory.min of 8.0MiB is worth nothing: those above it have none.",
        "16.0MiB of it is reclaimed only when all else is (memory.low, of the 32.0MiB it is"
        " given).",
        "Its own memory.high of 50.0MiB is exceeded: its processes are slowed down and reclaim"
        " their own memory now.",
        "After another 28.0MiB, at /slice's memory.high of 128.0MiB, its processes are slowed down"
        " and have to reclaim; nothing is killed for that.",
    ]


def test_a_disabled_oom_killer_makes_processes_wait() -> None:
    control = "oom_kill_disable 1\nunder_oom 0\noom_kill 0"
    memsw = {"memsw.limit_in_bytes": 96 * M, "memsw.usage_in_bytes": 60 * M}
    made = columns("v1", {"/": v1(0), "/a": v1(60 * M, 64 * M, oom_control=control, **memsw)})
    made = Columns(replace(made.snapshot, meminfo=HOST | {b"SwapFree": 1024 * M}))
    assert outlook(made, 1)[1:] == [
        CACHE + " and swaps out anonymous memory (36.0MiB of swap is left to it).",
        "When that is not enough, its processes wait, for the OOM killer is disabled there"
        " (memory.oom_control): they hang until memory is freed or the limit raised.",
    ]


def test_a_cgroup_is_found_by_name_id_path_and_pid() -> None:
    tree = {"/": {}, "/docker": v2(0), "/docker/web": v2(0), "/docker/web-2": v2(0)}
    snapshot = columns("v2", tree, containers="web web-2").snapshot
    for target in ("web", "web0123", "docker://web012", "/docker/web", "/docker/web/", "1002"):
        assert find(snapshot, target) == 2, target
    assert find(snapshot, "/") == 0
    with pytest.raises(NotFoundError, match="web012345678 web, web-20123456 web-2"):
        find(snapshot, "we")
    for target in ("/nothing", "nothing", "7", "", "docker://"):
        with pytest.raises(NotFoundError, match=f"there is no .*{target}"):
            find(snapshot, target)


def test_every_number_has_its_file() -> None:
    made = columns("v2", {"/": {}, "/a": v2(60 * M, 64 * M)})
    told = explain(made, 1)
    assert told.processes == 1
    assert {(one.name, one.value, one.source) for one in told.figures} >= {
        ("nsexporter_cgroup_memory_usage_bytes", 60 * M, "memory.current"),
        ("nsexporter_cgroup_memory_limit_bytes", 64 * M, "memory.max"),
    }
