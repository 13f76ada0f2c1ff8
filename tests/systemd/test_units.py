"""Units and containers of a host that systemd runs: what is shown of each is what was set."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter.collector import Collector
from tests.conftest import Need
from tests.live import lab
from tests.live.conftest import collector as collector  # a fixture
from tests.samples import Samples, of, scrape
from tests.waiting import until

MB = 1 << 20
MEMORY = "nsexporter_cgroup_memory_"


@pytest.fixture(autouse=True)
def manager(need: Need) -> None:
    there = Path("/run/systemd/system").is_dir() and os.geteuid() == 0 and lab.version() == "v2"
    need("systemd", there, "systemd does not run this host, or not on cgroup v2, or not for root")


@pytest.fixture
def unit() -> Iterator[str]:
    """A name for a transient unit, stopped at the end."""
    name = f"nsexporter-test-{uuid.uuid4().hex[:8]}"
    yield name
    subprocess.run(["systemctl", "stop", f"{name}.service"], capture_output=True)


def run(*command: str) -> str:
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr
    return told.stdout.strip()


def info(samples: Samples, cgroup: str) -> dict[str, str]:
    return next(
        (
            dict(labels)
            for name, labels in samples
            if name == "nsexporter_cgroup_info" and ("cgroup", cgroup) in labels
        ),
        {},
    )


def test_a_service_has_the_limits_of_its_unit(collector: Collector, unit: str) -> None:
    limits = ("MemoryMax=64M", "MemoryHigh=48M", "MemoryLow=16M", "MemoryMin=4M", "TasksMax=33")
    run("systemd-run", f"--unit={unit}", *(f"--property={p}" for p in limits), "sleep", "600")
    cgroup = f"/system.slice/{unit}.service"
    samples = scrape(collector)
    shown = [
        of(samples, f"nsexporter_cgroup_{name}", cgroup=cgroup)
        for name in ("memory_limit_bytes", "memory_high_bytes", "memory_low_bytes")
    ]
    assert shown == [64 * MB, 48 * MB, 16 * MB]
    assert of(samples, MEMORY + "min_bytes", cgroup=cgroup) == 4 * MB
    assert of(samples, "nsexporter_cgroup_pids_limit", cgroup=cgroup) == 33
    assert of(samples, "nsexporter_cgroup_processes", cgroup=cgroup) == 1
    about = info(samples, cgroup)
    assert (about["kind"], about["unit"]) == ("service", f"{unit}.service")


@pytest.fixture
def image(tmp_path: Path, need: Need) -> Path:
    """A root file system of busybox, as a tar file."""
    busybox = shutil.which("busybox")
    need("systemd", busybox is not None, "busybox-static is not installed")
    assert busybox is not None
    made = tmp_path / "image.tar"
    with tarfile.open(made, "w") as archive:
        archive.add(busybox, "bin/busybox")
        for applet in ("sh", "sleep", "dd"):
            link = tarfile.TarInfo(f"bin/{applet}")
            link.type, link.linkname = tarfile.SYMTYPE, "busybox"
            archive.addfile(link)
    return made


def test_dockers_scopes_are_containers_and_their_kills_are_counted(
    collector: Collector, unit: str, image: Path, tmp_path: Path, need: Need
) -> None:
    need("systemd", shutil.which("dockerd") is not None, "docker is not installed")
    run(
        *("systemd-run", f"--unit={unit}", "--property=Delegate=yes", "dockerd"),
        *("--exec-opt", "native.cgroupdriver=systemd", "--bridge=none", "--iptables=false"),
        *(f"--host=unix://{tmp_path}/socket", f"--data-root={tmp_path}/data"),
        *(f"--exec-root={tmp_path}/exec", f"--pidfile={tmp_path}/pid"),
    )
    docker = ("docker", f"--host=unix://{tmp_path}/socket")
    started = until(
        lambda: subprocess.run([*docker, "info"], capture_output=True).returncode == 0, 60
    )
    assert started, run("journalctl", "--unit", unit, "--no-pager")
    run(*docker, "import", str(image), "box")
    limits = ("--memory=64m", "--memory-reservation=32m", "--memory-swap=64m")
    started_box = (*docker, "run", "--detach", "--network=none", *limits)
    quiet = run(*started_box, "box", "sleep", "600")
    killed = run(*started_box, "box", "sh", "-c", "dd if=/dev/zero of=/dev/null bs=128M; sleep 600")
    try:
        cgroups = {one: f"/system.slice/docker-{one}.scope" for one in (quiet, killed)}
        died = Path(f"/sys/fs/cgroup{cgroups[killed]}")
        assert until(lambda: lab.kernel_value(died, "memory.events.local oom_kill"))
        samples = scrape(collector)
        for one, cgroup in cgroups.items():
            assert info(samples, cgroup)["kind"] == "container"
            own = next(
                dict(labels)
                for name, labels in samples
                if name == MEMORY + "limit_bytes" and ("cgroup", cgroup) in labels
            )
            assert own["container_id"] == one[:12]
            host_config = json.loads(run(*docker, "inspect", one))[0]["HostConfig"]
            assert of(samples, MEMORY + "limit_bytes", **own) == host_config["Memory"]
            reservation = host_config["MemoryReservation"]
            assert of(samples, MEMORY + "reservation_bytes", **own) == reservation
            kills = of(samples, MEMORY + "oom_kills_total", **own)
            assert kills == (1 if one == killed else 0)
    finally:
        run(*docker, "rm", "--force", quiet, killed)
