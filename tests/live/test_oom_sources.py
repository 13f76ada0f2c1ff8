"""What tells of OOM kills where not everything may be read: each source alone, and told so."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import kills, lab
from tests.live.exporter import Exporter, running, setpriv
from tests.samples import Samples, capabilities_of, of


@pytest.fixture(autouse=True)
def needed(need: Need) -> None:
    need("live", shutil.which("setpriv") is not None, "no setpriv")


def sources(samples: Samples) -> dict[str, bool]:
    """What tells of kills."""
    return {
        dict(labels)["source"]: bool(value)
        for (name, labels), value in samples.items()
        if name == "nsexporter_oom_event_sources"
    }


def capable(samples: Samples) -> tuple[float, float, float]:
    """The capabilities kmsg, oom_counters and vmstat_oom_kill."""
    told = capabilities_of(samples)
    return told["kmsg"], told["oom_counters"], told["vmstat_oom_kill"]


def kmsg_for_everybody() -> bool:
    """Whether an ordinary user may read the kernel log."""
    restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text() != "0\n"
    return not restricted and bool(os.stat("/dev/kmsg").st_mode & 0o004)


def killed_and_gone(exporter: Exporter, top: Path, number: int = 0) -> tuple[str, Samples]:
    """A cgroup with a kill, removed at once, and what is told when that is counted anywhere."""
    above = lab.path_of(top)

    def count(now: Samples) -> float:  # the counter of the one above may be all that tells
        return kills.unattributed(now) + sum(kills.by_cgroup(now, above).values())

    before = count(kills.scrape(exporter))
    (name,) = kills.storm(top, range(number, number + 1))
    samples = kills.wait_for(exporter, lambda now: count(now) > before)
    assert count(samples) > before
    return name, samples


def is_told_in_full(exporter: Exporter, top: Path) -> None:
    """Of a kill in a cgroup that is removed at once the log tells all, sooner or later.

    The kernel writes the line that names the cgroup ten times in five seconds, for all the host.
    """
    for number in range(30):
        name, samples = killed_and_gone(exporter, top, number)
        if kills.by_cgroup(samples, name):
            break
        time.sleep(0.5)
    assert of(samples, "nsexporter_oom_kills_total", cgroup=name, constraint="memcg") == 1
    assert of(samples, "nsexporter_oom_last_kill_info", cgroup=name, task="dd") == 1


def test_an_ordinary_user_counts_by_the_cgroups_counters_and_the_hosts_total(top: Path) -> None:
    alive = kills.limited(top, "alive")
    name = lab.path_of(alive)
    with running(by=setpriv(())) as exporter:
        kmsg = kmsg_for_everybody()
        # On v1 only root may ask for notifications.
        told = {
            "counters": True, "kmsg": kmsg, "notifications": lab.version() == "v2", "vmstat": True,
        }  # fmt: skip
        samples = kills.wait_for(exporter, lambda now: sources(now) == told)
        assert sources(samples) == told
        assert capable(samples) == (kmsg, 1, 1)
        kills.kill(alive)
        samples = kills.wait_for(exporter, lambda now: bool(kills.by_cgroup(now, lab.path_of(top))))
        assert kills.by_cgroup(samples, lab.path_of(top)) == {name: 1}
        if not kmsg:
            assert of(samples, "nsexporter_oom_kills_total", cgroup=name, constraint="unknown") == 1
            killed_and_gone(exporter, top)  # no name, and counted all the same


def test_cap_syslog_is_enough_for_victims_and_for_cgroups_that_are_gone(top: Path) -> None:
    with running(by=setpriv(("syslog",))) as exporter:
        assert capable(kills.scrape(exporter)) == (1, 1, 1)
        is_told_in_full(exporter, top)


def test_where_no_cgroup_can_be_read_the_kernel_log_tells(top: Path) -> None:
    script = 'umount -R -l /sys/fs/cgroup && exec "$0" "$@"'
    without = ("unshare", "--mount", "--propagation=private", "sh", "-c", script)
    with running(by=without) as exporter:
        samples = kills.scrape(exporter)
        assert sources(samples) == {
            "counters": False, "kmsg": True, "notifications": False, "vmstat": True,
        }  # fmt: skip
        assert capable(samples) == (1, 0, 1)
        is_told_in_full(exporter, top)
