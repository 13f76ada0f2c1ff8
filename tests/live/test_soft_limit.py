"""Real soft limit reclaim, on a host that runs out of memory: in a guest only."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.kernel.parse import meminfo
from tests.live import lab
from tests.live.holder import M, cgroup, end, figure, holder
from tests.samples import of, scrape

SOFT = "memory.soft_limit_in_bytes"
HUGE_PAGES = Path("/proc/sys/vm/nr_hugepages")
SPARE = 320 * M


def available() -> int:
    return meminfo(Path("/proc/meminfo").read_bytes())[b"MemAvailable"]


@pytest.fixture
def scarce() -> Iterator[None]:
    """Swap, tracefs, and little memory: the rest is set aside for huge pages that nobody uses."""
    device = os.environ.get("NSEXPORTER_TEST_SWAP")
    if device is None or lab.version() != "v1":
        pytest.skip("it takes all memory of the host, and v1: only in a guest")
    with ExitStack() as stack:
        stack.enter_context(lab.swap_on(device))
        tracefs = "/sys/kernel/tracing"
        if not os.listdir(tracefs):
            subprocess.run(["mount", "-t", "tracefs", "tracefs", tracefs], check=True)
            stack.callback(subprocess.run, ["umount", tracefs])
        HUGE_PAGES.write_text(str((available() - SPARE) // (2 * M)))
        stack.callback(HUGE_PAGES.write_text, "0")
        yield


def test_what_is_above_its_soft_limit_is_reclaimed_when_the_host_runs_short(scarce: None) -> None:
    root = lab.memory_root()
    assert root is not None
    settings = {"collectors.memory.soft_limit_trace": True}
    with lab.tree(root) as top, ExitStack() as stack:
        collector = Collector(config.load(None, settings))
        stack.callback(collector.close)
        over = cgroup(top, "over", **{SOFT: 10 * M})
        below = cgroup(top, "below", **{SOFT: 200 * M})
        pressing = cgroup(top, "pressing")
        for made, megabytes in ((over, 64), (below, 40)):
            stack.callback(end, holder(made, megabytes))
        before = scrape(collector)
        excess = figure(before, over, "reservation_excess_bytes")
        assert excess is not None and excess > 50 * M
        assert figure(before, below, "reservation_excess_bytes") == 0
        rounds = of(before, "nsexporter_host_soft_limit_reclaims_total")
        assert rounds is not None
        stack.callback(end, holder(pressing, available() // M + 40))
        after = scrape(collector)
        left = figure(after, over, "reservation_excess_bytes")
        assert left is not None and left < excess - 16 * M
        swapped = figure(after, over, "swap_usage_bytes")
        assert swapped is not None and swapped > 16 * M
        kept = figure(after, below, "usage_bytes")
        assert kept is not None and kept > 40 * M
        assert figure(after, over, "failcnt_total") == 0
        assert figure(after, over, "oom_kills_total") == 0
        more = of(after, "nsexporter_host_soft_limit_reclaims_total")
        pages = of(after, "nsexporter_host_soft_limit_reclaimed_pages_total")
        assert more is not None and more > rounds
        assert pages is not None and pages * os.sysconf("SC_PAGE_SIZE") > 16 * M
