"""What the passes see over time, on real cgroups of this kernel."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.kernel.eventfd import ControlEvents
from tests.live import lab
from tests.live.holder import (
    LIMIT,
    RESERVATION,
    USAGE,
    V1,
    M,
    cache,
    cgroup,
    end,
    figure,
    holder,
    within,
)
from tests.samples import scrape
from tests.waiting import deadline, until


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector(config.load(None, {"collectors.memory.sample_interval": 0.1}))
    yield made
    made.close()


def test_excess_and_time_above_the_reservation_are_counted(top: Path, collector: Collector) -> None:
    made = cgroup(top, "over", **{RESERVATION: 16 * M})
    free = cgroup(top, "free")
    samples = scrape(collector)
    assert figure(samples, made, "reservation_exceeded_seconds_total") == 0
    assert figure(samples, made, "reservation_excess_bytes") == 0
    process = holder(made, 40)
    try:
        before = time.monotonic()
        samples = scrape(collector)
        first = time.monotonic()
        excess = figure(samples, made, "reservation_excess_bytes")
        assert excess is not None and 24 * M <= excess < 40 * M
        # It is charged in batches: up to 64 pages a processor may come or go meanwhile.
        assert abs(excess - (int((made / USAGE).read_text()) - 16 * M)) <= M
        assert figure(samples, made, "reservation_exceeded_seconds_total") == 0
        time.sleep(0.3)
        second = time.monotonic()
        samples = scrape(collector)
        after = time.monotonic()
    finally:
        end(process)
    above = figure(samples, made, "reservation_exceeded_seconds_total")
    assert above is not None and second - first - 0.001 <= above <= after - before + 0.001
    assert figure(samples, free, "reservation_exceeded_seconds_total") is None
    scrape(collector)  # the pass that sees it below ends the time above
    ended = figure(scrape(collector), made, "reservation_exceeded_seconds_total")
    time.sleep(0.1)
    assert figure(scrape(collector), made, "reservation_exceeded_seconds_total") == ended


def test_limit_hits_are_counted_from_the_last_kill(
    top: Path, collector: Collector, tmp_path: Path
) -> None:
    made = cgroup(top, "hit", **{LIMIT: 16 * M})
    assert figure(scrape(collector), made, "limit_hits_since_oom_kill") == 0
    assert within(made, *cache(tmp_path, 48)) == 0
    samples = scrape(collector)
    hits = figure(samples, made, "failcnt_total")
    assert hits is not None and hits > 0
    assert figure(samples, made, "limit_hits_since_oom_kill") == hits
    lab.kill_by_limit(made)
    samples = scrape(collector)
    at_kill = figure(samples, made, "failcnt_total")
    assert at_kill is not None and at_kill > hits
    assert figure(samples, made, "limit_hits_since_oom_kill") == 0
    within(made, *cache(tmp_path, 48))
    samples = scrape(collector)
    since = figure(samples, made, "failcnt_total")
    assert since is not None
    assert figure(samples, made, "limit_hits_since_oom_kill") == since - at_kill > 0
    if V1:
        (made / "memory.failcnt").write_text("0")
        # It is read anew when something else changes, or in its turn.
        until(lambda: figure(scrape(collector), made, "limit_hits_since_oom_kill") == 0)
    late = Collector(config.load(None, {}))  # cannot tell what was before the kill and what after
    try:
        assert figure(scrape(late), made, "limit_hits_since_oom_kill") is None
    finally:
        late.close()


def test_a_kill_counts_whose_cgroup_is_left_out(top: Path, tmp_path: Path) -> None:
    made = cgroup(top, "hit", **{LIMIT: 16 * M})
    if not V1:
        (made / "cgroup.subtree_control").write_text("+memory")
    below = cgroup(made, "below")
    collector = Collector(config.load(None, {"collection.cgroup_deny": ("/below$",)}))
    try:
        assert figure(scrape(collector), made, "limit_hits_since_oom_kill") == 0
        assert within(below, *cache(tmp_path, 48)) == 0
        samples = scrape(collector)
        hits = figure(samples, made, "limit_hits_since_oom_kill")
        assert hits is not None and hits > 0
        assert figure(samples, below, "usage_bytes") is None
        lab.kill_by_limit(below)
        assert figure(scrape(collector), made, "limit_hits_since_oom_kill") == 0
    finally:
        collector.close()


def test_the_highest_sample_near_the_limit_is_shown(top: Path, collector: Collector) -> None:
    near, far = cgroup(top, "near"), cgroup(top, "far", **{LIMIT: 1024 * M})
    holders = [holder(near, 90), holder(far, 8)]
    try:
        (near / LIMIT).write_text(str(int((near / USAGE).read_text()) + 6 * M))
        samples = scrape(collector)
        assert figure(samples, near, "peak_since_last_pass_bytes") is None  # there was none before
        for one in holders:
            assert one.stdin is not None
            one.stdin.write("4\n")
            one.stdin.flush()
        for one in holders:
            assert one.stdout is not None
            assert one.stdout.readline() == "let go\n"
        samples = scrape(collector)
        peak = figure(samples, near, "peak_since_last_pass_bytes")
        now, limit = figure(samples, near, "usage_bytes"), figure(samples, near, "limit_bytes")
        assert peak is not None and now is not None and limit is not None
        assert now + 3 * M < peak <= limit
        assert figure(samples, far, "peak_since_last_pass_bytes") is None
    finally:
        for one in holders:
            end(one)


@pytest.mark.skipif(V1, reason="v1 has no memory.peak")
def test_the_peak_between_two_passes_is_the_kernels(top: Path) -> None:
    made = cgroup(top, "peaks")
    if not (made / "memory.peak").exists() or not (made / "memory.peak").stat().st_mode & 0o200:
        pytest.skip("memory.peak can be reset since Linux 6.12")
    collector = Collector(config.load(None, {"collectors.memory.reset_peak": True}))
    one = holder(made, 16)
    try:
        assert figure(scrape(collector), made, "peak_since_last_pass_bytes") is None
        assert one.stdin is not None and one.stdout is not None
        one.stdin.write("32\n")
        one.stdin.flush()
        assert one.stdout.readline() == "let go\n"
        samples = scrape(collector)
        peak = figure(samples, made, "peak_since_last_pass_bytes")
        now = figure(samples, made, "usage_bytes")
        assert peak is not None and now is not None and now + 30 * M < peak < now + 48 * M
        peak = figure(scrape(collector), made, "peak_since_last_pass_bytes")
        assert peak is not None and peak < now + 8 * M
        kept = figure(samples, made, "peak_bytes")
        assert kept is not None and kept >= now + 30 * M  # others still see the whole life's
    finally:
        end(one)
        collector.close()


@pytest.mark.skipif(V1, reason="v1 has no memory.high")
def test_high_events_rise_when_it_is_breached(
    top: Path, collector: Collector, tmp_path: Path
) -> None:
    made = cgroup(top, "high", **{"memory.high": 24 * M})
    assert figure(scrape(collector), made, "high_events_total") == 0
    assert within(made, *cache(tmp_path, 64)) == 0
    samples = scrape(collector)
    events = dict(line.split() for line in (made / "memory.events.local").read_text().splitlines())
    assert figure(samples, made, "high_events_total") == int(events["high"]) > 0
    assert figure(samples, made, "failcnt_total") == 0
    assert figure(samples, made, "oom_kills_total") == 0
    scanned = figure(samples, made, "scanned_pages_total", by="direct")
    reclaimed = figure(samples, made, "reclaimed_pages_total", by="direct")
    assert scanned is not None and reclaimed is not None and scanned >= reclaimed > 0


@pytest.mark.skipif(V1, reason="v1 has no memory.low")
def test_low_events_rise_where_it_is_breached(
    top: Path, collector: Collector, tmp_path: Path
) -> None:
    parent = cgroup(top, "parent", **{"memory.max": 32 * M})
    (parent / "cgroup.subtree_control").write_text("+memory")
    made = cgroup(parent, "low", **{"memory.low": 64 * M})
    assert figure(scrape(collector), made, "low_events_total") == 0
    assert within(made, *cache(tmp_path, 64)) == 0
    samples = scrape(collector)
    low = figure(samples, made, "low_events_total")
    assert low is not None and low > 0
    assert figure(samples, parent, "low_events_total") == 0
    hits = figure(samples, parent, "failcnt_total")
    assert hits is not None and hits > 0
    assert figure(samples, made, "failcnt_total") == 0
    # Its parent is given none, so below that its own is worth nothing to the host.
    assert figure(samples, parent, "low_overcommitted_bytes") == 64 * M
    assert figure(samples, made, "effective_low_bytes") == 0


@pytest.mark.skipif(not V1, reason="v2 has no memory.pressure_level")
def test_pressure_notifications_are_the_kernels(
    top: Path, collector: Collector, tmp_path: Path
) -> None:
    made = cgroup(top, "pressed", **{LIMIT: 16 * M})
    free = cgroup(top, "free")
    levels = ("low", "medium", "critical")
    samples = scrape(collector)
    name = "reclaim_pressure_events_total"
    assert [figure(samples, made, name, level=level) for level in levels] == [0, 0, 0]
    assert figure(samples, free, name, level="low") is None
    directory = os.open(made, os.O_PATH | os.O_DIRECTORY)
    oracle = [ControlEvents(directory, "memory.pressure_level", f"{one},local") for one in levels]
    os.close(directory)
    told = [0, 0, 0]
    end_of_wait = deadline(20)
    try:
        within(made, *cache(tmp_path, 48))
        lab.kill_by_limit(made)
        while True:  # a work queue notifies, sooner or later
            told = [sum(pair) for pair in zip(told, [one.read() for one in oracle], strict=True)]
            samples = scrape(collector)
            shown = [figure(samples, made, name, level=level) for level in levels]
            if shown == told and told[0] >= told[1] >= told[2] > 0:
                break
            assert time.monotonic() < end_of_wait, (shown, told)
    finally:
        for one in oracle:
            one.close()
    deaf = Collector(config.load(None, {"collectors.memory.pressure_notifications": 0}))
    try:
        assert figure(scrape(deaf), made, name, level="low") is None
    finally:
        deaf.close()


TRACED = """
import os, subprocess, sys
from nsexporter.kernel.tracefs import ReclaimTrace
cgroup, python, program = sys.argv[1:]
tracing, event = "/sys/kernel/tracing", "mm_vmscan_memcg_reclaim_end"
oracle = f"{tracing}/instances/oracle-{os.getpid()}"
for attempt in range(20):  # others of the machine may reclaim too, between two looks
    trace = ReclaimTrace(tracing, event)
    os.mkdir(oracle)
    try:
        open(f"{oracle}/buffer_size_kb", "w").write("1024")
        open(f"{oracle}/events/vmscan/{event}/enable", "w").write("1")
        subprocess.run(
            [python, "-c", program],
            preexec_fn=lambda: open(f"{cgroup}/cgroup.procs", "w").write("0") and None,
        )
        trace.look()
        pages = [int(l.split("=")[1]) for l in open(f"{oracle}/trace") if "nr_reclaimed=" in l]
        told = trace.rounds, trace.pages
        if told == (len(pages), sum(pages)):
            print("the same", told[0] > 0, told[1] > 0)
            break
    finally:
        trace.close()
        os.rmdir(oracle)
print("nsexporter" in os.listdir(f"{tracing}/instances"))
"""


def test_rounds_of_reclaim_are_those_of_the_trace(top: Path, tmp_path: Path) -> None:
    """By the event of a limit's reclaim, whose record is that of a soft limit's."""
    made = cgroup(top, "traced", **{LIMIT: 16 * M})
    mount = "mount -t tracefs tracefs /sys/kernel/tracing && exec "
    program = cache(tmp_path, 48)[-1]
    told = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} "$@"', "sh", sys.executable, "-c", TRACED,
         str(made), sys.executable, program],
        capture_output=True, text=True,
    )  # fmt: skip
    if "tracefs" in told.stderr and "mount" in told.stderr:
        pytest.skip(f"tracefs cannot be mounted: {told.stderr}")
    assert (told.stdout, told.stderr) == ("the same True True\nFalse\n", "")


@pytest.mark.skipif(not V1, reason="v2 cannot hold a process that is to be killed")
def test_headroom_at_the_kill_is_below_one_allocation(top: Path, collector: Collector) -> None:
    made = cgroup(top, "held", **{LIMIT: 16 * M})
    (made / "memory.oom_control").write_text("1")  # who would be killed waits
    with lab.process(made, *lab.hog(64)):
        until(lambda: figure(scrape(collector), made, "under_oom") == 1, 20)
        # Anew: the pass that saw it first may have read the usage before. The kernel charges 64
        # pages at a time (MEMCG_CHARGE_BATCH) and takes back from a CPU what it did not use.
        headroom = figure(scrape(collector), made, "headroom_bytes")
        assert headroom is not None and headroom < 64 * os.sysconf("SC_PAGE_SIZE")
        (made / "memory.oom_control").write_text("0")


def test_the_peak_at_a_kill_was_the_limit_but_for_one_allocation(
    top: Path, collector: Collector
) -> None:
    made = cgroup(top, "killed", **{LIMIT: 16 * M})
    lab.kill_by_limit(made)
    samples = scrape(collector)
    peak, limit = figure(samples, made, "peak_bytes"), figure(samples, made, "limit_bytes")
    if peak is None:
        pytest.skip("memory.peak came with Linux 5.19")
    assert limit is not None and limit - os.sysconf("SC_PAGE_SIZE") < peak <= limit
