"""The exporter as its own service, from deploy/: confined as the unit says, and seeing all."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.live import lab
from tests.samples import of
from tests.systemd.conftest import Installed
from tests.systemd.host import MB, MEMORY, run, shown, value
from tests.waiting import until

SERVICE = "nsexporter.service"
CGROUP = f"/system.slice/{SERVICE}"
# CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE, CAP_SYSLOG (capability.h).
CAPABILITIES = 1 << 2 | 1 << 19 | 1 << 34


def main_pid() -> int:
    return int(shown(SERVICE, "MainPID")["MainPID"])


def test_it_serves_as_a_user_with_three_capabilities_and_sees_all(installed: Installed) -> None:
    told = shown(SERVICE, "ActiveState", "SubState", "Type", "StatusText", "DynamicUser")
    assert (told["ActiveState"], told["SubState"], told["Type"]) == ("active", "running", "notify")
    assert told["StatusText"] == "listens on [::]:10061"
    status = dict(
        line.split(":\t", 1)
        for line in Path(f"/proc/{main_pid()}/status").read_text().splitlines()
        if ":\t" in line
    )
    assert int(status["Uid"].split()[1]) >= 61184  # the range of dynamic users
    for held in ("CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[held], 16) == CAPABILITIES, held
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    samples = installed.scrape()
    assert of(samples, "nsexporter_up") == 1
    capabilities = {
        dict(labels)["name"]: held
        for (name, labels), held in samples.items()
        if name == "nsexporter_capability"
    }
    assert set(capabilities.values()) == {1}, capabilities
    failed = [labels for (name, labels) in samples if name == "nsexporter_read_errors_total"]
    assert failed == []
    assert (of(samples, "nsexporter_landlock_version") or 0) > 0
    assert value(samples, MEMORY + "limit_bytes", CGROUP) == 512 * MB
    assert value(samples, MEMORY + "high_bytes", CGROUP) == 384 * MB
    assert value(samples, "nsexporter_cgroup_pids_limit", CGROUP) == 64
    # As the kernel has it: its own memory, far below what it is given.
    used = value(samples, MEMORY + "peak_bytes", CGROUP)
    assert used is not None and used < 128 * MB


def test_what_it_counted_is_kept_in_its_state_directory(installed: Installed) -> None:
    installed.scrape()
    directory = Path("/var/lib/private/nsexporter")
    until(lambda: (directory / "oom.json").exists())
    owner = os.stat(directory)
    assert owner.st_mode & 0o777 == 0o700
    assert os.stat(directory / "oom.json").st_uid == owner.st_uid


def test_a_connection_starts_it_where_it_does_not_run(installed: Installed) -> None:
    run("systemctl", "stop", SERVICE)
    assert shown(SERVICE, "ActiveState", "Result") == {
        "ActiveState": "inactive",
        "Result": "success",
    }
    assert of(installed.scrape(), "nsexporter_up") == 1
    assert shown(SERVICE, "ActiveState")["ActiveState"] == "active"


@contextlib.contextmanager
def edited(text: str) -> Iterator[None]:
    """The service with more in its section, as systemctl edit writes it."""
    place = Path(f"/run/systemd/system/{SERVICE}.d")
    place.mkdir()
    (place / "override.conf").write_text(f"[Service]\n{text}\n")
    run("systemctl", "daemon-reload")
    run("systemctl", "restart", SERVICE)
    try:
        yield
    finally:
        (place / "override.conf").unlink()
        place.rmdir()
        run("systemctl", "daemon-reload")
        run("systemctl", "restart", SERVICE)


def test_the_manager_ends_it_when_it_hangs_and_starts_it_again(installed: Installed) -> None:
    with edited("WatchdogSec=6s\nRestartSec=0"):
        installed.scrape()
        pid = main_pid()
        told = "WatchdogTimestampMonotonic"
        for _ in range(3):
            before = shown(SERVICE, told)
            until(lambda: shown(SERVICE, told) != before)  # noqa: B023
        assert main_pid() == pid
        os.kill(pid, signal.SIGSTOP)
        until(lambda: main_pid() not in (0, pid))
        assert of(installed.scrape(), "nsexporter_up") == 1
        assert int(shown(SERVICE, "NRestarts")["NRestarts"]) == 1


def test_a_reload_is_told_and_takes_the_new_settings(installed: Installed) -> None:
    file = Path("/etc/nsexporter/config.yaml")
    file.write_text("collectors: {namespaces: true}\n")
    program = "/opt/nsexporter/bin/nsexporter"
    flag = "--config.file=${CONFIGURATION_DIRECTORY}/config.yaml"  # as the unit advises
    with edited(f"ExecStart=\nExecStart={program} {flag}"):
        pid = main_pid()
        net = {"ns_type": "net"}
        assert of(installed.scrape(), "nsexporter_namespaces", **net)
        file.write_text("collectors: {namespaces: false}\n")
        run("systemctl", "reload", SERVICE)
        until(lambda: shown(SERVICE, "ActiveState")["ActiveState"] == "active")
        samples = installed.scrape()
        assert of(samples, "nsexporter_config_last_reload_successful") == 1
        assert of(samples, "nsexporter_namespaces", **net) is None
        assert main_pid() == pid
    file.unlink()


def test_its_exposure_is_at_most_2_of_10_as_the_manager_has_it(installed: Installed) -> None:
    told = run("systemd-analyze", "security", "--no-pager", SERVICE)
    overall = re.search(r"Overall exposure level for nsexporter\.service: ([0-9.]+)", told)
    assert overall and float(overall[1]) <= 2.0, told


@pytest.fixture
def clock() -> Iterator[Callable[[int], None]]:
    """Sets the host's clock forward by so many seconds, or back; it is right again at the end."""
    right = time.time() - time.monotonic()

    def jump(seconds: int) -> None:
        time.clock_settime(time.CLOCK_REALTIME, time.time() + seconds)

    yield jump
    time.clock_settime(time.CLOCK_REALTIME, right + time.monotonic())


def test_jumps_of_the_clock_lose_no_pass_and_count_no_time(
    installed: Installed, unit: str, clock: Callable[[int], None]
) -> None:
    holds = "import time; held = b'x' * (12 << 20); time.sleep(600)"
    low = "--property=MemoryLow=1M"
    run("systemd-run", f"--unit={unit}", low, sys.executable, "-c", holds)
    cgroup = f"/system.slice/{unit}.service"
    exceeded = MEMORY + "reservation_exceeded_seconds_total"
    until(lambda: value(installed.scrape(), exceeded, cgroup))
    pid, began = main_pid(), time.monotonic()
    last = value(installed.scrape(), exceeded, cgroup) or 0
    for day in (1, -2, 1):
        clock(day * 86400)
        samples = installed.scrape()
        told = of(samples, "nsexporter_last_pass_timestamp_seconds")
        assert told is not None and abs(told - time.time()) < 60
        assert of(samples, "nsexporter_up") == 1
        now = value(samples, exceeded, cgroup)
        assert now is not None and last <= now <= last + time.monotonic() - began
        last = now
    clock(86400)
    with lab.tree(Path("/sys/fs/cgroup")) as top:
        (top / "box").mkdir()
        (top / "box/memory.max").write_text(str(16 * MB))
        lab.kill_by_limit(top / "box")
        last_kill, box = "nsexporter_oom_last_kill_timestamp_seconds", f"/{top.name}/box"
        killed_at = until(lambda: value(installed.scrape(), last_kill, box))
        assert killed_at is not None and abs(killed_at - time.time()) < 60
    assert main_pid() == pid
