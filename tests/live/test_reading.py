"""What is read of a cgroup in which pass: by what the kernel tells, and what follows from what."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter.kernel import mounts
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.cgroupfs import CgroupTree
from nsexporter.kernel.files import Descriptors, Reader
from nsexporter.kernel.interface_files import (
    HOT,
    IN_TURN,
    MEMSW_PEAK,
    MEMSW_USAGE,
    PEAK,
    REFRESH,
    ROUNDS,
    TCP_USAGE,
    USAGE,
    V1_FILES,
    V2_FILES,
    WRITTEN,
)
from nsexporter.kernel.kept import preads
from nsexporter.kernel.texts import Texts
from tests.conftest import Need
from tests.live import kills, lab
from tests.live.lab import path_of


@pytest.fixture
def tree(top: Path) -> Iterator[CgroupTree]:
    """A tree that has been read until only what is told is read."""
    with contextlib.closing(
        CgroupTree(Reader(), mounts.find(Reader(), "/proc", "/sys", "/"))
    ) as tree:
        yield tree


def settle(tree: CgroupTree) -> None:
    for _ in range(3):
        tree.read(0)


def of(found: list[Found], cgroup: Path) -> Found:
    return next(one for one in found if one.path == path_of(cgroup))


def members(found: Found) -> set[int]:
    return {*map(int, found.files["cgroup.procs"].split())}


def test_a_kill_shows_in_the_pass_that_is_told_of_the_hosts(top: Path, tree: CgroupTree) -> None:
    cgroup = kills.limited(top, "small")
    settle(tree)
    name = "memory.oom_control" if lab.version() == "v1" else "memory.events"
    before = of(tree.read(0), cgroup).files[name]
    assert b"oom_kill 0" in before
    kills.kill(cgroup)
    assert b"oom_kill 1" in of(tree.read(1), cgroup).files[name]


def test_a_kill_that_the_host_counts_a_moment_before_the_cgroup_shows_in_the_next_pass(
    top: Path, tree: CgroupTree
) -> None:
    cgroup = kills.limited(top, "small")
    settle(tree)
    tree.read(1)
    kills.kill(cgroup)
    name = "memory.oom_control" if lab.version() == "v1" else "memory.events"
    assert b"oom_kill 1" in of(tree.read(1), cgroup).files[name]


def test_where_the_host_does_not_count_kills_every_counter_is_read(
    top: Path, tree: CgroupTree
) -> None:
    cgroup = kills.limited(top, "small")
    for _ in range(3):
        tree.read(None)
    kills.kill(cgroup)
    name = "memory.oom_control" if lab.version() == "v1" else "memory.events"
    assert b"oom_kill 1" in of(tree.read(None), cgroup).files[name]


def test_who_waits_for_memory_shows_though_nobody_is_killed(
    top: Path, tree: CgroupTree, need: Need
) -> None:
    need("v1", lab.version() == "v1", "oom_kill_disable is v1's")
    cgroup = kills.limited(top, "small")
    settle(tree)
    (cgroup / "memory.oom_control").write_text("1")
    assert b"oom_kill_disable 1" in of(tree.read(0), cgroup).files["memory.oom_control"]
    with subprocess.Popen(
        lab.hog(64), preexec_fn=lambda: lab.enter(cgroup), stderr=subprocess.DEVNULL
    ) as waiting:
        try:
            deadline = time.monotonic() + 20
            while b"under_oom 1" not in of(tree.read(0), cgroup).files["memory.oom_control"]:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            (cgroup / "memory.limit_in_bytes").write_text(str(512 << 20))
            waiting.wait(20)
            assert b"under_oom 0" in of(tree.read(0), cgroup).files["memory.oom_control"]
        finally:
            waiting.kill()


def test_without_swap_usage_with_swap_is_the_usage(top: Path, tree: CgroupTree, need: Need) -> None:
    need("v1", lab.version() == "v1", "memsw is v1's")
    (cgroup := top / "grows").mkdir()
    if not (cgroup / MEMSW_USAGE).exists():
        pytest.skip("swap is not accounted (swapaccount=0)")
    if "SwapTotal:             0 kB" not in Path("/proc/meminfo").read_text():
        pytest.skip("there is swap here")

    def shows(*, swap: bool) -> bool:
        """Whether some pass before all is read in turn tells what the kernel does."""
        right = set()
        for _ in range(REFRESH // 2):
            before = [(cgroup / name).read_bytes() for name in names]
            files = of(tree.read(0, swap=swap), cgroup).files
            told = [files[name] + b"\n" for name in names]
            right.add(before == told == [(cgroup / name).read_bytes() for name in names])
        return True in right

    names = (USAGE, MEMSW_USAGE, PEAK, MEMSW_PEAK)
    for _ in range(3):
        tree.read(0, swap=False)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            stack.enter_context(lab.process(cgroup))
            assert shows(swap=False)
        # Where something is swapped out both are read with what changes.
        tree.read(0, swap=True)
        stack.enter_context(lab.process(cgroup))
        assert shows(swap=True)


SENDER = """
import socket, sys
server = socket.create_server(("127.0.0.1", 0))
client = socket.create_connection(server.getsockname())
taker, _ = server.accept()
client.setblocking(False)
try:
    while True:
        client.send(bytes(65536))  # nobody takes it
except BlockingIOError:
    print("full", flush=True)
sys.stdin.read()
"""


def test_tcp_memory_shows_in_turn_at_the_latest(top: Path, tree: CgroupTree, need: Need) -> None:
    need("v1", lab.version() == "v1", "memory.kmem.tcp is v1's")
    (cgroup := top / "sends").mkdir()
    settle(tree)
    (cgroup / "memory.kmem.tcp.limit_in_bytes").write_text(str(1 << 30))
    with subprocess.Popen(
        [sys.executable, "-c", SENDER],
        preexec_fn=lambda: lab.enter(cgroup),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as sender:
        assert sender.stdout is not None and sender.stdin is not None
        assert sender.stdout.readline() == b"full\n"
        shown = set()
        for _ in range(4 * REFRESH):  # what is sent again changes it meanwhile
            before = (cgroup / TCP_USAGE).read_bytes()
            told = of(tree.read(0), cgroup).files[TCP_USAGE] + b"\n"
            if before == (cgroup / TCP_USAGE).read_bytes() != b"0\n":
                shown.add(before == told)
        assert True in shown
        sender.stdin.close()


def test_failcnt_counts_from_the_limit_on(top: Path, tree: CgroupTree, need: Need) -> None:
    need("v1", lab.version() == "v1", "memory.failcnt is v1's")
    (cgroup := top / "later").mkdir()
    settle(tree)
    (cgroup / "memory.limit_in_bytes").write_text(str(8 << 20))
    assert of(tree.read(0), cgroup).files["memory.failcnt"] == b"0"
    lab.kill_by_limit(cgroup)
    kernels = (cgroup / "memory.failcnt").read_bytes().rstrip()
    assert int(kernels) > 0
    assert of(tree.read(0), cgroup).files["memory.failcnt"] == kernels


def test_failcnt_is_what_it_was_when_the_limit_went_again(
    top: Path, tree: CgroupTree, need: Need
) -> None:
    need("v1", lab.version() == "v1", "memory.failcnt is v1's")
    (cgroup := top / "later").mkdir()
    settle(tree)
    (cgroup / "memory.limit_in_bytes").write_text(str(8 << 20))
    lab.kill_by_limit(cgroup)
    (cgroup / "memory.limit_in_bytes").write_text("-1")
    kernels = (cgroup / "memory.failcnt").read_bytes().rstrip()
    assert int(kernels) > 0
    assert of(tree.read(0), cgroup).files["memory.failcnt"] == kernels
    (cgroup / "memory.failcnt").write_text("0")
    assert of(tree.read(0), cgroup).files["memory.failcnt"] == b"0"


def test_a_process_that_moves_is_nowhere_else(top: Path, tree: CgroupTree) -> None:
    for name in ("from", "to", "other"):
        (top / name).mkdir()
    with lab.process(top / "from") as moves, lab.process(top / "other") as stays:
        settle(tree)
        (top / "to" / "cgroup.procs").write_text(str(moves.pid))
        found = tree.read(0)
        shown = {name: members(of(found, top / name)) for name in ("from", "to", "other")}
        assert shown == {"from": set(), "to": {moves.pid}, "other": {stays.pid}}


def test_a_process_that_moves_into_a_new_cgroup_is_nowhere_else(
    top: Path, tree: CgroupTree
) -> None:
    (top / "from").mkdir()
    with lab.process(top / "from") as moves:
        settle(tree)
        (top / "new").mkdir()
        (top / "new" / "cgroup.procs").write_text(str(moves.pid))
        found = tree.read(0)
        assert members(of(found, top / "from")) == set()
        assert members(of(found, top / "new")) == {moves.pid}


def test_a_process_that_moved_and_ended_is_nowhere(top: Path, tree: CgroupTree) -> None:
    for name in ("from", "to"):
        (top / name).mkdir()
    with lab.process(top / "from") as moves:
        settle(tree)
        (top / "to" / "cgroup.procs").write_text(str(moves.pid))
        moves.kill()
        moves.wait()
        found = tree.read(0)
    assert members(of(found, top / "from")) == members(of(found, top / "to")) == set()


def test_what_was_missed_is_read_in_turn(top: Path, tree: CgroupTree) -> None:
    (cgroup := top / "quiet").mkdir()
    settle(tree)
    files = of(tree.read(0), cgroup).files
    assert isinstance(files, Texts)
    for name in files.keys() - HOT:
        files.texts[files.places[name]] = b"?"
    for number in range(REFRESH * ROUNDS):
        files = of(tree.read(0), cgroup).files
        if number == REFRESH:
            counted = IN_TURN & files.keys() - WRITTEN
            assert not [name for name in counted if files[name] == b"?"]
    assert b"?" not in files.values()


def test_what_comes_late_in_another_hierarchy_shows_in_turn(
    top: Path, tree: CgroupTree, need: Need
) -> None:
    found = mounts.find(Reader(), "/proc", "/sys", "/")
    need("v1", found.pids not in (None, found.memory), "pids has no hierarchy of its own")
    (cgroup := top / "late").mkdir()
    settle(tree)
    for _ in range(REFRESH):
        assert "pids.current" not in of(tree.read(0), cgroup).files
    other = Path(f"{found.pids}{path_of(top)}")
    try:
        (other / "late").mkdir(parents=True)
        shown = ["pids.current" in of(tree.read(0), cgroup).files for _ in range(REFRESH)]
        assert shown[-1]
    finally:
        lab.remove(other)


def test_beyond_the_budget_of_descriptors_all_is_read_all_the_same(
    top: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for directory in (top / "a", top / "a" / "b"):
        directory.mkdir()
        if lab.version() == "v2":
            (directory / "cgroup.subtree_control").write_text("+memory +pids")
    deep = kills.limited(top / "a" / "b", "c")
    name = "memory.limit_in_bytes" if lab.version() == "v1" else "memory.max"
    hierarchies = mounts.find(Reader(), "/proc", "/sys", "/")
    monkeypatch.setattr(Descriptors, "budgets", lambda: (Descriptors(1), Descriptors(1)))
    with contextlib.closing(CgroupTree(Reader(), hierarchies)) as tree:
        before = len(os.listdir("/proc/self/fd"))
        for megabytes in (8, 16, 32):
            (deep / name).write_text(str(megabytes << 20))
            files = of(tree.read(0), deep).files
            assert files[name] == b"%d" % (megabytes << 20)
            assert files["memory.stat"] == (deep / "memory.stat").read_bytes()
            assert {*V1_FILES, *V2_FILES} & files.keys() == {
                file for file in (*V1_FILES, *V2_FILES) if (deep / file).exists()
            }
        assert len(os.listdir("/proc/self/fd")) <= before + 2


def test_files_that_are_gone_are_told_by_their_place(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("0123456789")
    with contextlib.ExitStack() as stack:
        fd = os.open(tmp_path / "file", os.O_RDONLY)
        stack.callback(os.close, fd)
        assert preads([-1, fd, -1, -1, fd], 4) == [None, b"0123", None, None, b"0123"]
        assert preads([], 4) == []
