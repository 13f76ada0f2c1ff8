"""The lab and the runtimes in it, once for all tests."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab as cgroups
from tests.runtimes import engines, rig


@pytest.fixture(scope="session")
def lab(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Lab]:
    """Namespaces of our own."""
    need("runtimes", os.geteuid() == 0, "only root can make a mount namespace")
    wanted = ("unshare", "nsenter", "ip", "busybox")
    missing = [name for name in wanted if shutil.which(name) is None]
    need("runtimes", not missing, f"{missing} are not installed")
    with contextlib.closing(rig.Lab(tmp_path_factory.mktemp("lab"))) as made:
        yield made


@pytest.fixture
def place(need: Need) -> Iterator[Path]:
    """A cgroup to run a runtime in that makes none."""
    with cgroups.own(need, "runtimes") as top:
        (top / "place").mkdir()
        yield top / "place"


@pytest.fixture(scope="session")
def docker(need: Need, lab: rig.Lab) -> Iterator[engines.Docker]:
    """A dockerd."""
    there = shutil.which("dockerd") is not None and shutil.which("docker") is not None
    need("runtimes", there, "docker is not installed")
    with contextlib.closing(engines.Docker(lab)) as made:
        yield made


@pytest.fixture(scope="session")
def podman(need: Need, lab: rig.Lab) -> Iterator[engines.Podman]:
    """Podman with an image."""
    need("runtimes", shutil.which("podman") is not None, "podman is not installed")
    with contextlib.closing(engines.Podman(lab)) as made:
        yield made


@pytest.fixture(scope="session")
def containerd(need: Need, lab: rig.Lab) -> Iterator[engines.Containerd]:
    """A containerd."""
    there = shutil.which("containerd") is not None and shutil.which("ctr") is not None
    need("runtimes", there, "containerd is not installed")
    need("runtimes", os.path.isdir("/usr/lib/cni"), "containernetworking-plugins are not installed")
    with contextlib.closing(engines.Containerd(lab)) as made:
        yield made
