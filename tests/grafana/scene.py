"""What the dashboards show in the tests: real containers, two of them OOM-killed."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.grafana.stack import PROGRAMS, Stack, stack
from tests.runtimes import engines, images, rig

NEEDED = (*PROGRAMS, "dockerd", "docker", "busybox", "ip")
EAT = "dd if=/dev/zero of=/dev/null bs=256M"
FILL = "dd if=/dev/zero of=/data/x bs=1M count={} 2>/dev/null; exec sleep 86400"
CONTAINERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("shop-db", ("-m", "128m"), FILL.format(96)),
    ("shop-cache", ("-m", "64m", "--memory-reservation", "16m"), FILL.format(44)),
    ("backup", ("--memory-reservation", "8m"), FILL.format(24)),
    ("agent", ("--pid", "host", "--uts", "host", "-m", "32m"), FILL.format(6)),
    # At its limit all the time: page cache that is read again and again (clean, so that no kill
    # comes of it).
    (
        "indexer",
        ("-m", "24m"),
        "for i in $(seq 40); do dd if=/dev/zero of=/tmp/x bs=1M count=1 seek=$i conv=fsync,notrunc;"
        " done 2>/dev/null; while :; do cat /tmp/x >/dev/null; sleep 1; done",
    ),
    (
        "shop-web",
        ("-m", "48m"),
        "dd if=/dev/zero of=/data/x bs=1M count=9;"
        " dd if=/dev/zero of=/tmp/x bs=1M count=6 conv=fsync;"
        f" sleep 20; {EAT}; exec sleep 86400",
    ),
    # What is killed is its main process: the container and its cgroup are gone with the kill.
    ("report-job", ("--rm", "-m", "16m"), f"sleep 22; exec {EAT}"),
)
KILLED = {"shop-web", "report-job"}
MAY_BE_EMPTY = {
    # Kernels without PSI, cgroup v1 without per-cgroup reclaim, and errors that are not there.
    "Memory pressure",
    "Pressure: waiting for memory",
    "Pressure",
    "Refaults",
    "Read errors",
    "Sharing across pods",
    "Forgotten for a day",
    "Exporters down",
    "Collectors that fail",
    "Metadata errors",
}
"""Panels that say in words that there is nothing, on some hosts."""


@dataclass(frozen=True)
class Scene:
    """What runs, and the containers: name to full id."""

    stack: Stack
    containers: dict[str, str]

    def label(self, name: str) -> str:
        """A container's container_id label."""
        return self.containers[name][:12]


@contextlib.contextmanager
def played(lab_directory: Path, stack_directory: Path) -> Iterator[Scene]:
    """Docker in a lab, a namespace that is left behind, the stack, and the containers."""
    with contextlib.ExitStack() as ends:
        lab = ends.enter_context(contextlib.closing(rig.Lab(lab_directory)))
        docker = ends.enter_context(contextlib.closing(engines.Docker(lab)))
        lab.run("ip", "netns", "add", "left-behind")
        # Landlock would hide the lab's root, which is below /proc.
        flags = (f"--path.rootfs={lab.path('')}", "--security.landlock=off")
        running = ends.enter_context(stack(stack_directory, *flags, "--collection.max-age=500ms"))
        docker_run = ("run", "-d", "--network", "none", "--tmpfs", "/data:rw,size=200m")
        made = {
            name: docker(*docker_run, "--name", name, *more, images.IMAGE, "sh", "-c", command)
            for name, more, command in CONTAINERS
        }
        sidecar = ("run", "-d", "--name", "shop-sidecar", "--network", "container:shop-web")
        made["shop-sidecar"] = docker(*sidecar, images.IMAGE, "sleep", "86400")
        yield Scene(running, made)
