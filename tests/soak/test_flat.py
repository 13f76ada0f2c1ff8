"""What the exporter uses stays flat: a day's worth of containers in ten minutes, seconds in CI."""

from __future__ import annotations

import os
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from nsexporter.kernel.interface_files import PIDS_FILES, V1_FILES
from tests.live import lab
from tests.live.exporter import Exporter, running
from tests.waiting import until

SECONDS = float(os.environ.get("NSEXPORTER_SOAK_SECONDS", "40"))
ALIVE = 50  # containers at a time
RATE = 200  # that end, and as many that start, a second: 120 000 in ten minutes


@dataclass(frozen=True, slots=True)
class Use:
    """What a process holds."""

    resident: int  # bytes
    descriptors: int
    watches: int  # of inotify
    threads: int

    @classmethod
    def of(cls, exporter: Exporter) -> Use:
        process = Path(f"/proc/{exporter.process.pid}")
        resident = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
        assert resident
        watches = 0
        for descriptor in os.listdir(process / "fdinfo"):
            try:
                watches += (process / "fdinfo" / descriptor).read_text().count("inotify wd:")
            except FileNotFoundError:
                continue
        return cls(
            int(resident[1]) << 10,
            len(os.listdir(process / "fd")),
            watches,
            len(os.listdir(process / "task")),
        )


def flap(docker: Path, stop: threading.Event, ended: list[int]) -> None:
    """Containers that end, each replaced by another, RATE a second."""
    alive: list[Path] = []
    started = time.monotonic()
    while not stop.is_set():
        container = docker / os.urandom(32).hex()
        container.mkdir()
        alive.append(container)
        if len(alive) > ALIVE:
            alive.pop(0).rmdir()
            ended[0] += 1
        ahead = ended[0] / RATE - (time.monotonic() - started)
        if ahead > 0:
            stop.wait(ahead)


def test_churn_leaves_memory_descriptors_watches_and_threads_flat(top: Path) -> None:
    """After a quarter of the time it holds what it holds in the end."""
    root = top / "root"
    root.mkdir()
    stop, ended = threading.Event(), [0]
    with running("--collection.max-age=0s", by=lab.alone(root)) as exporter:
        docker = root / "docker"
        docker.mkdir()
        thread = threading.Thread(target=flap, args=(docker, stop, ended))
        thread.start()
        try:
            started = time.monotonic()
            early = None
            while time.monotonic() - started < SECONDS:
                assert exporter.get()[0] == 200
                if early is None and time.monotonic() - started > SECONDS / 4:
                    early = Use.of(exporter)
                time.sleep(0.5)
            assert early is not None
            late = Use.of(exporter)
        finally:
            stop.set()
            thread.join()
        print(f"\n{ended[0]} containers in {SECONDS:.0f} s: {early}, then {late}")
        assert ended[0] > SECONDS * RATE / 4
        assert "Traceback" not in "".join(exporter.log)
    # Kills, names and identities of the dead may stay for a while, in bounded numbers.
    assert late.resident <= early.resident + (4 << 20)
    assert late.descriptors <= early.descriptors + 2 * ALIVE
    assert late.watches <= early.watches + 2 * ALIVE
    assert late.threads <= early.threads + 1


def test_10000_cgroups_at_once_are_all_seen_and_then_forgotten(top: Path) -> None:
    root = top / "root"
    root.mkdir()
    sample = b'nsexporter_cgroup_processes{cgroup="/c'
    with running("--collection.max-age=0s", by=lab.alone(root)) as exporter:
        exporter.get()
        before = Use.of(exporter)
        started = time.monotonic()
        for number in range(10_000):
            os.mkdir(f"{root}/c{number}")
        made = time.monotonic() - started
        until(lambda: exporter.get()[2].count(sample) == 10_000, 120)
        seen = time.monotonic() - started
        for number in range(10_000):
            os.rmdir(f"{root}/c{number}")
        until(lambda: exporter.get()[2].count(sample) == 0, 120)
        after = Use.of(exporter)
        print(f"\nmade in {made:.1f} s, all seen after {seen:.1f} s: {before}, then {after}")
        # The one that is left was busy: its files are kept open for a while.
        assert after.descriptors <= before.descriptors + len((*V1_FILES, *PIDS_FILES))
        assert after.watches <= before.watches + 10
        errors = re.findall(rb"^nsexporter_read_errors_total.*$", exporter.get()[2], re.MULTILINE)
        assert errors == []
