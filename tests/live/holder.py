"""Cgroups with limits, and processes in them that hold memory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.live import lab
from tests.samples import Samples, of

V1 = lab.version() == "v1"
LIMIT = "memory.limit_in_bytes" if V1 else "memory.max"
USAGE = "memory.usage_in_bytes" if V1 else "memory.current"
RESERVATION = "memory.soft_limit_in_bytes" if V1 else "memory.low"
M = 1 << 20

# Touches so many megabytes, and so many more for a while at every line it reads; answers each.
HOLDER = """
import mmap, sys, time
def touched(megabytes):
    held = mmap.mmap(-1, megabytes << 20)
    for offset in range(0, len(held), 4096):
        held[offset] = 1
    return held
held = touched(int(sys.argv[1]))
print("held", flush=True)
for line in sys.stdin:
    more = touched(int(line))
    time.sleep(1)
    more.close()
    print("let go", flush=True)
"""


def cgroup(top: Path, name: str, **files: int) -> Path:
    """A new cgroup, with these values in its files."""
    made = top / name
    made.mkdir()
    for file, value in files.items():
        (made / file).write_text(str(value))
    return made


def within(cgroup: Path, *command: str) -> int:
    """The exit status of a command in a cgroup."""
    return subprocess.run(command, preexec_fn=lambda: lab.enter(cgroup), check=False).returncode


def cache(directory: Path, megabytes: int) -> tuple[str, ...]:
    """A command that has so much page cache charged, which can be reclaimed.

    A guest's file systems are in memory: there a disk is read that nothing has cached.
    """
    disk = os.environ.get("NSEXPORTER_TEST_SWAP")
    if disk is None:
        program = f"""
with open({str(directory / "cache")!r}, "wb") as file:
    for _ in range({megabytes}):
        file.write(bytes(1 << 20))
"""
    else:
        Path("/proc/sys/vm/drop_caches").write_text("1")
        program = f"""
with open({disk!r}, "rb", buffering=0) as file:
    for _ in range({megabytes}):
        file.read(1 << 20)
"""
    return (sys.executable, "-c", program)


def figure(samples: Samples, cgroup: Path, name: str, **more: str) -> float | None:
    """The sample of nsexporter_cgroup_memory_NAME for a cgroup."""
    return of(samples, f"nsexporter_cgroup_memory_{name}", cgroup=lab.path_of(cgroup), **more)


def holder(cgroup: Path, megabytes: int) -> subprocess.Popen[str]:
    """A process in a cgroup that holds so much."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(megabytes)],
        preexec_fn=lambda: lab.enter(cgroup),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    """Kill a holder."""
    process.kill()
    process.communicate()
