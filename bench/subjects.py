"""What is measured: each makes one pass when asked and says what CPU time that took."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from nsexporter.kernel import interface_files, mounts
from nsexporter.kernel.files import Reader

SOURCES = Path(__file__).parent


class Subject(Protocol):
    """Something that does its work when asked."""

    def run(self) -> float:
        """Do it once; the CPU time it took, user and system, in milliseconds."""


def compiled(name: str, directory: Path) -> Path:
    """A C program of this directory."""
    target = directory / name
    compiler = os.environ.get("CC", "cc")
    subprocess.run([compiler, "-O2", "-Wall", "-o", target, SOURCES / f"{name}.c"], check=True)
    return target


class Floor:
    """The C program that reads the same files and links, without parsing or output."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.cgroups = self.reads = self.kept = self.processes = 0

    def run(self) -> float:
        """One pass."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write("\n")
        used, *counts = map(int, self._process.stdout.readline().split())
        self.cgroups, self.reads, self.kept, self.processes = counts
        return used / 1000


@contextmanager
def floor(program: Path, mode: str, like: str) -> Iterator[Floor]:
    """Stateless or kept; `like` is a cgroup whose files are those that all have."""
    with subprocess.Popen(
        [program, mode, "/proc", *_same_reads(like)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        bufsize=1,
    ) as process:
        yield Floor(process)


def _same_reads(like: str) -> list[str]:
    """The hierarchies and files that an exact pass reads, as the floor's arguments."""
    found = mounts.find(Reader(), "/proc", "/sys", "/")
    assert found.memory is not None
    files: dict[str, list[str]] = {found.memory: ["cgroup.procs"]}
    files[found.memory] += (
        interface_files.V1_FILES if found.version == "v1" else interface_files.V2_FILES
    )
    if found.pids is not None:
        files.setdefault(found.pids, []).extend(interface_files.PIDS_FILES)
    if found.unified is not None and found.version == "v1":
        files[found.unified] = ["memory.pressure"]
    arguments = []
    for root, names in files.items():
        there = [name for name in names if os.path.exists(f"{root}/{like}/{name}")]
        arguments += ["--", root, *(there or names[:1])]
    return arguments[1:]


class Daemon:
    """A process that answers HTTP."""

    def __init__(self, process: subprocess.Popen[bytes], port: int) -> None:
        self.port = port
        self._pid = process.pid
        # make_process_cpuclock in include/linux/posix-timers.h: the CPU time of all threads.
        self._clock = (~process.pid << 3) | 2

    def cpu(self) -> float:
        """Milliseconds of CPU time it has used."""
        return time.clock_gettime(self._clock) * 1000

    def rss(self) -> float:
        """Resident memory in MB."""
        status = Path(f"/proc/{self._pid}/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1000

    def descriptors(self) -> int:
        """Open descriptors."""
        return len(os.listdir(f"/proc/{self._pid}/fd"))


class Scrape:
    """One kind of scrape of a daemon; the body's length is in `payload` after a run."""

    def __init__(self, daemon: Daemon, path: str = "/metrics", coding: str = "identity") -> None:
        self._daemon, self._path, self._coding = daemon, path, coding
        self.payload = 0

    def run(self) -> float:
        """One such scrape."""
        before = self._daemon.cpu()
        connection = http.client.HTTPConnection("127.0.0.1", self._daemon.port, timeout=120)
        connection.request("GET", self._path, headers={"Accept-Encoding": self._coding})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        if response.status != 200:
            raise RuntimeError(f"{self._path}: {response.status} {body[:200]!r}")
        self.payload = len(body)
        return self._daemon.cpu() - before


@contextmanager
def daemon(*command: str, cwd: Path | None = None) -> Iterator[Daemon]:
    """A daemon whose last argument ends with the address to listen on, with `PORT` in it."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [word.replace("PORT", str(port)) for word in command]
    environment = dict(os.environ, PYTHONPATH=str(cwd)) if cwd else None
    with subprocess.Popen(argv, cwd=cwd, env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            _listens(process, port)
            yield Daemon(process, port)
        finally:
            process.kill()


def exporter(*flags: str, cwd: Path = SOURCES.parent) -> contextlib.AbstractContextManager[Daemon]:
    """The exporter of a source tree; a pass for every scrape and none between."""
    return daemon(
        sys.executable,
        "-m",
        "nsexporter",
        "--collection.interval=365d",
        "--collection.max-age=0s",
        "--web.listen-address=127.0.0.1:PORT",
        *flags,
        cwd=cwd,
    )


def _listens(process: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=60).close()
            return
        except ConnectionRefusedError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"{process.args!r} does not listen") from None
            time.sleep(0.005)


class Command:
    """A program that does its work and ends."""

    def __init__(self, *argv: str) -> None:
        self._argv = argv

    def run(self) -> float:
        """Run it once."""
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(self._argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1000


def alternate(
    subjects: Mapping[str, Subject], rounds: int, between: Callable[[], None]
) -> dict[str, float]:
    """The median of each subject's runs, in milliseconds: A B, B A, A B, ...; the first is free.

    `between` is called before every run, so that each finds a host that has changed: in turn one
    whose memory is mapped and one whose memory is given back, so that the order has to turn, too.
    """
    times: dict[str, list[float]] = {name: [] for name in subjects}
    for number in range(rounds + 1):
        turned = [*subjects.items()]
        if number % 2:
            turned.reverse()
        for name, subject in turned:
            between()
            used = subject.run()
            if number:
                times[name].append(used)
    return {name: statistics.median(some) for name, some in times.items()}
