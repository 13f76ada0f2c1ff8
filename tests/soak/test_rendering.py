"""Rendering and compressing what 5000 containers have, beside threads that must not wait."""

from __future__ import annotations

import gzip
import importlib
import subprocess
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import replace

from nsexporter import exposition
from nsexporter.catalogue import METRICS
from nsexporter.families.columns import Columns
from nsexporter.gzip import Chunk, Gzip, Part, plain
from nsexporter.model import Cgroup, Container, Identity, Snapshot
from tests.snapshots import NOTHING

LONGEST = 0.05  # seconds without the GIL


KEYS = tuple(
    b"anon file shmem kernel kernel_stack pagetables percpu sock zswap zswapped file_mapped"
    b" file_dirty file_writeback anon_thp inactive_anon active_anon inactive_file active_file"
    b" unevictable slab_reclaimable slab_unreclaimable workingset_refault_anon"
    b" workingset_refault_file pgscan_kswapd pgscan_direct pgscan_khugepaged pgscan_proactive"
    b" pgsteal_kswapd pgsteal_direct pgsteal_khugepaged pgsteal_proactive pgfault"
    b" pgmajfault".split()
)
EVENTS = b"low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\noom_group_kill 0"
STALLS = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=%d\nfull avg10=0.00 total=%d"


def snapshot(cgroups: int) -> Snapshot:
    """So many containers, each with all that a kernel with cgroup v2 tells."""
    made = []
    for number in range(cgroups):
        container_id = f"{number:064x}"
        path = f"/system.slice/docker-{container_id}.scope"
        usage = 4096 * (number + 1000)
        made.append(
            Cgroup(
                path=path,
                parent=-1,
                identity=Identity(kind="container", container_id=container_id, runtime="docker"),
                container=Container(
                    container_id=container_id,
                    label_id=container_id[-12:],
                    runtime="docker",
                    cgroup=path,
                    name=f"web-{number}",
                ),
                files={
                    "memory.current": b"%d" % usage,
                    "memory.stat": b"".join(
                        b"%b %d\n" % (key, usage + column) for column, key in enumerate(KEYS)
                    ),
                    "memory.max": b"max",
                    "memory.high": b"max",
                    "memory.low": b"0",
                    "memory.min": b"0",
                    "memory.peak": b"%d" % (usage + 4096),
                    "memory.events.local": EVENTS,
                    "memory.events": EVENTS,
                    "memory.oom.group": b"0",
                    "memory.swap.current": b"0",
                    "memory.swap.max": b"max",
                    "memory.swap.peak": b"0",
                    "memory.swap.events": b"high 0\nmax 0\nfail 0",
                    "memory.pressure": STALLS % (number, number),
                    "cgroup.stat": b"nr_descendants 0\nnr_dying_descendants 0",
                    "pids.current": b"7",
                    "pids.max": b"max",
                    "pids.events": b"max 0",
                },
                pids=(number + 1,),
            )
        )
    return replace(
        NOTHING,
        cgroups=tuple(made),
        containers=tuple(one.container for one in made if one.container is not None),
        label_ids={},
    )


def held(work: Callable[[], object]) -> float:
    """The longest time, in seconds, for which another thread could not run while `work` did."""
    longest, ended = 0.0, threading.Event()

    def tick() -> None:
        nonlocal longest
        last = time.monotonic()
        while not ended.is_set():
            now = time.monotonic()
            longest, last = max(longest, now - last), now

    watcher = threading.Thread(target=tick)
    watcher.start()
    try:
        work()
    finally:
        ended.set()
        watcher.join()
    return longest


def test_no_thread_waits_longer_than_50_ms_for_300_000_samples() -> None:
    assert held(lambda: sum(range(20_000_000))) > LONGEST  # one call that gives nobody a turn
    many, waits = snapshot(5000), []
    for _ in range(5):
        body: list[Part] = []

        def work(body: list[Part] = body) -> None:
            families = exposition.render(Columns(many), METRICS)
            body += exposition.text(families)
            Gzip().member(body)

        waits.append(held(work))
        assert plain(body).count(b"\nnsexporter_") > 300_000
    assert min(waits) < LONGEST, waits  # the others waited for a CPU as well


def test_what_isal_compresses_is_what_gzip_reads() -> None:
    isal = importlib.import_module("isal.isal_zlib")  # of the extra that these suites install
    member = Gzip()
    text = b"nsexporter_up 1\n" * 9000
    up = Chunk(text)
    for rest in (b"nsexporter_x 1\n", b"nsexporter_x 2\n"):
        parts = member.member([up, rest])
        deflate = isal.compressobj(1, zlib.DEFLATED, -15)
        assert parts[1] == deflate.compress(text) + deflate.flush(zlib.Z_SYNC_FLUSH)
        compressed = b"".join(parts)
        assert gzip.decompress(compressed) == text + rest
        subprocess.run(["gzip", "-t"], input=compressed, check=True)
