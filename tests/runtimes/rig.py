"""Real runtimes with their default paths, in a mount and a network namespace of their own.

Only cgroups are shared with the host: what a runtime writes below /etc, /run and /var/lib stays in
the lab, its "host" network is the lab's, its other host namespaces are the host's own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.model import Cgroup, Snapshot
from tests.samples import Samples, scrape
from tests.waiting import until

_HOLDER = r"""
set -e
mkdir -p "$1/lib" "$1/etc" "$1/work"
mount --bind "$1/lib" /var/lib
mount -t overlay -o "lowerdir=/etc,upperdir=$1/etc,workdir=$1/work" overlay /etc
mount -t tmpfs -o mode=755 tmpfs /run
mkdir -p /run/lock
# crun and podman refuse a hybrid host whose cgroup2 has a controller.
if [ -e /sys/fs/cgroup/unified/cgroup.controllers ]; then
    : >"$1/empty"
    mount --bind "$1/empty" /sys/fs/cgroup/unified/cgroup.controllers
fi
ip link set lo up
echo ready
exec sleep infinity
"""


class Lab:
    """The namespaces, and what runs in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._daemons: list[subprocess.Popen[bytes]] = []
        self._holder = subprocess.Popen(
            [
                *("unshare", "-m", "-n", "--propagation", "private"),
                *("bash", "-c", _HOLDER, "-", str(directory)),
            ],
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._holder.stdout is not None
        assert self._holder.stdout.readline() == b"ready\n"
        self.pid = self._holder.pid

    def close(self) -> None:
        """End the daemons, then every process that is in the lab, and their descendants."""
        for daemon in reversed(self._daemons):
            end(daemon)
        for pid in _descendants(self._inside()) - {self.pid}:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._holder.kill()
        self._holder.wait()
        assert self._holder.stdout is not None
        self._holder.stdout.close()
        until(self._removed, 60)

    def _removed(self) -> bool:
        # What is mounted in the lab goes with its last process, and is busy until then.
        shutil.rmtree(self.directory, ignore_errors=True)
        return not self.directory.exists()

    def path(self, path: str) -> Path:
        """A path of the lab as seen from outside."""
        return Path(f"/proc/{self.pid}/root{path}")

    def argv(self, *command: str) -> list[str]:
        """A command as run in the lab."""
        return ["nsenter", "-m", "-n", "-t", str(self.pid), "--", *command]

    def run(self, *command: str) -> str:
        """What a command in the lab prints, without the last newline; it has to succeed."""
        done = subprocess.run(
            self.argv(*command), capture_output=True, text=True, timeout=120, cwd="/"
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.rstrip("\n")

    def start(self, *command: str, log: str) -> subprocess.Popen[bytes]:
        """A daemon in the lab, ended with it; its output is in `log`, below the lab's directory."""
        with (self.directory / log).open("wb") as file:
            daemon = subprocess.Popen(
                self.argv(*command),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                cwd="/",
            )
        self._daemons.append(daemon)
        return daemon

    def answers(self, daemon: subprocess.Popen[bytes], path: str, log: str) -> None:
        """Wait until the daemon's socket accepts; where it ends before, its log is the error."""

        def accepts() -> bool:
            assert daemon.poll() is None, (self.directory / log).read_text(errors="replace")
            with socket.socket(socket.AF_UNIX) as connection:
                return connection.connect_ex(str(self.path(path))) == 0

        until(accepts, 60)

    def collector(self, **overrides: object) -> Collector:
        """An exporter that reads the lab's /etc, /run and /var/lib."""
        settings = {"path.rootfs": str(self.path("")), "metadata.timeout": 30.0}
        return Collector(config.load(None, settings | overrides))

    def snapshot(self, **overrides: object) -> Snapshot:
        """One pass over the host with the lab's files."""
        collector = self.collector(**overrides)
        try:
            return collector.collect()
        finally:
            collector.close()

    def scrape(self, **overrides: object) -> Samples:
        """The same as samples."""
        collector = self.collector(**overrides)
        try:
            return scrape(collector)
        finally:
            collector.close()

    def _inside(self) -> set[int]:
        """The processes in the lab's mount namespace: ours, and shims that left their parents."""
        own = os.readlink(f"/proc/{self.pid}/ns/mnt")
        inside = set()
        for name in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.readlink(f"/proc/{name}/ns/mnt") == own:
                    inside.add(int(name))
        return inside


def own(seen: Snapshot, container_id: str) -> Cgroup:
    """The one cgroup that is the container's own."""
    (found,) = (
        one
        for one in seen.cgroups
        if one.container is not None and one.container.container_id == container_id
    )
    return found


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGKILL to what has not ended in time."""
    process.send_signal(signal.SIGCONT)
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _descendants(pids: set[int]) -> set[int]:
    """`pids` and all below them."""
    parents = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            stat = Path(f"/proc/{name}/stat").read_bytes()
            parents[int(name)] = int(stat.rpartition(b")")[2].split()[1])
    found = set(pids)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def remove_cgroups(path: str) -> None:
    """Remove a cgroup of every hierarchy, and those below it, where no process is in them."""
    for top in (Path("/sys/fs/cgroup") / path, *Path("/sys/fs/cgroup").glob(f"*/{path}")):
        for directory, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):  # it is gone, or somebody else's is in it
                os.rmdir(directory)


def cgroup(pid: int) -> str:
    """The cgroup of a process in the hierarchy that the exporter reads."""
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    paths = {line.split(":", 2)[1]: line.split(":", 2)[2] for line in lines}
    return next((paths[key] for key in paths if "memory" in key.split(",")), paths.get("", ""))
