"""Storms of OOM kills: every kill is counted once, and nearly all have their cgroup.

NSEXPORTER_STORM_KILLS is how many there are in the storms that come as fast as they can (500),
NSEXPORTER_SOAK_KILLS in that of two a second (60; 500 take 250 s).
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.live import kills, lab
from tests.live.exporter import running
from tests.samples import Samples

FAST = int(os.environ.get("NSEXPORTER_STORM_KILLS", "500"))
SLOWLY = int(os.environ.get("NSEXPORTER_SOAK_KILLS", "60"))


def settings(tmp_path: Path, **oom: object) -> str:
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"oom": oom}))
    return f"--config.file={file}"


def judge(before: Samples, after: Samples, names: list[str], rise: int, most: int) -> float:
    """Fail where a kill was lost or counted twice; the part of the kills that has its cgroup.

    Others' kills on the host count too: they are in the rise, and in what is told of them. `most`
    has those too that came just before and since.
    """
    told = kills.by_cgroup(after, "/")
    for cgroup, count in kills.by_cgroup(before, "/").items():
        told[cgroup] = told.get(cgroup, 0) - count
    assert {name: told.get(name, 0) for name in names if told.get(name, 0) > 1} == {}
    named = sum(count for cgroup, count in told.items() if count > 0)
    assert rise <= named + kills.unattributed(after) - kills.unattributed(before) <= most
    return sum(told.get(name, 0) for name in names) / len(names)


def all_told(before: Samples, rise: int) -> Callable[[Samples], bool]:
    def holds(now: Samples) -> bool:
        named = sum(kills.by_cgroup(now, "/").values())
        named -= sum(kills.by_cgroup(before, "/").values())
        return named + kills.unattributed(now) - kills.unattributed(before) >= rise

    return holds


@pytest.mark.parametrize(
    ("count", "rate", "kmsg", "least"),
    [
        (FAST, None, "/dev/kmsg", 0.95),
        (SLOWLY, 2.0, "/dev/kmsg", 1.0),
        (FAST, None, "none", 0.8),
    ],
    ids=["fast", "two a second", "without the kernel log"],
)
def test_every_kill_of_a_storm_is_counted_once(
    top: Path, tmp_path: Path, count: int, rate: float | None, kmsg: str, least: float
) -> None:
    with running(settings(tmp_path, kmsg=kmsg)) as exporter:
        first, before, counted = kills.vmstat(), kills.scrape(exporter), kills.vmstat()
        names = kills.storm(top, range(count), rate)
        rise = kills.vmstat() - counted
        assert rise >= count
        after = kills.wait_for(exporter, all_told(before, rise), 30)
        named = judge(before, after, names, rise, kills.vmstat() - first)
        if kmsg == "none" and lab.version() == "v2":
            # A cgroup that is removed at once takes with it what its memory.events.local told. Of
            # how many that was read before depends on the machine (33 to 95 of 100 in guests);
            # the others are in the counter of the one above, and none is without a cgroup.
            above = kills.by_cgroup(after, lab.path_of(top)).get(lab.path_of(top), 0)
            assert named >= 0.2
            named += above / count
            assert kills.unattributed(after) == kills.unattributed(before)
        assert named >= least


@pytest.mark.parametrize("kmsg", ["/dev/kmsg", "none"], ids=["kmsg", "no kmsg"])
def test_an_exporter_killed_in_the_middle_of_a_storm_goes_on(
    top: Path, tmp_path: Path, kmsg: str
) -> None:
    flag = settings(tmp_path, state_file=str(tmp_path / "oom.json"), kmsg=kmsg)
    names: list[str] = []
    with running(flag) as exporter:
        first, before, counted = kills.vmstat(), kills.scrape(exporter), kills.vmstat()
        count = FAST * 3 // 10
        thread = threading.Thread(target=lambda: names.extend(kills.storm(top, range(count), 20)))
        thread.start()
        kills.wait_for(
            exporter, lambda now: len(kills.by_cgroup(now, lab.path_of(top))) >= count // 8, 60
        )
        exporter.process.send_signal(signal.SIGKILL)
        exporter.process.wait()
    with running(flag) as exporter:
        kills.scrape(exporter)
        thread.join()
        rise = kills.vmstat() - counted
        after = kills.wait_for(exporter, all_told(before, rise), 30)
        judge(before, after, names, rise, kills.vmstat() - first)
