"""Real OOM kills, and what the exporter tells of them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from tests.live import lab
from tests.live.exporter import Exporter
from tests.samples import Samples, read
from tests.waiting import deadline, until

_KILLS = "nsexporter_oom_kills_total"


def limited(parent: Path, name: str, megabytes: int = 8) -> Path:
    """A new cgroup with a limit."""
    made = parent / name
    made.mkdir(parents=True)
    if lab.version() == "v1":
        (made / "memory.limit_in_bytes").write_text(str(megabytes << 20))
    else:
        (made / "memory.max").write_text(str(megabytes << 20))
        if (made / "memory.swap.max").exists():
            (made / "memory.swap.max").write_text("0")
    return made


def kill(cgroup: Path) -> None:
    """One process in a cgroup that takes more than the limit, and is killed."""
    command = 'echo 0 >"$0/cgroup.procs"; exec dd if=/dev/zero of=/dev/null bs=64M count=1'
    ended = subprocess.run(["sh", "-c", command, cgroup], stderr=subprocess.DEVNULL, check=False)
    assert ended.returncode == -9


def storm(top: Path, numbers: range, rate: float | None = None) -> list[str]:
    """A cgroup for each number, made, OOM-killed once and removed at once, `rate` a second."""
    names = []
    started = time.monotonic()
    for done, number in enumerate(numbers, 1):
        cgroup = limited(top, f"storm{number}")
        kill(cgroup)
        lab.remove(cgroup)
        names.append(lab.path_of(cgroup))
        if rate is not None:
            time.sleep(max(0.0, done / rate - (time.monotonic() - started)))
    return names


def vmstat() -> int:
    """The host's OOM kills."""
    return int(Path("/proc/vmstat").read_text().split("\noom_kill ")[1].split()[0])


def scrape(exporter: Exporter) -> Samples:
    """What the exporter tells now, once it does."""
    until(lambda: exporter.get("/-/ready")[0] == 200, 30)
    return read(exporter.get()[2].decode())


def later(exporter: Exporter) -> Samples:
    """What the exporter tells of a pass that began after this call."""
    passes = scrape(exporter)["nsexporter_passes_total", frozenset()]

    def told() -> Samples | None:
        samples = scrape(exporter)
        # The next one may have been under way.
        return samples if samples["nsexporter_passes_total", frozenset()] >= passes + 2 else None

    return until(told)


def by_cgroup(samples: Samples, below: str) -> dict[str, int]:
    """Kills of the cgroups below a path that had one."""
    kills: dict[str, int] = {}
    for (name, labels), value in samples.items():
        cgroup = dict(labels).get("cgroup", "")
        if name == _KILLS and value and cgroup.startswith(below):
            kills[cgroup] = kills.get(cgroup, 0) + int(value)
    return kills


def unattributed(samples: Samples) -> int:
    """Kills of no cgroup."""
    return int(samples["nsexporter_oom_kills_unattributed_total", frozenset()])


def wait_for(
    exporter: Exporter, holds: Callable[[Samples], bool], seconds: float = 15.0
) -> Samples:
    """What the exporter tells as soon as that holds; the last of it where it never does."""
    end = deadline(seconds)
    while not holds(samples := scrape(exporter)) and time.monotonic() < end:
        time.sleep(0.2)
    return samples
