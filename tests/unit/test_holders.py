"""Whose descriptors are read again, in a procfs made of plain files."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsexporter.kernel.files import Reader
from nsexporter.kernel.nsfs import Nsfs
from nsexporter.kernel.processes import Seen
from nsexporter.namespaces.holders import Holders
from tests.conftest import Need
from tests.procfs import counting

NET = 4026532008


class Proc:
    """Processes that are looked at, and their descriptors."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.processes: dict[int, Seen] = {}

    def start(self, pid: int, threads: int = 1) -> Seen:
        (self.root / str(pid) / "fd").mkdir(parents=True)
        for number in range(threads):
            (self.root / str(pid) / "task" / str(pid + number)).mkdir(parents=True)
        seen = Seen(pid, pid, b"1 0 1\n", {"mnt": 1})
        self.processes[pid] = seen
        return seen

    def open(self, pid: int) -> None:
        """It opens a network namespace."""
        (self.root / str(pid) / "fd" / "3").symlink_to(f"net:[{NET}]")


@pytest.fixture
def proc(tmp_path: Path, need: Need) -> Proc:
    return Proc(counting(tmp_path, need))


def holders(proc: Proc, budget: int = 1000) -> Holders:
    return Holders(Nsfs(Reader(), str(proc.root)), 1, budget)


def held(found: Holders, proc: Proc) -> bool:
    return ("net", NET) in found.find(proc.processes, {}, None)


def test_one_that_rests_is_read_when_it_has_run(proc: Proc) -> None:
    seen, found = proc.start(10), holders(proc)
    assert not held(found, proc)
    proc.open(10)
    assert not held(found, proc)  # nothing tells that it has run
    seen.ran = b"2 0 2\n"
    assert held(found, proc)
    assert held(found, proc)  # as it was read


def test_one_with_threads_is_read_though_the_first_rests(proc: Proc) -> None:
    proc.start(10, threads=2)
    found = holders(proc)
    assert not held(found, proc)
    proc.open(10)
    assert held(found, proc)


@pytest.mark.parametrize("ran", [b"", b"0 0 0\n"])
def test_where_the_kernel_does_not_count_all_are_read(proc: Proc, ran: bytes) -> None:
    proc.start(10).ran = ran
    found = holders(proc)
    assert not held(found, proc)
    proc.open(10)
    assert held(found, proc)


def test_those_that_rest_make_the_others_turns_come_sooner(proc: Proc) -> None:
    """Of a hundred each, with a budget for ten processes that are read."""

    def turns(rest: bool) -> int:
        found = holders(proc, budget=80)
        for seen in proc.processes.values():
            seen.listed = seen.ran if rest else b""
        late = proc.processes[max(proc.processes)]
        late.listed = b""
        for number in range(200):
            if not rest:
                for seen in proc.processes.values():
                    seen.listed = b""
            if held(found, proc):
                return number
        return 200

    for pid in range(100, 200):
        proc.start(pid)
    proc.open(199)
    assert 0 < turns(rest=True) < turns(rest=False) <= 10
