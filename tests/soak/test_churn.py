"""Cgroups that are made, renamed and removed at 200 a second while Prometheus scrapes."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from tests.live import lab
from tests.live.exporter import running

SECONDS = float(os.environ.get("NSEXPORTER_SOAK_SECONDS", "60"))
RATE = 200  # changes of the tree a second


def churn(top: Path, stop: threading.Event, done: list[int], *, rename: bool) -> None:
    """Make, rename and remove cgroups, three changes a turn, RATE a second."""
    started, number = time.monotonic(), 0
    while not stop.is_set():
        name, moved = top / f"c{number}", top / f"r{number}"
        (name / "below").mkdir(parents=True)
        if rename:
            name.rename(moved)
        else:
            moved = name
        (moved / "below").rmdir()
        moved.rmdir()
        number += 1
        done[0] += 5 if rename else 4
        ahead = done[0] / RATE - (time.monotonic() - started)
        if ahead > 0:
            stop.wait(ahead)


def test_200_changes_a_second_lose_no_scrape_and_log_no_traceback(top: Path) -> None:
    v1 = lab.version() == "v1"
    stop, done = threading.Event(), [0]
    with running("--collection.max-age=0s") as exporter:
        (top / "stays").mkdir()
        stays = f"/{top.name}/stays"
        thread = threading.Thread(target=churn, args=(top, stop, done), kwargs={"rename": v1})
        thread.start()
        scrapes, started = 0, time.monotonic()
        descriptors = Path(f"/proc/{exporter.process.pid}/fd")
        try:
            while time.monotonic() - started < SECONDS:
                status, _, body = exporter.get()
                assert status == 200
                scrapes += 1
                samples = [
                    sample
                    for family in text_string_to_metric_families(body.decode())
                    for sample in family.samples
                ]
                keys = [(sample.name, *sorted(sample.labels.items())) for sample in samples]
                assert len(keys) == len(set(keys)), "a series is there twice"
                assert ("nsexporter_cgroup_processes", ("cgroup", stays)) in keys
                up = next(s.value for s in samples if s.name == "nsexporter_up")
                errors = [s for s in samples if s.name == "nsexporter_read_errors_total"]
                assert (up, errors) == (1, [])
                if scrapes == 5:
                    before = len(os.listdir(descriptors))
                stop.wait(max(0.0, started + scrapes - time.monotonic()))
        finally:
            stop.set()
            thread.join()
        exporter.get()
        assert len(os.listdir(descriptors)) <= before + 40
    assert scrapes >= SECONDS * 0.5
    assert done[0] >= SECONDS * RATE * 0.5
    assert not [line for line in exporter.log if "Traceback" in line or "level=error" in line]
