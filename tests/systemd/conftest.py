"""Units and images of the tests' own, and the exporter as a service of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import samples
from tests.conftest import Need
from tests.kernels.guests import CHECKOUT, SHARE
from tests.live import lab
from tests.systemd.host import box, run
from tests.waiting import deadline

ADDRESS = "http://localhost:10061/metrics"


@pytest.fixture(autouse=True, scope="session")
def manager(need: Need) -> None:
    there = Path("/run/systemd/system").is_dir() and os.geteuid() == 0 and lab.version() == "v2"
    need("systemd", there, "systemd does not run this host, or not on cgroup v2, or not for root")


@pytest.fixture
def unit() -> Iterator[str]:
    """A name for a transient unit, stopped at the end."""
    name = f"nsexporter-test-{uuid.uuid4().hex[:8]}"
    yield name
    subprocess.run(["systemctl", "stop", f"{name}.service"], capture_output=True)


@pytest.fixture(scope="session")
def image(need: Need) -> Iterator[Path]:
    """A root file system of busybox, as a tar file that everybody may read."""
    busybox = shutil.which("busybox")
    need("systemd", busybox is not None, "busybox-static is not installed")
    assert busybox is not None
    made = box(Path(f"/run/nsexporter-test-{uuid.uuid4().hex[:8]}.tar"), busybox)
    yield made
    made.unlink()


class Installed:
    """The exporter as the units in deploy/ run it."""

    def scrape(self) -> samples.Samples:
        """What its port tells of a pass that began after this call."""
        called, end = self._answer()[0], deadline(10)
        while True:
            number, told = self._answer()
            if number >= called + 2:  # the next one may have been under way
                return told
            assert time.monotonic() < end, "no fresh pass"

    def _answer(self) -> tuple[float, samples.Samples]:
        with urllib.request.urlopen(ADDRESS, timeout=120) as response:
            told = samples.read(response.read().decode())
        number = samples.of(told, "nsexporter_passes_total")
        assert number is not None
        return number, told


@pytest.fixture(scope="session")
def installed(manager: None, need: Need) -> Installed:
    """As deploy/nsexporter.service says in its first lines, from wheels that the host made."""
    wheels = SHARE / "wheels"
    need("systemd", wheels.is_dir(), "there are no wheels to install (only a guest has them)")
    run("/usr/bin/python3", "-m", "venv", "--without-pip", "/opt/nsexporter")
    pip = (sys.executable, "-m", "pip", "--python", "/opt/nsexporter/bin/python", "--quiet")
    run(*pip, "install", "--no-index", f"--find-links={wheels}", "nsexporter")
    for name in ("nsexporter.service", "nsexporter.socket"):
        shutil.copy(CHECKOUT / "deploy" / name, "/etc/systemd/system")
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "nsexporter.socket", "nsexporter.service")
    return Installed()
