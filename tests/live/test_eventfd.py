"""Notifications of real v1 control files."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter.kernel.eventfd import ControlEvents
from tests.live import lab


@pytest.fixture
def directory(top: Path) -> Iterator[int]:
    if lab.version() != "v1":
        pytest.skip("v2 has no cgroup.event_control")
    fd = os.open(top, os.O_PATH | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def test_an_oom_and_the_removal_are_told(top: Path, directory: int) -> None:
    (top / "memory.limit_in_bytes").write_text(str(16 << 20))
    events = ControlEvents(directory, "memory.oom_control")
    try:
        assert events.read() == 0
        lab.kill_by_limit(top)
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
        lab.kill_by_limit(top)
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
