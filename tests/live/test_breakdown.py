"""Huge pages and NUMA nodes of real cgroups, against their files."""

from __future__ import annotations

import contextlib
import fcntl
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.kernel import mounts
from nsexporter.kernel.files import Reader
from tests.conftest import Need
from tests.live import lab
from tests.samples import Samples, of, scrape
from tests.waiting import deadline

# Reserve two huge pages, say whether there are any, and use one.
RESERVE = """
import mmap, sys
try:
    huge = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x40000
    pages = mmap.mmap(-1, 2 * int(sys.argv[1]), flags=huge)
    pages[0] = 1
    print("used", flush=True)
    sys.stdin.read()
except OSError as error:
    print(error.strerror, flush=True)
"""
OVERCOMMIT = Path("/proc/sys/vm/nr_overcommit_hugepages")


@pytest.fixture
def collector() -> Iterator[Collector]:
    enabled = {"collectors.hugetlb.enabled": True, "collectors.numa.enabled": True}
    made = Collector(config.load(None, {**enabled, "collection.exact": True}))
    yield made
    made.close()


@pytest.fixture
def huge(top: Path, need: Need) -> Iterator[Path]:
    """A cgroup of the hugetlb controller that the exporter shows as `top`/huge."""
    found = mounts.find(Reader(), "/proc", "/sys", "/")
    there = found.hugetlb is not None and OVERCOMMIT.exists()
    need("live", there, "this kernel has no hugetlb controller, or no huge pages")
    assert found.hugetlb is not None
    (top / "huge").mkdir()
    root = Path(found.hugetlb)
    with contextlib.ExitStack() as stack:
        # One test at a time turns the controller on and off, and asks for huge pages.
        fcntl.flock(stack.enter_context(OVERCOMMIT.open("r+")), fcntl.LOCK_EX)
        stack.enter_context(delegated(root))
        above = root / top.name
        if found.hugetlb != found.memory:
            above.mkdir()
            stack.callback(lab.remove, above)
        stack.enter_context(delegated(above))
        (above / "huge").mkdir(exist_ok=True)
        yield above / "huge"


@contextlib.contextmanager
def delegated(cgroup: Path) -> Iterator[None]:
    """Let v2's cgroups below have the controller; v1's have it anyway."""
    control = cgroup / "cgroup.subtree_control"
    if not control.exists() or "hugetlb" in control.read_text().split():
        yield
        return
    control.write_text("+hugetlb")
    try:
        yield
    finally:
        control.write_text("-hugetlb")


@contextlib.contextmanager
def huge_pages(count: int) -> Iterator[None]:
    """Let the kernel find so many more when they are asked for."""
    before = int(OVERCOMMIT.read_text())
    OVERCOMMIT.write_text(str(before + count))
    try:
        yield
    finally:
        OVERCOMMIT.write_text(str(before))


def default_size() -> tuple[int, str]:
    """The size of a huge page in bytes, and as the controller's files write it."""
    text = Path("/proc/meminfo").read_text()
    kilobytes = int(re.findall(r"^Hugepagesize: +(\d+) kB$", text, re.MULTILINE)[0])
    return kilobytes << 10, f"{kilobytes >> 10}MB" if kilobytes < 1 << 20 else "1GB"


@contextlib.contextmanager
def reserving(cgroup: Path, size: int) -> Iterator[str]:
    """What a process in the cgroup says of two huge pages, while it has them."""
    process = subprocess.Popen(
        [sys.executable, "-c", RESERVE, str(size)],
        preexec_fn=lambda: lab.enter(cgroup),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        yield process.stdout.readline().rstrip()
    finally:
        process.communicate("")


def test_huge_pages_in_use_and_reserved_are_the_kernels(
    top: Path, collector: Collector, huge: Path
) -> None:
    size, name = default_size()
    v1 = (huge / f"hugetlb.{name}.usage_in_bytes").exists()
    reserved_limit = huge / f"hugetlb.{name}.rsvd.{'limit_in_bytes' if v1 else 'max'}"

    def figures(samples: Samples) -> dict[str, float | None]:
        of_cgroup = {"cgroup": lab.path_of(top / "huge"), "size": name}
        return {
            metric: of(samples, f"nsexporter_cgroup_hugetlb_{metric}", **of_cgroup)
            for metric in (
                "usage_bytes",
                "limit_bytes",
                "failcnt_total",
                "reserved_bytes",
                "reserved_limit_bytes",
                "reserved_failcnt_total",
                "reserved_peak_bytes",
            )
        }

    only_v1 = ("reserved_failcnt_total", "reserved_peak_bytes")
    nothing = {one: 0.0 if v1 or one not in only_v1 else None for one in figures({})}
    nothing |= {"limit_bytes": math.inf, "reserved_limit_bytes": math.inf}
    assert figures(scrape(collector)) == nothing

    reserved_limit.write_text(str(size))
    with reserving(huge, size) as told:
        assert told == "Cannot allocate memory"
    refused = nothing | {"reserved_limit_bytes": size}
    # v2 counts hits of both limits in one.
    refused |= {"reserved_failcnt_total" if v1 else "failcnt_total": 1}
    assert figures(scrape(collector)) == refused

    reserved_limit.write_text(str(4 * size))
    with huge_pages(2), reserving(huge, size) as told:
        if told != "used":
            pytest.skip(f"the kernel finds no huge page: {told}")
        samples = scrape(collector)
        assert figures(samples) == refused | {
            "reserved_limit_bytes": 4 * size,
            "usage_bytes": size,
            "reserved_bytes": 2 * size,
            "reserved_peak_bytes": 2 * size if v1 else None,
        }
        by_node = {
            dict(pairs)["node"]: value
            for (metric, pairs), value in samples.items()
            if metric == "nsexporter_cgroup_hugetlb_numa_bytes"
            if {("cgroup", lab.path_of(top / "huge")), ("size", name)} <= pairs
        }
        if (huge / f"hugetlb.{name}.numa_stat").exists():
            assert sum(by_node.values()) == size
            assert len(by_node) == len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))
        else:
            assert by_node == {}


def test_every_key_of_numa_stat_is_shown(top: Path, collector: Collector) -> None:
    made = top / "made"
    made.mkdir()
    file = made / "memory.numa_stat"
    if not file.exists():
        pytest.skip("memory.numa_stat of v2 came with Linux 5.11, and with CONFIG_NUMA only")
    with lab.process(made):
        end = deadline(10)
        while True:  # until it tells of what was charged, and that does not change meanwhile
            before = file.read_text()
            samples = scrape(collector)
            if before == file.read_text() and re.search(r"N\d+=[1-9]", before):
                break
            assert time.monotonic() < end
    unit = os.sysconf("SC_PAGE_SIZE") if lab.version() == "v1" else 1
    expected = {}
    for line in before.splitlines():
        key, *nodes = line.split()
        for word in nodes:
            node, _, value = word.removeprefix("N").partition("=")
            expected[key.partition("=")[0], node] = int(value) * unit
    shown = {
        (dict(pairs)["key"], dict(pairs)["node"]): value
        for (metric, pairs), value in samples.items()
        if metric.startswith("nsexporter_cgroup_memory_numa_stat_")
        if ("cgroup", lab.path_of(made)) in pairs
    }
    assert shown == expected
    assert any(shown.values())
