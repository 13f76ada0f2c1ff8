"""Which processes are seen to come and go, against what /proc lists."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping

import pytest

from nsexporter.kernel.files import Reader
from nsexporter.kernel.pids import Pids
from nsexporter.kernel.procfs import Procfs
from tests.conftest import Need
from tests.waiting import until


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch, need: Need) -> list[str]:
    """The directories that were listed."""
    foreign = Procfs(Reader(), "/proc").in_foreign_pid_namespace()
    need("live", not foreign, "this is not the host's PID namespace")
    listed: list[str] = []
    scandir = os.scandir

    def counted(place: str) -> Iterator[os.DirEntry[str]]:
        listed.append(place)
        return scandir(place)

    monkeypatch.setattr(os, "scandir", counted)
    return listed


def pids(refresh: int = 1_000_000) -> Pids:
    return Pids(Reader(), "/proc", refresh, counted=True)


def listed() -> Mapping[int, int]:
    pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return {pid: os.stat(f"/proc/{pid}").st_ino for pid in pids}


def right(found: Pids) -> bool:
    """Whether a look gives what /proc lists; False where others came or went meanwhile."""
    before, shown = listed(), found.look()
    return before == shown == listed()


def settled(found: Pids) -> None:
    """Look until nothing came or went during the listing."""
    until(lambda: found.look() is found.look(), 60)


def test_what_comes_and_goes_is_seen_as_it_is_listed(listings: list[str]) -> None:
    chance, found = random.Random(1), pids()
    running: list[subprocess.Popen[bytes]] = []
    dead: list[subprocess.Popen[bytes]] = []
    stop = threading.Event()
    try:
        for _ in range(60):
            what = chance.choice(("start", "start", "thread", "kill", "reap", "nothing"))
            if what == "start":
                running.append(subprocess.Popen(["sleep", "600"]))
            elif what == "thread":
                threading.Thread(target=stop.wait, daemon=True).start()
            elif what == "kill" and running:
                running[0].kill()  # a zombie till it is reaped
                dead.append(running.pop(0))
            elif what == "reap" and dead:
                dead.pop().wait()
            until(lambda: right(found), 60)
    finally:
        stop.set()
        for process in running:
            process.kill()
        for process in (*running, *dead):
            process.wait()


def test_nothing_is_listed_where_none_has_gone(listings: list[str]) -> None:
    found = pids()

    def started() -> bool:
        settled(found)
        listings.clear()
        before = found.look()
        with subprocess.Popen(["sleep", "600"]) as process:
            after = found.look()
            process.kill()
        assert process.pid in after
        # Others come and go on a host: only where none did it is told by the counts.
        return not listings and after.keys() - before.keys() == {process.pid}

    until(started, 60)


def test_what_came_and_went_between_two_looks_is_not_listed(listings: list[str]) -> None:
    found = pids()

    def passed() -> bool:
        settled(found)
        listings.clear()
        before = found.look()
        subprocess.run([sys.executable, "-c", ""], check=True)
        return found.look() is before and not listings

    until(passed, 60)


def test_it_is_listed_in_turn_and_where_nothing_counts(listings: list[str]) -> None:
    found = pids(refresh=4)
    settled(found)
    listings.clear()
    for _ in range(8):
        found.look()
    assert len(listings) >= 2
    listings.clear()
    uncounted = Pids(Reader(), "/proc", 1_000_000, counted=False)
    uncounted.look()
    uncounted.look()
    assert listings == ["/proc", "/proc"]
