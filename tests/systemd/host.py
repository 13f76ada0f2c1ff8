"""Commands on a host that systemd runs, and what samples tell of a cgroup."""

from __future__ import annotations

import subprocess
import tarfile
from pathlib import Path

from tests.samples import Samples
from tests.waiting import until

MB = 1 << 20
MEMORY = "nsexporter_cgroup_memory_"


def run(*command: str) -> str:
    """What a command that ends well prints."""
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, f"{command}: {told.stdout}{told.stderr}"
    return told.stdout.strip()


def box(place: Path, busybox: str) -> Path:
    """A root file system of busybox as a tar file, at `place`."""
    with tarfile.open(place, "w") as archive:
        archive.add(busybox, "bin/busybox")
        for applet in ("sh", "sleep", "dd"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return place


def start_docker(unit: str) -> None:
    """Docker as a unit, with systemd's cgroup driver and no networks of its own."""
    run(
        *("systemd-run", f"--unit={unit}", "--property=Delegate=yes", "dockerd"),
        *("--exec-opt", "native.cgroupdriver=systemd", "--bridge=none", "--iptables=false"),
    )
    until(lambda: subprocess.run(["docker", "info"], capture_output=True).returncode == 0, 60)


def shown(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit."""
    flags = (f"--property={name}" for name in properties)
    return dict(
        line.split("=", 1) for line in run("systemctl", "show", unit, *flags).splitlines() if line
    )


def labels(samples: Samples, name: str, cgroup: str) -> dict[str, str]:
    """The labels of a cgroup's sample; none where there is no sample."""
    found = (dict(pairs) for one, pairs in samples if one == name and ("cgroup", cgroup) in pairs)
    return next(found, {})


def value(samples: Samples, name: str, cgroup: str) -> float | None:
    """A cgroup's sample, whatever its other labels."""
    return samples.get((name, frozenset(labels(samples, name, cgroup).items())))
