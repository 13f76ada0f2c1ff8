"""Units and containers of a host that systemd runs: what is shown of each is what was set.

All numbers are those that the exporter serves as its own unit.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.samples import Samples
from tests.systemd.conftest import Installed
from tests.systemd.host import MB, MEMORY, labels, run, start_docker, value
from tests.waiting import until

LIMITS = ("--memory=64m", "--memory-reservation=32m", "--memory-swap=64m", "--network=none")
OVER_THE_LIMIT = ("sh", "-c", "dd if=/dev/zero of=/dev/null bs=128M; sleep 600")


def test_a_service_has_the_limits_of_its_unit(installed: Installed, unit: str) -> None:
    limits = ("MemoryMax=64M", "MemoryHigh=48M", "MemoryLow=16M", "MemoryMin=4M", "TasksMax=33")
    run("systemd-run", f"--unit={unit}", *(f"--property={p}" for p in limits), "sleep", "600")
    cgroup = f"/system.slice/{unit}.service"
    samples = installed.scrape()
    shown = [value(samples, f"{MEMORY}{name}_bytes", cgroup) for name in ("limit", "high", "low")]
    assert shown == [64 * MB, 48 * MB, 16 * MB]
    assert value(samples, MEMORY + "effective_limit_bytes", cgroup) == 64 * MB
    assert value(samples, MEMORY + "min_bytes", cgroup) == 4 * MB
    assert value(samples, "nsexporter_cgroup_pids_limit", cgroup) == 33
    assert value(samples, "nsexporter_cgroup_processes", cgroup) == 1
    about = labels(samples, "nsexporter_cgroup_info", cgroup)
    assert (about["kind"], about["unit"]) == ("service", f"{unit}.service")
    invocation = run("systemctl", "show", "--property=InvocationID", "--value", unit).strip()
    assert about["invocation_id"] == invocation != ""


def test_the_limit_of_a_slice_is_the_effective_one_of_the_units_in_it(
    installed: Installed, unit: str
) -> None:
    above = unit.replace("-", "") + ".slice"
    inner = above.replace(".slice", "-inner.slice")
    flags = (f"--unit={unit}", f"--slice={inner}", "--property=MemoryMax=256M")
    run("systemd-run", *flags, "sleep", "600")
    run("systemctl", "set-property", "--runtime", above, "MemoryMax=96M")
    samples = installed.scrape()
    cgroup = f"/{above}/{inner}/{unit}.service"
    assert value(samples, MEMORY + "limit_bytes", cgroup) == 256 * MB
    assert value(samples, MEMORY + "effective_limit_bytes", cgroup) == 96 * MB
    limited = labels(samples, "nsexporter_cgroup_limited_by_info", cgroup)
    assert limited["limiting_cgroup"] == f"/{above}"
    for path in (f"/{above}", f"/{above}/{inner}"):
        assert labels(samples, "nsexporter_cgroup_info", path)["kind"] == "slice"


def check(samples: Samples, cgroup: str, identifier: str, name: str, kills: int) -> None:
    """A container of LIMITS, with so many OOM kills."""
    about = labels(samples, "nsexporter_cgroup_info", cgroup)
    assert about["kind"] == "container", about
    own = labels(samples, MEMORY + "limit_bytes", cgroup)
    assert (own["container_id"], own["container_name"]) == (identifier[:12], name)
    assert value(samples, MEMORY + "effective_limit_bytes", cgroup) == 64 * MB
    assert value(samples, MEMORY + "limit_bytes", cgroup) == 64 * MB
    assert value(samples, MEMORY + "reservation_bytes", cgroup) == 32 * MB
    assert value(samples, MEMORY + "oom_kills_total", cgroup) == kills


def test_dockers_scopes_are_containers_and_their_kills_are_counted(
    installed: Installed, unit: str, image: Path, need: Need
) -> None:
    need("systemd", shutil.which("dockerd") is not None, "docker is not installed")
    start_docker(unit)
    run("docker", "import", str(image), "box")
    box = ("docker", "run", "--detach", *LIMITS)
    quiet = run(*box, "--name=quiet", "box", "sleep", "600")
    killed = run(*box, "--name=killed", "box", *OVER_THE_LIMIT)
    try:
        died = Path(f"/sys/fs/cgroup/system.slice/docker-{killed}.scope")
        until(lambda: lab.kernel_value(died, "memory.events.local oom_kill"))
        samples = installed.scrape()
        for one, name, kills in ((quiet, "quiet", 0), (killed, "killed", 1)):
            told = json.loads(run("docker", "inspect", one))[0]["HostConfig"]
            assert (told["Memory"], told["MemoryReservation"]) == (64 * MB, 32 * MB)
            check(samples, f"/system.slice/docker-{one}.scope", one, name, kills)
    finally:
        run("docker", "rm", "--force", quiet, killed)


Podman = Callable[..., str]


def podman(*before: str) -> Podman:
    """Podman's command line, run by `before`."""
    return lambda *arguments: run(*before, "podman", *arguments)


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_podmans_scopes_are_containers_and_their_kills_are_counted(
    installed: Installed, image: Path, need: Need, runtime: str
) -> None:
    for program in ("podman", runtime):
        need("systemd", shutil.which(program) is not None, f"{program} is not installed")
    own = podman()
    own("import", str(image), "box")
    names = [f"{runtime}-quiet", f"{runtime}-killed"]
    box = ("--runtime", runtime, "run", "--detach", *LIMITS)
    quiet = own(*box, f"--name={names[0]}", "localhost/box", "sleep", "600")
    killed = own(*box, f"--name={names[1]}", "localhost/box", *OVER_THE_LIMIT)
    try:
        inner = "/container" if runtime == "crun" else ""
        cgroups = [f"/machine.slice/libpod-{one}.scope{inner}" for one in (quiet, killed)]
        died = Path(f"/sys/fs/cgroup{cgroups[1]}")
        until(lambda: lab.kernel_value(died, "memory.events.local oom_kill"))
        samples = installed.scrape()
        for cgroup, one, name, kills in zip(cgroups, (quiet, killed), names, (0, 1), strict=True):
            check(samples, cgroup, one, name, kills)
    finally:
        own("rm", "--force", "--time=0", quiet, killed)


@pytest.fixture
def person(need: Need) -> Iterator[pwd.struct_passwd]:
    """An ordinary user with a manager of its own and ids for rootless containers."""
    need("systemd", shutil.which("newuidmap") is not None, "uidmap is not installed")
    name = "nsexporter-test"
    run("useradd", "--create-home", "--shell=/bin/sh", name)
    try:
        run("usermod", "--add-subuids=200000-265535", "--add-subgids=200000-265535", name)
        run("loginctl", "enable-linger", name)
        there = pwd.getpwnam(name)
        bus = Path(f"/run/user/{there.pw_uid}/bus")
        until(bus.exists, 60)
        yield there
        run("loginctl", "disable-linger", name)
        run("systemctl", "stop", f"user@{there.pw_uid}.service")
        until(lambda: not bus.exists())
    finally:
        subprocess.run(["userdel", "--remove", "--force", name], capture_output=True)


def test_rootless_podman_is_in_the_users_slice(
    installed: Installed, image: Path, person: pwd.struct_passwd, need: Need
) -> None:
    need("systemd", shutil.which("podman") is not None, "podman is not installed")
    runtime = f"/run/user/{person.pw_uid}"
    own = podman(
        *("runuser", f"--user={person.pw_name}", "--", "env", "-C", person.pw_dir),
        *(f"HOME={person.pw_dir}", f"XDG_RUNTIME_DIR={runtime}"),
        f"DBUS_SESSION_BUS_ADDRESS=unix:path={runtime}/bus",
    )
    flags = ("--storage-driver=vfs", "--cgroup-manager=systemd", "--runtime=crun")
    own(*flags, "import", str(image), "box")
    identifier = own(
        *flags, "run", "--detach", "--name=mine", *LIMITS, "localhost/box", "sleep", "600"
    )
    try:
        inside = int(own(*flags, "inspect", "--format={{.State.Pid}}", identifier))
        cgroup = Path(f"/proc/{inside}/cgroup").read_text().strip().removeprefix("0::")
        slice_ = f"/user.slice/user-{person.pw_uid}.slice"
        assert cgroup.startswith(f"{slice_}/user@{person.pw_uid}.service/user.slice/libpod-")
        samples = installed.scrape()
        check(samples, cgroup, identifier, "mine", 0)
        assert labels(samples, "nsexporter_cgroup_info", slice_)["kind"] == "slice"
        net = os.stat(f"/proc/{inside}/ns/net").st_ino
        in_it = [
            dict(pairs)["container_name"]
            for name, pairs in samples
            if name == "nsexporter_container_namespace_info" and ("ns_inode", str(net)) in pairs
        ]
        assert in_it == ["mine"]
    finally:
        own(*flags, "rm", "--force", "--time=0", identifier)
