"""Cgroups and processes of the tests' own, on the kernel that runs them."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nsexporter.kernel import mounts
from nsexporter.kernel.files import Reader
from tests.conftest import Need
from tests.waiting import deadline


def memory_root() -> Path | None:
    """The root of the hierarchy with the memory controller, where we may make cgroups in it."""
    found = mounts.find(Reader(), "/proc", "/sys", "/")
    if found.version == "none" or found.memory is None or os.geteuid() != 0:
        return None
    return Path(found.memory)


def version() -> str:
    """v1, v2 or none."""
    return mounts.find(Reader(), "/proc", "/sys", "/").version


def path_of(cgroup: Path) -> str:
    """The path of a cgroup in the hierarchy with memory, as the samples have it."""
    root = memory_root()
    assert root is not None
    return "/" + str(cgroup.relative_to(root))


def kernel_value(cgroup: Path, source: str) -> float | None:
    """The value of `file` or `file key`, read anew and parsed here."""
    name, _, key = source.partition(" ")
    try:
        text = (cgroup / name).read_text().split("\n")
    except FileNotFoundError:
        return None
    value: str | None = text[0]
    if key:
        value = next((line.split()[1] for line in text if line.split()[:1] == [key]), None)
    if value is None:
        return None
    if value == "max" or int(value) >= 9223372036854710272:
        return math.inf
    return float(value)


def kill_by_limit(cgroup: Path, megabytes: int = 64) -> None:
    """An OOM kill in a cgroup that may have less than this."""
    killed = subprocess.run(
        hog(megabytes), preexec_fn=lambda: enter(cgroup), check=False, stderr=subprocess.DEVNULL
    )
    assert killed.returncode == -signal.SIGKILL


def enter(cgroup: Path) -> None:
    """Move this process into a cgroup."""
    (cgroup / "cgroup.procs").write_text("0")


@contextlib.contextmanager
def swap_on(device: str) -> Iterator[None]:
    """Swap on a device, while it lasts."""
    subprocess.run(["mkswap", device], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["swapon", device], check=True)
    try:
        yield
    finally:
        subprocess.run(["swapoff", device], check=True)


@contextlib.contextmanager
def tree(root: Path) -> Iterator[Path]:
    """A cgroup of our own, removed with all below it."""
    top = root / f"nsexporter-test-{uuid.uuid4().hex[:8]}"
    top.mkdir()
    try:
        if version() == "v2":
            for above in (root, top):
                (above / "cgroup.subtree_control").write_text("+memory +pids")
        yield top
    finally:
        remove(top)


@contextlib.contextmanager
def own(need: Need, suite: str) -> Iterator[Path]:
    """A cgroup of our own in the hierarchy with memory, without which the test is skipped."""
    root = memory_root()
    need(suite, root is not None, "no memory hierarchy to make cgroups in (or not root)")
    assert root is not None
    with tree(root) as top:
        yield top


def remove(top: Path) -> None:
    """Remove a cgroup and all below it, after its processes were ended."""
    for directory, _, _ in os.walk(bytes(top), topdown=False):
        end = deadline(10)
        while True:
            try:
                os.rmdir(directory)
                break
            except FileNotFoundError:
                break
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)


_ALONE = """
echo $$ >"$1/cgroup.procs"
exec unshare --cgroup --mount sh -euc '
mkdir "$1/exporter"
echo $$ >"$1/exporter/cgroup.procs"
umount -l "$2"
case $3 in
v1) mount -t cgroup -o memory cgroup "$2" ;;
v2) mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 "$2"
    echo +memory >"$2/cgroup.subtree_control" ;;
esac
shift 3
exec "$@"' sh "$@"
"""


def alone(cgroup: Path) -> tuple[str, ...]:
    """What a program is run by for which an empty cgroup is the root: it sees nobody else's."""
    return ("sh", "-euc", _ALONE, "sh", str(cgroup), str(memory_root()), version())


@contextlib.contextmanager
def process(
    cgroup: Path | None, *command: str, unshare: tuple[str, ...] = (), becomes: str = ""
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a cgroup and, by unshare(1)'s flags, in namespaces of its own."""
    argv = list(command or ("sleep", "600"))
    if unshare:
        argv = ["unshare", *unshare, *argv]
    started = subprocess.Popen(
        argv,
        preexec_fn=None if cgroup is None else lambda: enter(cgroup),
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _executed(started.pid, becomes or (command[0] if command else "sleep"))
        yield started
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def _executed(pid: int, name: str) -> None:
    """Wait until unshare(1) has become, or has forked, the command."""
    end = deadline(5)
    wanted = os.path.basename(name).encode()
    while time.monotonic() < end:
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for one in (pid, *children):
                argv = Path(f"/proc/{one}/cmdline").read_bytes().split(b"\0")
                if os.path.basename(argv[0]) == wanted:
                    return
        time.sleep(0.005)
    raise TimeoutError(f"{name} did not start")


def hog(megabytes: int) -> tuple[str, ...]:
    """A command that touches so much memory and ends."""
    return (sys.executable, "-c", f"bytearray({megabytes} << 20)")


@dataclass(frozen=True, slots=True)
class Pair:
    """Two containers that share a net namespace; the first has a limit of 64 MiB."""

    ids: tuple[str, str]
    pids: tuple[int, int]


@contextlib.contextmanager
def pair() -> Iterator[Pair]:
    """Two containers in docker's layout, made by hand."""
    root = memory_root()
    assert root is not None
    limit = "memory.limit_in_bytes" if version() == "v1" else "memory.max"
    ids = (uuid.uuid4().hex * 2, uuid.uuid4().hex * 2)
    with tree(root) as top, contextlib.ExitStack() as stack:
        above = top / "docker"
        above.mkdir()
        if version() == "v2":
            (above / "cgroup.subtree_control").write_text("+memory")
        for one in ids:
            (above / one).mkdir()
        (above / ids[0] / limit).write_text(str(64 << 20))
        first = stack.enter_context(process(above / ids[0], unshare=("--net", "--uts")))
        stack.enter_context(process(above / ids[0]))
        join = ("nsenter", f"--net=/proc/{first.pid}/ns/net", "sleep", "600")
        second = stack.enter_context(process(above / ids[1], *join, becomes="sleep"))
        yield Pair(ids, (first.pid, second.pid))
