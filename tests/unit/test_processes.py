"""Which processes a scan reads again, in a procfs made of plain files."""

from __future__ import annotations

import shutil
from itertools import count
from pathlib import Path

import pytest

from nsexporter.kernel.files import Reader
from nsexporter.kernel.processes import LINKS, Processes

HOST = 4026531000


class Proc:
    """A procfs with what a scan reads of it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._numbers = count()

    def start(self, pid: int, ran: str = "1000 20 3") -> None:
        """A new process, in the place of one of that PID if there is one."""
        made = self.root.parent / f"made-{next(self._numbers)}"  # now, so that its inode is new
        (made / "ns").mkdir(parents=True)
        if (self.root / str(pid)).exists():
            self.end(pid)
        made.rename(self.root / str(pid))
        self.enter(pid)
        self.runs(pid, ran)

    def enter(self, pid: int, **namespaces: int) -> None:
        """Its namespaces: the host's, but for these."""
        self.lose(pid)
        for number, name in enumerate(LINKS):
            ns_type = name.removesuffix("_for_children")
            inode = namespaces.get(name, HOST + number)
            (self.root / str(pid) / "ns" / name).symlink_to(f"{ns_type}:[{inode}]")

    def lose(self, pid: int) -> None:
        """Its namespaces are gone, as a zombie's are."""
        for link in (self.root / str(pid) / "ns").iterdir():
            link.unlink()

    def runs(self, pid: int, ran: str) -> None:
        """What its schedstat tells."""
        (self.root / str(pid) / "schedstat").write_text(f"{ran}\n")

    def end(self, pid: int) -> None:
        """Nothing is left of it."""
        shutil.rmtree(self.root / str(pid))


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    root = tmp_path / "proc"
    (root / "sys").mkdir(parents=True)
    return Proc(root)


def processes(proc: Proc, *, refresh: int = 1, max_threads: int = 0) -> Processes:
    return Processes(Reader(), str(proc.root), refresh=refresh, max_threads=max_threads)


def net(found: Processes, pid: int, listed: frozenset[int] = frozenset()) -> int | None:
    """The net namespace of a process, as a scan sees it."""
    seen = found.scan(listed).processes.get(pid)
    return None if seen is None else seen.namespaces["net"]


def test_what_has_not_changed_is_the_same_object(proc: Proc) -> None:
    proc.start(10)
    proc.start(9)
    found = processes(proc)
    first = found.scan()
    assert list(first.processes) == [9, 10]
    assert first.processes[9].namespaces is first.processes[10].namespaces
    proc.runs(9, "2000 20 4")
    assert found.scan().processes is first.processes
    proc.start(11)
    second = found.scan()
    assert list(second.processes) == [9, 10, 11]
    assert second.processes[9] is first.processes[9]
    proc.end(9)
    assert list(found.scan().processes) == [10, 11]


def test_one_that_has_not_run_is_not_read_again(proc: Proc) -> None:
    proc.start(10)
    found = processes(proc)
    before = net(found, 10)
    proc.enter(10, net=7)  # of a real process this cannot be
    assert net(found, 10) == before
    proc.runs(10, "1000 20 4")
    assert net(found, 10) == 7
    proc.enter(10)
    proc.runs(10, "1001 20 4")
    assert net(found, 10) == before


@pytest.mark.parametrize("ran", ["0 0 0", None])
def test_where_the_kernel_does_not_count_all_are_read(proc: Proc, ran: str | None) -> None:
    proc.start(10, ran or "")
    if ran is None:
        (proc.root / "10" / "schedstat").unlink()
    found = processes(proc)
    assert net(found, 10) != 7
    proc.enter(10, net=7)
    assert net(found, 10) == 7


def test_with_threads_one_that_has_not_run_is_read_too(proc: Proc) -> None:
    proc.start(10)
    thread = proc.root / "10" / "task" / "11" / "ns"
    shutil.copytree(proc.root / "10" / "ns", thread, symlinks=True)
    found = processes(proc, max_threads=5)
    assert found.scan().processes[10].threads == ()
    (thread / "net").unlink()
    (thread / "net").symlink_to("net:[7]")
    assert found.scan().processes[10].threads == (("11", "net", 7),)


def test_a_pid_that_is_used_anew_is_another_process(proc: Proc) -> None:
    proc.start(10)
    found = processes(proc, refresh=1000)
    for _ in range(3):
        before = found.scan().processes[10]
    proc.start(10)
    proc.enter(10, net=7)
    after = found.scan().processes[10]
    assert after is not before
    assert after.namespaces["net"] == 7
    proc.start(10)
    proc.lose(10)
    assert found.scan().processes == {}


def test_a_new_one_is_read_again_in_the_next_scan_and_then_in_turn(proc: Proc) -> None:
    found = processes(proc, refresh=4)
    proc.start(10)
    assert net(found, 10) != 1
    told = []
    for number in range(1, 10):
        proc.enter(10, net=number)
        proc.runs(10, f"1000 20 {10 + number}")
        told.append(net(found, 10))
    assert told[0] == 1
    turns = [number for number, one in enumerate(told[1:], 2) if one == number]
    assert len(turns) == 2
    assert turns[1] - turns[0] == 4


def test_one_that_leaves_its_cgroup_is_read_now_and_in_the_next_scan(proc: Proc) -> None:
    found = processes(proc, refresh=1000)
    proc.start(10)
    listed = frozenset({10})
    for _ in range(3):
        assert net(found, 10, listed) is not None
    proc.runs(10, "1000 20 9")  # it ends, its namespaces are still there
    assert net(found, 10) is not None
    proc.runs(10, "1000 20 10")
    proc.lose(10)
    assert net(found, 10) is None


def test_what_is_shared_by_processes_that_are_gone_is_forgotten(proc: Proc) -> None:
    found = processes(proc)
    proc.start(10)
    link = proc.root / "10" / "ns" / "net"
    for number in range(1100):
        link.unlink()
        link.symlink_to(f"net:[{number}]")
        proc.runs(10, f"1000 20 {number + 5}")
        found.scan()
    assert len(found._shared) < 1000
    assert net(found, 10) == 1099
