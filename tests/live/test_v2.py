"""Every figure of cgroup v2 against its file, in cgroups where the thing it counts happens."""

from __future__ import annotations

import contextlib
import errno
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nsexporter.catalogue import CGROUP_METRICS, METRICS
from nsexporter.catalogue.rows import Metric, Source, key
from nsexporter.collector import Collector
from nsexporter.families.columns import Columns
from tests.conftest import Need
from tests.live import lab
from tests.live.lab import path_of
from tests.live.nslab import Actor, actor
from tests.samples import Samples, of, rendered, scrape
from tests.waiting import until

MB = 1 << 20

# Written by hand after cgroup-v2.rst, not taken from the catalogue, which would agree with itself.
FILES: dict[str, str] = {
    "usage_bytes": "memory.current",
    "peak_bytes": "memory.peak",
    "limit_bytes": "memory.max",
    "min_bytes": "memory.min",
    "low_bytes": "memory.low",
    "high_bytes": "memory.high",
    "reservation_bytes": "memory.low",
    "failcnt_total": "memory.events.local max",
    "low_events_total": "memory.events.local low",
    "high_events_total": "memory.events.local high",
    "oom_events_total": "memory.events.local oom",
    "oom_kills_total": "memory.events.local oom_kill",
    "oom_group_kills_total": "memory.events.local oom_group_kill",
    "oom_group": "memory.oom.group",
    "scanned_pages_total by=kswapd": "memory.stat pgscan_kswapd",
    "scanned_pages_total by=direct": "memory.stat pgscan_direct",
    "scanned_pages_total by=khugepaged": "memory.stat pgscan_khugepaged",
    "scanned_pages_total by=proactive": "memory.stat pgscan_proactive",
    "reclaimed_pages_total by=kswapd": "memory.stat pgsteal_kswapd",
    "reclaimed_pages_total by=direct": "memory.stat pgsteal_direct",
    "reclaimed_pages_total by=khugepaged": "memory.stat pgsteal_khugepaged",
    "reclaimed_pages_total by=proactive": "memory.stat pgsteal_proactive",
    "refaults_total kind=anon": "memory.stat workingset_refault_anon",
    "refaults_total kind=file": "memory.stat workingset_refault_file",
    "page_faults_total": "memory.stat pgfault",
    "major_page_faults_total": "memory.stat pgmajfault",
    "anon_bytes": "memory.stat anon",
    "file_bytes": "memory.stat file",
    "shmem_bytes": "memory.stat shmem",
    "mapped_file_bytes": "memory.stat file_mapped",
    "dirty_bytes": "memory.stat file_dirty",
    "writeback_bytes": "memory.stat file_writeback",
    "inactive_anon_bytes": "memory.stat inactive_anon",
    "inactive_file_bytes": "memory.stat inactive_file",
    "active_anon_bytes": "memory.stat active_anon",
    "active_file_bytes": "memory.stat active_file",
    "unevictable_bytes": "memory.stat unevictable",
    "kernel_bytes": "memory.stat kernel",
    "slab_reclaimable_bytes": "memory.stat slab_reclaimable",
    "slab_unreclaimable_bytes": "memory.stat slab_unreclaimable",
    "kernel_stack_bytes": "memory.stat kernel_stack",
    "pagetables_bytes": "memory.stat pagetables",
    "percpu_bytes": "memory.stat percpu",
    "sock_bytes": "memory.stat sock",
    "zswap_bytes": "memory.stat zswap",
    "zswapped_bytes": "memory.stat zswapped",
    "anon_thp_bytes": "memory.stat anon_thp",
    "swap_usage_bytes": "memory.swap.current",
    "swap_limit_bytes": "memory.swap.max",
    "swap_peak_bytes": "memory.swap.peak",
    "swap_max_events_total": "memory.swap.events max",
    "swap_failures_total": "memory.swap.events fail",
    "pids_current": "pids.current",
    "pids_limit": "pids.max",
    "pids_limit_hits_total": "pids.events max",
    "dying_descendants": "cgroup.stat nr_dying_descendants",
}
# What may be 0 in the scene below, where it takes a host short of memory, a busy disk, a kernel of
# 6.15, or (inactive_anon, active_file) by which LRU the kernel has, the multi-generational or not.
MAY_BE_ZERO = {
    *(
        f"{what}_pages_total by={who}"
        for what in ("scanned", "reclaimed")
        for who in ("kswapd", "khugepaged", "proactive")
    ),
    *("dirty_bytes", "writeback_bytes", "inactive_anon_bytes", "active_file_bytes"),
    *("zswap_bytes", "zswapped_bytes"),
    *("swap_max_events_total", "swap_failures_total", "swap_peak_bytes"),
}
MEMORY = "nsexporter_cgroup_memory_"


def shown(samples: Samples, cgroup: Path, row: str) -> float | None:
    """The sample of a row, whose name may be followed by a label."""
    name, _, label = row.partition(" ")
    prefix = "nsexporter_cgroup_" if name.startswith(("pids_", "dying_")) else MEMORY
    labels = dict([label.split("=")]) if label else {}
    return of(samples, prefix + name, cgroup=path_of(cgroup), **labels)


def files(cgroup: Path) -> dict[str, float | None]:
    return {row: lab.kernel_value(cgroup, source) for row, source in FILES.items()}


def quiet_columns(
    collector: Collector, *cgroups: Path
) -> tuple[Columns, list[dict[str, float | None]]]:
    """A pass and the files' values of a moment in which the files did not change."""

    def attempt() -> tuple[Columns, list[dict[str, float | None]]] | None:
        before = [files(cgroup) for cgroup in cgroups]
        columns = Columns(collector.collect())
        return (columns, before) if before == [files(cgroup) for cgroup in cgroups] else None

    return until(attempt, 60)  # the cgroups come to rest


def quiet_scrape(
    collector: Collector, *cgroups: Path
) -> tuple[Samples, list[dict[str, float | None]]]:
    """Its samples, and those values."""
    columns, values = quiet_columns(collector, *cgroups)
    return rendered(columns), values


def one_file_rows() -> list[Metric]:
    """The rows of FILES."""
    return [
        row
        for row in CGROUP_METRICS
        if any(series.v2 and series.v2.text in FILES.values() for series in row.series)
    ]


def reading(rows: list[Metric], source: Source) -> list[Metric]:
    """The rows, all with a source that is right for one of them only."""
    return [
        replace(row, series=tuple(replace(series, v2=source) for series in row.series))
        for row in rows
    ]


def sources(rows: list[Metric]) -> list[Source]:
    """What one of the rows reads, and the hierarchical counters that none may read."""
    told = {series.v2.text: series.v2 for row in rows for series in row.series if series.v2}
    events = [text.split()[1] for text in told if text.startswith("memory.events.local ")]
    return [*told.values(), *(key("memory.events", word) for word in events)]


def reclaim(cgroup: Path, size: int) -> None:
    """As much of it as the kernel can (memory.reclaim says EAGAIN for less)."""
    try:
        (cgroup / "memory.reclaim").write_text(str(size))
    except OSError as error:
        if error.errno != errno.EAGAIN:
            raise


def read_files(doer: Actor, size: int, *, drop: bool = True) -> None:
    """Read programs that nobody runs, on the account of the actor's cgroup if they are dropped."""
    programs = [path for path in Path("/usr/bin").iterdir() if path.is_file()]
    programs.sort(key=lambda path: path.stat().st_size, reverse=True)
    for path in programs:
        length = min(size, path.stat().st_size)
        doer.do(f"(fd := os.open({str(path)!r}, os.O_RDONLY))")
        if drop:
            doer.do("os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)")
        doer.do(f"[os.pread(fd, 1 << 16, at) and None for at in range(0, {length}, 1 << 16)]")
        doer.do("os.close(fd)")
        size -= length
        if size <= 0:
            return


def fill_a_socket(doer: Actor) -> None:
    """Bytes that wait in a TCP connection, which are charged to its owner."""
    doer.do("(socket := __import__('socket'))")
    doer.do("(server := socket.create_server(('127.0.0.1', 0)))")
    doer.do("(client := socket.create_connection(server.getsockname()))")
    doer.do("(accepted := server.accept()[0])")
    doer.do("client.setblocking(False)")
    doer.do("client.send(b'x' * (1 << 20))")


@contextlib.contextmanager
def dying(parent: Path) -> Iterator[None]:
    """A cgroup that was removed while a file in shared memory was charged to it."""
    child = parent / "dying"
    child.mkdir()
    kept = Path("/dev/shm") / parent.name
    with actor(child) as doer:
        doer.do(f"open({str(kept)!r}, 'wb').write(bytes(1 << 20))")
    try:
        lab.remove(child)
        yield
    finally:
        kept.unlink()


def test_every_row_that_one_file_tells_is_compared() -> None:
    """Below; but for memory.pressure, which has a test of its own, and the count of processes."""
    told = {series.v2.text for row in METRICS for series in row.series if series.v2 is not None}
    one_file = re.compile(r"(memory|pids|cgroup)\.[a-z_.]+( [a-z_]+)?")
    assert {text for text in told if one_file.fullmatch(text)} - {*FILES.values()} == {
        "cgroup.procs"
    }


def test_every_v2_figure_is_the_file_that_the_documents_name(
    v2: Path, collector: Collector, swap: None
) -> None:
    busy = v2 / "busy"
    busy.mkdir()
    (v2 / "idle").mkdir()
    limits = {"memory.max": 64 * MB, "memory.swap.max": 0}
    for name, value in limits.items():
        (busy / name).write_text(str(value))
    for group in (0, 0, 1, 1):
        (busy / "memory.oom.group").write_text(str(group))
        lab.kill_by_limit(busy, 96)
    (busy / "memory.swap.max").write_text(str(48 * MB))
    with contextlib.ExitStack() as stack:
        doer = stack.enter_context(actor(busy))
        doer.do("(mmap := __import__('mmap'), private := mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)")
        doer.do("(plain := mmap.mmap(-1, 8 << 20, flags=private))")
        doer.do("plain.write(os.urandom(1 << 20) * 8)")
        doer.do("(shared := mmap.mmap(-1, 3 << 20)).write(b's' * (3 << 20))")
        doer.do("(locked := mmap.mmap(-1, 2 << 20, flags=private)).write(b'l' * (2 << 20))")
        doer.do("(start := ctypes.addressof(ctypes.c_char.from_buffer(locked)))")
        doer.do("call('mlock', ctypes.c_void_p(start), 2 << 20)")
        fill_a_socket(doer)
        doer.do("[thread(lambda: None) for _ in range(6)]")
        (busy / "pids.max").write_text((busy / "pids.current").read_text())
        doer.do("[libc.fork() for _ in range(5)]")
        (busy / "pids.max").write_text("29")
        read_files(doer, 2 * MB)
        for _ in range(2):  # reclaim, and touch what was reclaimed
            reclaim(busy, 10 * MB)
            doer.do("(plain.seek(0), len(plain.read(6 << 20)))[1]")
            read_files(doer, 2 * MB, drop=False)
        # Above memory.high, and reclaimed although protected.
        (busy / "memory.high").write_text(str(int((busy / "memory.current").read_text()) - MB))
        doer.do("(more := bytes(2 << 20))")
        (busy / "memory.high").write_text(str(50 * MB))
        (busy / "memory.low").write_text(str(64 * MB))
        (v2 / "memory.low").write_text(str(64 * MB))
        reclaim(v2, 2 * MB)
        (busy / "memory.low").write_text(str(16 * MB))
        (busy / "memory.min").write_text(str(5 * MB))
        (busy / "memory.max").write_text(str(72 * MB))
        # What the reclaim took away again.
        doer.do("(huge := mmap.mmap(-1, 6 << 20, flags=private)).madvise(mmap.MADV_HUGEPAGE)")
        doer.do("huge.write(b'h' * (6 << 20))")
        doer.do("(shared.seek(0), shared.write(b's' * (3 << 20)))")
        read_files(doer, 3 * MB)
        read_files(doer, 1 * MB, drop=False)
        doer.do("(file := os.memfd_create('read often'), os.write(file, bytes(1 << 20)))")
        doer.do("[os.pread(file, 1 << 20, 0) and None for _ in range(3)]")
        stack.enter_context(dying(v2))
        columns, (own, parents) = quiet_columns(collector, busy, v2)
    samples = rendered(columns)
    assert {row: shown(samples, busy, row) for row in FILES} == own
    assert {row: shown(samples, v2, row) for row in FILES} == parents
    silent = {row for row in FILES if not own[row] and not parents[row]}
    assert silent <= MAY_BE_ZERO
    # Of all of its controller that a row could read instead, each would have been seen.
    rows = one_file_rows()
    unseen = {}
    for source in sources(rows):
        samples = rendered(columns, reading(rows, source))
        controller = source.text.partition(".")[0]
        others = {row for row, text in FILES.items() if text != source.text} - silent
        for row in {row for row in others if FILES[row].startswith(f"{controller}.")}:
            if (shown(samples, busy, row), shown(samples, v2, row)) == (own[row], parents[row]):
                unseen[row, source.text] = own[row], parents[row]
    assert [row for row, text in unseen if FILES[row].replace(".local", "") == text] == []
    assert len(unseen) <= 4, unseen  # values that happen to be the same


def test_a_kill_below_a_limit_counts_at_the_victim_and_the_hit_at_the_limit(
    v2: Path, collector: Collector
) -> None:
    parent, child = v2 / "parent", v2 / "parent" / "child"
    child.mkdir(parents=True)
    (parent / "cgroup.subtree_control").write_text("+memory")
    (parent / "memory.max").write_text(str(24 * MB))
    (parent / "memory.swap.max").write_text("0")
    lab.kill_by_limit(child)
    samples = scrape(collector)

    def told(row: str) -> tuple[float | None, ...]:
        return tuple(shown(samples, cgroup, row) for cgroup in (v2, parent, child))

    assert told("oom_kills_total") == (0, 0, 1)
    assert told("oom_events_total") == (0, 1, 0)
    hits = lab.kernel_value(parent, "memory.events max")
    assert hits and told("failcnt_total") == (0, hits, 0)
    # The hierarchical file would have counted the kill three times.
    assert [
        lab.kernel_value(cgroup, "memory.events oom_kill") for cgroup in (v2, parent, child)
    ] == [1, 1, 1]


def test_a_group_kill_is_told_as_one_and_its_kills_as_the_kernel_counts_them(
    v2: Path, collector: Collector
) -> None:
    group = v2 / "group"
    group.mkdir()
    (group / "memory.max").write_text(str(32 * MB))
    (group / "memory.swap.max").write_text("0")
    (group / "memory.oom.group").write_text("1")
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(lab.process(group))
        lab.kill_by_limit(group)
        until(lambda: (group / "cgroup.procs").read_text() == "")
    samples = scrape(collector)
    assert shown(samples, group, "oom_group") == 1
    assert shown(samples, group, "oom_group_kills_total") == 1
    assert shown(samples, group, "oom_events_total") == 1
    kills = shown(samples, group, "oom_kills_total")
    assert kills == lab.kernel_value(group, "memory.events.local oom_kill")
    assert kills in (4, 5)  # the first victim is counted twice


def test_throttling_above_memory_high_is_no_hit_of_the_limit(
    v2: Path, collector: Collector
) -> None:
    high = v2 / "high"
    high.mkdir()
    (high / "memory.high").write_text(str(12 * MB))
    with actor(high) as doer:
        read_files(doer, 16 * MB)
        samples, (own,) = quiet_scrape(collector, high)
    assert (shown(samples, high, "high_events_total") or 0) > 0
    assert shown(samples, high, "high_events_total") == own["high_events_total"]
    assert (shown(samples, high, "reclaimed_pages_total by=direct") or 0) > 0
    assert shown(samples, high, "failcnt_total") == 0
    assert shown(samples, high, "oom_kills_total") == 0


def test_protection_that_was_breached_shows_in_the_breached_cgroup_only(
    v2: Path, collector: Collector
) -> None:
    child = v2 / "low"
    child.mkdir()
    (child / "memory.low").write_text(str(64 * MB))
    with actor(child) as doer:
        read_files(doer, 4 * MB)
        (v2 / "memory.low").write_text(str(64 * MB))
        reclaim(v2, 2 * MB)
        samples = scrape(collector)
    breached = shown(samples, child, "low_events_total")
    assert breached and breached == lab.kernel_value(child, "memory.events low")
    assert shown(samples, v2, "low_events_total") == 0


def test_pressure_is_the_total_in_seconds(v2: Path, collector: Collector, need: Need) -> None:
    stalled = v2 / "stalled"
    stalled.mkdir()
    need("psi", (stalled / "memory.pressure").exists(), "this kernel has no memory.pressure")
    (stalled / "memory.high").write_text(str(8 * MB))
    with actor(stalled) as doer:
        for _ in range(2):
            read_files(doer, 8 * MB)

    def totals() -> dict[str, int]:
        lines = (stalled / "memory.pressure").read_text().splitlines()
        return {line.split()[0]: int(line.rpartition("total=")[2]) for line in lines}

    def attempt() -> tuple[Samples, dict[str, int]] | None:
        before = totals()
        samples = scrape(collector)
        return (samples, before) if before == totals() else None

    samples, kernels = until(attempt)
    assert kernels["some"] > 0
    waiting = shown(samples, stalled, "pressure_waiting_seconds_total")
    stalls = shown(samples, stalled, "pressure_stalled_seconds_total")
    assert waiting == pytest.approx(kernels["some"] / 1e6, abs=1e-9)
    assert stalls == pytest.approx(kernels["full"] / 1e6, abs=1e-9)


def test_a_removed_cgroup_that_holds_memory_is_a_dying_descendant(
    v2: Path, collector: Collector
) -> None:
    with dying(v2):
        samples = scrape(collector)
        assert shown(samples, v2, "dying_descendants") == 1
        assert shown(samples, v2, "shmem_bytes") == MB


def test_a_peak_outlives_the_use(v2: Path, collector: Collector, need: Need) -> None:
    cgroup = v2 / "peak"
    cgroup.mkdir()
    need("peak", (cgroup / "memory.peak").exists(), "this kernel has no memory.peak")
    with actor(cgroup) as doer:
        doer.do("len(bytes(b'x' * (24 << 20)))")
    samples, (own,) = quiet_scrape(collector, cgroup)
    assert shown(samples, cgroup, "peak_bytes") == own["peak_bytes"]
    assert 24 * MB < (own["peak_bytes"] or 0) < 64 * MB
    assert (shown(samples, cgroup, "usage_bytes") or 0) < 16 * MB


def test_swap_is_the_cgroups_own_and_bounded_by_its_limit(
    v2: Path, collector: Collector, swap: None
) -> None:
    cgroup = v2 / "swapping"
    cgroup.mkdir()
    (cgroup / "memory.swap.max").write_text(str(24 * MB))
    with actor(cgroup) as doer:
        doer.do("(kept := os.urandom(1 << 20) * 16) and None")
        reclaim(cgroup, 12 * MB)
        samples, (own,) = quiet_scrape(collector, cgroup)
    assert shown(samples, cgroup, "swap_usage_bytes") == own["swap_usage_bytes"]
    assert 4 * MB < (own["swap_usage_bytes"] or 0) <= 24 * MB
    assert shown(samples, cgroup, "swap_limit_bytes") == 24 * MB
    assert shown(samples, cgroup, "swap_peak_bytes") == own["swap_peak_bytes"]


def test_what_zswap_holds_is_told_before_and_after_compression(
    v2: Path, collector: Collector, swap: None, need: Need
) -> None:
    switch = Path("/sys/module/zswap/parameters/enabled")
    need("zswap", switch.exists(), "this kernel has no zswap")
    was = switch.read_text()
    cgroup = v2 / "zswap"
    cgroup.mkdir()
    with contextlib.ExitStack() as stack:
        switch.write_text("Y")
        stack.callback(switch.write_text, was)
        doer = stack.enter_context(actor(cgroup))
        doer.do("(kept := os.urandom(64) * (16 << 14)) and None")
        reclaim(cgroup, 12 * MB)
        samples, (own,) = quiet_scrape(collector, cgroup)
    compressed = shown(samples, cgroup, "zswap_bytes")
    assert compressed == own["zswap_bytes"] and compressed
    assert shown(samples, cgroup, "zswapped_bytes") == own["zswapped_bytes"]
    assert compressed < (own["zswapped_bytes"] or 0)


def test_limits_and_protection_are_worth_what_those_above_allow(
    v2: Path, collector: Collector
) -> None:
    given = {
        v2: {"high": 48, "swap.max": 32, "low": 16, "min": 4},
        v2 / "a": {"swap.max": 64, "low": 24, "min": 3},
        v2 / "b": {"high": 64, "swap.max": 8, "low": 24},
    }
    for cgroup, settings in given.items():
        cgroup.mkdir(exist_ok=True)
        for name, value in settings.items():
            (cgroup / f"memory.{name}").write_text(str(value * MB))
    with contextlib.ExitStack() as stack:
        for cgroup, use in ((v2 / "a", 16), (v2 / "b", 8)):
            stack.enter_context(actor(cgroup)).do(f"(kept := b'x' * ({use} << 20)) and None")
        samples, values = quiet_scrape(collector, *given)

    def told(row: str) -> list[float | None]:
        return [shown(samples, cgroup, row) for cgroup in given]

    top, a, b = ({row: value or 0.0 for row, value in of_one.items()} for of_one in values)
    assert told("effective_high_bytes") == [48 * MB] * 3
    assert told("swap_effective_limit_bytes") == [32 * MB, 32 * MB, 8 * MB]
    rooms = [32 * MB - top["swap_usage_bytes"], 8 * MB - b["swap_usage_bytes"]]
    assert told("swap_headroom_bytes") == [rooms[0], rooms[0], min(rooms)]
    assert told("working_set_bytes") == [
        one["usage_bytes"] - one["inactive_file_bytes"] for one in (top, a, b)
    ]
    # Both claim more than there is: they share it by what they use of their own.
    assert told("low_overcommitted_bytes") == [32 * MB, None, None]
    claims = [min(one["usage_bytes"], 24 * MB) for one in (a, b)]
    assert sum(claims) > 16 * MB
    shares = [16 * MB * claim / sum(claims) for claim in claims]
    assert told("effective_low_bytes") == pytest.approx([16 * MB, *shares], abs=1)
    # One claims less than there is: the rest goes to what is used beyond (memory_recursiveprot).
    assert told("min_overcommitted_bytes") == [0, None, None]
    beyond = [a["usage_bytes"] - 3 * MB, b["usage_bytes"]]
    rest = [MB * use / (top["usage_bytes"] - 3 * MB) for use in beyond]
    assert told("effective_min_bytes") == pytest.approx([4 * MB, 3 * MB + rest[0], rest[1]], abs=1)


def test_the_root_has_no_figure_that_the_kernel_does_not_write(
    v2: Path, collector: Collector
) -> None:
    root = v2.parent
    samples, (own,) = quiet_scrape(collector, v2)
    told = {
        row for row in FILES if of(samples, MEMORY + row.partition(" ")[0], cgroup="/") is not None
    }
    there = {row for row in FILES if lab.kernel_value(root, FILES[row]) is not None}
    assert told <= there
    assert "usage_bytes" not in told and "limit_bytes" not in told
    assert own["usage_bytes"] is not None
