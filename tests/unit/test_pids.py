"""When a procfs is listed, in one made of plain files, whose directories count themselves alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from nsexporter.kernel.files import Reader
from nsexporter.kernel.pids import Pids
from tests.conftest import Need
from tests.procfs import counting


class Proc:
    """A procfs of processes 1 to 40."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for pid in range(1, 41):
            self.start(pid)
        self.gave(40)

    def gave(self, pid: int) -> None:
        """That PID was the last to be given."""
        (self.root / "loadavg").write_text(f"0.00 0.01 0.05 1/80 {pid}\n")

    def start(self, pid: int) -> None:
        (self.root / str(pid)).mkdir()
        (self.root / str(pid) / "status").write_text(f"Name:\tsh\nTgid:\t{pid}\nNgid:\t0\n")

    def end(self, pid: int) -> None:
        (self.root / str(pid) / "status").unlink()
        (self.root / str(pid)).rmdir()

    @property
    def there(self) -> set[int]:
        return {int(path.name) for path in self.root.iterdir() if path.name.isdigit()}


@pytest.fixture
def proc(tmp_path: Path, need: Need) -> Proc:
    return Proc(counting(tmp_path, need))


def pids(proc: Proc, refresh: int = 1000) -> Pids:
    found = Pids(Reader(), str(proc.root), refresh, counted=True)
    assert set(found.look()) == proc.there
    return found


def test_a_pid_out_of_order_is_seen(proc: Proc) -> None:
    found = pids(proc)
    proc.start(30_000)  # as clone3 with set_tid
    assert set(found.look()) == proc.there


def test_pids_from_the_start_again_are_seen(proc: Proc) -> None:
    found = pids(proc)
    proc.end(2)
    assert set(found.look()) == proc.there
    proc.end(7)
    proc.start(2)
    proc.gave(2)
    assert set(found.look()) == proc.there


def test_one_for_another_out_of_order_is_seen_in_turn(proc: Proc) -> None:
    found = pids(proc, refresh=3)
    proc.end(7)
    proc.start(30_000)
    assert 30000 not in found.look()
    assert set(found.look()) == proc.there


def test_a_thread_is_no_process(proc: Proc) -> None:
    found = pids(proc)
    before = found.look()
    (proc.root / "41").mkdir()  # as /proc has it, which does not list it
    (proc.root / "41" / "status").write_text("Tgid:\t40\n")
    proc.gave(41)
    proc.end(7)
    assert found.look() is before  # one directory more, one less: nobody has come or gone


def test_more_than_can_be_looked_for_are_listed(proc: Proc) -> None:
    found = pids(proc)
    proc.gave(4_000_000)
    proc.start(3_000_000)
    assert set(found.look()) == proc.there


def test_without_a_last_pid_all_is_listed(proc: Proc) -> None:
    (proc.root / "loadavg").write_text("0.00 0.01 0.05\n")
    found = pids(proc)
    proc.end(7)
    proc.start(41)
    assert set(found.look()) == proc.there
