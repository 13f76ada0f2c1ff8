"""What the service manager is told, and what it lets the service do."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from tests.conftest import Need
from tests.live.exporter import running

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_the_manager_is_told_of_the_start_a_reload_life_and_the_end(tmp_path: Path) -> None:
    path = f"{tmp_path}/notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        manager.settimeout(30)

        def told(wanted: str) -> str:
            while wanted not in (text := manager.recv(4096).decode()):
                assert text == "WATCHDOG=1"
            return text

        os.environ |= {"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "400000"}
        try:
            with running() as exporter:
                assert told("READY=1") == f"READY=1\nSTATUS=listens on 127.0.0.1:{exporter.port}"
                for _ in range(3):
                    told("WATCHDOG=1")
                exporter.process.send_signal(signal.SIGHUP)
                assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", told("RELOADING"))
                told("READY=1")
                exporter.process.terminate()
                told("STOPPING=1")
                assert exporter.process.wait(20) == 0
        finally:
            for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC"):
                del os.environ[name]


def test_the_units_exposure_is_what_the_document_explains(need: Need) -> None:
    """At most 2.0 of 10, and each line of it has its reason in docs/security.md."""
    analyze = shutil.which("systemd-analyze")
    need("live", analyze is not None, "systemd is not installed")
    assert analyze is not None
    told = subprocess.run(
        [analyze, "security", "--offline=true", "--no-pager", DEPLOY / "nsexporter.service"],
        capture_output=True,
        text=True,
        env={**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0"},
    ).stdout
    overall = re.search(r"Overall exposure level for nsexporter\.service: ([0-9.]+)", told)
    assert overall and float(overall[1]) <= 2.0, told
    exposed = {line.split()[1] for line in told.splitlines() if line.startswith("✗")}
    document = (DEPLOY.parent / "docs" / "security.md").read_text().replace("\\|", "|")
    assert {name for name in exposed if f"`{name}`" not in document} == set()
