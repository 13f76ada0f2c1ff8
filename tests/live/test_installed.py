"""deploy/nsexporter.service and nsexporter.socket as systemd runs them, where systemd is PID 1."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import until

DEPLOY = Path(__file__).parents[2] / "deploy"
UNITS = Path("/run/systemd/system")
CAPABILITIES = 1 << 2 | 1 << 19 | 1 << 34  # DAC_READ_SEARCH, SYS_PTRACE, SYSLOG


def systemctl(*arguments: str) -> str:
    told = subprocess.run(["systemctl", *arguments], capture_output=True, text=True, timeout=300)
    if told.returncode:
        journal = ["journalctl", "--no-pager", "--lines=40", "--unit=nsexporter.service"]
        log = subprocess.run(journal, capture_output=True, text=True).stdout
        pytest.fail(f"systemctl {' '.join(arguments)}: {told.stderr}{told.stdout}{log}")
    return told.stdout.strip()


@pytest.fixture
def port() -> Iterator[int]:
    """The port on which the units, installed from deploy/, serve."""
    if not UNITS.is_dir() or os.geteuid() != 0 or (UNITS / "nsexporter.service").exists():
        pytest.skip("systemd is not PID 1 here, or nsexporter is installed already")
    with socket.create_server(("127.0.0.1", 0)) as free:
        number: int = free.getsockname()[1]
    for kind, text in (
        ("service", f"[Service]\nWorkingDirectory={DEPLOY.parent}\nExecStart=\n"
                    f"ExecStart={sys.executable} -m nsexporter\n"),
        ("socket", f"[Socket]\nListenStream=\nListenStream=127.0.0.1:{number}\n"),
    ):  # fmt: skip
        shutil.copy(DEPLOY / f"nsexporter.{kind}", UNITS)
        (UNITS / f"nsexporter.{kind}.d").mkdir()
        (UNITS / f"nsexporter.{kind}.d" / "test.conf").write_text(text)
    try:
        systemctl("daemon-reload")
        yield number
    finally:
        subprocess.run(["systemctl", "stop", "nsexporter.socket", "nsexporter.service"])
        for kind in ("service", "socket"):
            (UNITS / f"nsexporter.{kind}").unlink()
            shutil.rmtree(UNITS / f"nsexporter.{kind}.d")
        subprocess.run(["systemctl", "daemon-reload"])


def scrape(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", "/metrics")
    return connection.getresponse().read().decode()


def test_the_service_is_confined_and_sees_the_host(port: int) -> None:
    systemctl("start", "nsexporter.service")
    assert "listens on" in systemctl("show", "--property=StatusText", "nsexporter.service")
    pid = systemctl("show", "--property=MainPID", "--value", "nsexporter.service")
    status = Path(f"/proc/{pid}/status").read_text()
    fields = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    assert fields["Uid"].split()[0] != "0"
    assert {int(fields[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {CAPABILITIES}
    assert (fields["NoNewPrivs"], fields["Seccomp"]) == ("1", "2")
    text = scrape(port)
    for name in ("memory", "host_namespaces", "kmsg", "ns_read"):
        assert f'nsexporter_capability{{name="{name}"}} 1\n' in text, name
    assert not re.search(r"^nsexporter_collector_success\{.*\} 0$", text, re.MULTILINE)
    assert not re.search(r"^nsexporter_landlock_version 0$", text, re.MULTILINE)
    assert 'cgroup="/system.slice/nsexporter.service"' in text
    until(lambda: Path("/var/lib/nsexporter/oom.json").exists(), 120)
    systemctl("reload", "nsexporter.service")
    until(lambda: "nsexporter_config_last_reload_successful 1\n" in scrape(port), 120)
    systemctl("stop", "nsexporter.service")
    assert systemctl("show", "--property=Result", "--value", "nsexporter.service") == "success"


def test_the_socket_starts_the_service_at_the_first_scrape(port: int) -> None:
    systemctl("start", "nsexporter.socket")
    assert systemctl("show", "--property=MainPID", "--value", "nsexporter.service") == "0"
    assert "\nnsexporter_up 1\n" in scrape(port)
