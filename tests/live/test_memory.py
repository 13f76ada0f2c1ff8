"""Every memory figure against `cat`, on real cgroups of this kernel."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.catalogue import CGROUP_METRICS
from nsexporter.collector import Collector
from nsexporter.kernel.interface_files import REFRESH
from tests.live import kills, lab
from tests.live.lab import path_of
from tests.samples import Samples, of, scrape
from tests.waiting import until


def test_every_cgroup_that_find_finds_is_there(top: Path, collector: Collector) -> None:
    (top / "a" / "b" / "c").mkdir(parents=True)
    root = lab.memory_root()

    def find() -> set[str]:
        command = ["find", str(root), "-type", "d", "-printf", "/%P\n"]
        return set(subprocess.run(command, capture_output=True, text=True).stdout.splitlines())

    def passed() -> bool:
        # Others make and remove cgroups too: only a pass with the same ones around it counts.
        before, shown = find(), paths(scrape(collector))
        assert path_of(top / "a" / "b" / "c") in shown
        return before == shown == find()

    until(passed, 60)


def paths(samples: Samples) -> set[str]:
    return {dict(labels)["cgroup"] for name, labels in samples if name == "nsexporter_cgroup_info"}


def test_every_value_equals_the_file(top: Path, collector: Collector) -> None:
    quiet = top / "quiet"
    quiet.mkdir()
    if lab.version() == "v1":
        (quiet / "memory.limit_in_bytes").write_text(str(64 << 20))
        (quiet / "memory.soft_limit_in_bytes").write_text(str(32 << 20))
        (quiet / "memory.swappiness").write_text("17")
    else:
        (quiet / "memory.max").write_text(str(64 << 20))
        (quiet / "memory.low").write_text(str(32 << 20))
    rows = {
        (metric.name, series.label_value): (metric.label, source.text)
        for metric in CGROUP_METRICS
        for series in metric.series
        if (source := series.v1 if lab.version() == "v1" else series.v2) is not None
        if re.fullmatch(r"memory\.[a-z_.]+( [a-z_]+)?", source.text)
        if source.text != "memory.pressure_level"  # which is written to, for notifications
    }

    def files() -> dict[tuple[str, str | None], float | None]:
        return {row: lab.kernel_value(quiet, text) for row, (_, text) in rows.items()}

    def told(samples: Samples) -> dict[tuple[str, str | None], float | None]:
        return {
            (name, value): of(
                samples, name, cgroup=path_of(quiet), **({label: value} if label and value else {})
            )
            for (name, value), (label, _) in rows.items()
        }

    with lab.process(quiet):
        # Until nothing was charged between two looks at the files, nor given back since.
        for _ in range(4 * REFRESH):
            before = files()
            shown = told(scrape(collector))
            if before == files() == shown:
                break
    assert shown == before
    assert sum(value is not None for value in shown.values()) > 25


@pytest.mark.parametrize("exact", [False, True], ids=["default", "exact"])
def test_processes_that_come_and_go_show_in_the_next_pass(top: Path, exact: bool) -> None:
    box = top / "box"
    box.mkdir()
    collector = Collector(config.load(None, {"collection.exact": exact}))
    with contextlib.closing(collector):
        for _ in range(3):  # within a second
            with lab.process(box) as started:
                assert _pids(collector, box) == (started.pid,)
            assert _pids(collector, box) == ()


def _pids(collector: Collector, cgroup: Path) -> tuple[int, ...]:
    snapshot = collector.collect()
    (pids,) = (one.pids for one in snapshot.cgroups if one.path == path_of(cgroup))
    return pids


def test_the_derived_figures_are_what_the_files_say(top: Path, collector: Collector) -> None:
    v1 = lab.version() == "v1"
    limit, usage = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if v1
        else ("memory.max", "memory.current")
    )
    parent, child = top / "parent", top / "parent" / "child"
    child.mkdir(parents=True)
    if not v1:
        (parent / "cgroup.subtree_control").write_text("+memory")
    (parent / limit).write_text(str(48 << 20))
    (child / limit).write_text(str(256 << 20))
    name = path_of(child)
    with lab.process(child):
        for _ in range(50):  # until nothing was charged between two looks at the files
            before = (parent / usage).read_text(), (child / usage).read_text()
            samples = scrape(collector)
            if before == ((parent / usage).read_text(), (child / usage).read_text()):
                break
        assert (
            of(samples, "nsexporter_cgroup_memory_effective_limit_bytes", cgroup=name) == 48 << 20
        )
        assert (
            of(
                samples,
                "nsexporter_cgroup_limited_by_info",
                cgroup=name,
                limiting_cgroup=path_of(parent),
            )
            == 1
        )
        room = (48 << 20) - int((parent / usage).read_text())
        assert of(samples, "nsexporter_cgroup_memory_headroom_bytes", cgroup=name) == room
        assert of(samples, "nsexporter_cgroup_processes", cgroup=name) == 1
        stat = dict(line.split() for line in (child / "memory.stat").read_text().splitlines())
        inactive = int(stat["total_inactive_file" if v1 else "inactive_file"])
        shown = of(samples, "nsexporter_cgroup_memory_working_set_bytes", cgroup=name)
        assert shown == max(0, int((child / usage).read_text()) - inactive)


@pytest.mark.parametrize("left_out", ["cgroup_deny", "cgroup_allow"])
def test_a_limit_counts_whose_cgroup_is_left_out(top: Path, left_out: str) -> None:
    limit, usage = (
        ("memory.limit_in_bytes", "memory.usage_in_bytes")
        if lab.version() == "v1"
        else ("memory.max", "memory.current")
    )
    parent, child = top / "parent", top / "parent" / "child"
    child.mkdir(parents=True)
    if lab.version() == "v2":
        (parent / "cgroup.subtree_control").write_text("+memory")
    (parent / limit).write_text(str(48 << 20))
    (child / limit).write_text(str(256 << 20))
    name, above = path_of(child), path_of(parent)
    pattern = f"^{name if left_out == 'cgroup_allow' else above}$"
    collector = Collector(config.load(None, {f"collection.{left_out}": (pattern,)}))
    try:
        with lab.process(child):
            for _ in range(50):  # until nothing was charged between two looks at the file
                before = (parent / usage).read_text()
                samples = scrape(collector)
                if before == (parent / usage).read_text():
                    break
        own = "nsexporter_cgroup_memory_limit_bytes"
        assert of(samples, own, cgroup=above) is None
        assert of(samples, own, cgroup=name) == 256 << 20
        effective = "nsexporter_cgroup_memory_effective_limit_bytes"
        assert of(samples, effective, cgroup=name) == 48 << 20
        by = {"cgroup": name, "limiting_cgroup": above}
        assert of(samples, "nsexporter_cgroup_limited_by_info", **by) == 1
        room = of(samples, "nsexporter_cgroup_memory_headroom_bytes", cgroup=name)
        assert room == (48 << 20) - int(before)
        (parent / limit).write_text(str(32 << 20))  # it is told of changes too
        assert of(scrape(collector), effective, cgroup=name) == 32 << 20
    finally:
        collector.close()


def test_failcnt_and_oom_kills_are_the_kernels(top: Path, collector: Collector) -> None:
    v1 = lab.version() == "v1"
    cgroup = top / "small"
    cgroup.mkdir()
    (cgroup / ("memory.limit_in_bytes" if v1 else "memory.max")).write_text(str(16 << 20))
    before = scrape(collector)
    name = path_of(cgroup)
    assert of(before, "nsexporter_cgroup_memory_oom_kills_total", cgroup=name) == 0
    lab.kill_by_limit(cgroup)
    least = kills.vmstat()
    samples = scrape(collector)
    assert of(samples, "nsexporter_cgroup_memory_oom_kills_total", cgroup=name) == 1
    source = "memory.failcnt" if v1 else "memory.events.local max"
    failcnt = lab.kernel_value(cgroup, source)
    assert failcnt is not None and failcnt > 0
    assert of(samples, "nsexporter_cgroup_memory_failcnt_total", cgroup=name) == failcnt
    host = of(samples, "nsexporter_host_oom_kills_total")
    assert host is not None and least <= host <= kills.vmstat()


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (b'quo"te', 'quo"te'),
        (rb"back\slash\x2d", r"back\slash\x2d"),
        (b"not\xffutf8", r"not\xffutf8"),
        ("größe".encode(), "größe"),
        (b"a b,c={}", "a b,c={}"),
        (b"n" * 255, "n" * 255),
    ],
)
def test_a_hostile_name_is_shown_and_costs_no_other_sample(
    top: Path, collector: Collector, name: bytes, shown: str
) -> None:
    os.mkdir(os.path.join(bytes(top), name))
    (top / "plain").mkdir()
    samples = scrape(collector)
    for cgroup in (f"{path_of(top)}/{shown}", lab.path_of(top / "plain")):
        assert of(samples, "nsexporter_cgroup_processes", cgroup=cgroup) == 0


def test_a_replaced_cgroup_shows_the_new_ones_values(top: Path, collector: Collector) -> None:
    file = "memory.limit_in_bytes" if lab.version() == "v1" else "memory.max"
    (top / "a").mkdir()
    scrape(collector)
    (top / "a").rmdir()
    (top / "a").mkdir()
    (top / "a" / file).write_text(str(8 << 20))
    samples = scrape(collector)
    name = path_of(top / "a")
    assert of(samples, "nsexporter_cgroup_memory_limit_bytes", cgroup=name) == 8 << 20


def test_a_tree_of_300_levels_is_walked(top: Path, collector: Collector) -> None:
    deep = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    made = []
    try:
        for _ in range(300):
            os.mkdir("directory-of-a-name", dir_fd=deep)
            made.append(deep)
            deep = os.open("directory-of-a-name", os.O_RDONLY | os.O_DIRECTORY, dir_fd=deep)
        samples = scrape(collector)
        depth = max(
            dict(labels)["cgroup"].count("/directory-of-a-name")
            for name, labels in samples
            if name == "nsexporter_cgroup_info"
        )
        assert depth == 300
    finally:
        os.close(deep)
        for above in reversed(made):
            os.rmdir("directory-of-a-name", dir_fd=above)
            os.close(above)


def test_cgroups_that_come_and_go_during_passes_cost_nothing_else(
    top: Path, collector: Collector
) -> None:
    (top / "stays").mkdir()
    stop = threading.Event()
    churned = 0

    def churn() -> None:
        nonlocal churned
        while not stop.is_set():
            for i in range(5):
                (top / f"churn-{i}").mkdir()
            os.rename(top / "churn-0", top / "churn-r") if lab.version() == "v1" else None
            for i in range(5):
                target = top / f"churn-{i}"
                os.rmdir(top / "churn-r" if i == 0 and not target.exists() else target)
            churned += 10

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(60):
            samples = scrape(collector)
            assert of(samples, "nsexporter_cgroup_processes", cgroup=path_of(top / "stays")) == 0
    finally:
        stop.set()
        thread.join()
    assert churned > 100
    assert collector.health.success["cgroups"]
    assert not collector.reader.errors
    scrape(collector)  # forget what was removed last

    def nothing_leaks() -> bool:  # other cgroups of the host come and go meanwhile
        before = set(os.listdir("/proc/self/fd"))
        for _ in range(3):
            scrape(collector)
        return set(os.listdir("/proc/self/fd")) == before

    until(nothing_leaks, 30)
    assert sys.getrecursionlimit() == 1000
