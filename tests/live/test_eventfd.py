"""Notifications of real v1 control files."""

from __future__ import annotations

import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter.kernel.eventfd import ControlEvents
from tests.conftest import Need
from tests.live import lab


@pytest.fixture
def directory(top: Path) -> Iterator[int]:
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


@pytest.fixture
def top(need: Need) -> Iterator[Path]:
    root = lab.memory_root()
    need("live", root is not None, "no memory hierarchy to make cgroups in (or not root)")
    if lab.version() != "v1":
        pytest.skip("v2 has no cgroup.event_control")
    assert root is not None
    with lab.tree(root) as made:
        yield made


def test_an_oom_and_the_removal_are_told(top: Path, directory: int) -> None:
    (top / "memory.limit_in_bytes").write_text(str(16 << 20))
    events = ControlEvents(directory, "memory.oom_control")
    try:
        assert events.read() == 0
        killed = subprocess.run(
            lab.hog(64),
            preexec_fn=lambda: (top / "cgroup.procs").write_text("0") and None,
            check=False,
        )
        assert killed.returncode == -9
        assert events.read() >= 1
        assert events.read() == 0
        top.rmdir()
        assert select.select([events], [], [], 5)[0] == [events]
    finally:
        events.close()


def test_a_level_of_memory_pressure_is_told(top: Path, directory: int) -> None:
    (top / "memory.limit_in_bytes").write_text(str(16 << 20))
    events = ControlEvents(directory, "memory.pressure_level", "low")
    try:
        subprocess.run(
            lab.hog(64),
            preexec_fn=lambda: (top / "cgroup.procs").write_text("0") and None,
            check=False,
        )
        assert select.select([events], [], [], 5)[0] == [events]
    finally:
        events.close()


def test_a_file_without_events_is_an_error_and_leaves_no_descriptor(directory: int) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match="Invalid argument"):
        ControlEvents(directory, "memory.stat")
    with pytest.raises(FileNotFoundError):
        ControlEvents(directory, "memory.nothing")
    assert len(list(Path("/proc/self/fd").iterdir())) == before
