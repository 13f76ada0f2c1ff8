"""Bundles that only runc or crun knows, LXC's containers and nspawn's."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live.lab import enter
from tests.runtimes.images import bundle, root_tar, unpack
from tests.runtimes.rig import Lab, cgroup, end, own, remove_cgroups
from tests.waiting import until


@pytest.mark.parametrize("runtime", ["runc", "crun"])
def test_a_bundle_is_what_the_runtimes_state_says(
    need: Need, lab: Lab, runtime: str, tmp_path: Path
) -> None:
    need("runtimes", shutil.which(runtime) is not None, f"{runtime} is not installed")
    name = f"box-{uuid.uuid4().hex[:8]}"
    made = bundle(
        tmp_path / "bundle",
        root_tar(tmp_path / "root.tar"),
        f"/nsexporter-test-oci/{runtime}",
        **{"org.opencontainers.image.ref.name": "box:1"},
    )
    subprocess.run(
        lab.argv(runtime, "run", "-d", "-b", str(made), name),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        told = json.loads(lab.run(runtime, "state", name))
        seen = lab.snapshot()
        found = own(seen, told["id"])
        assert found.path == cgroup(told["pid"]) == f"/nsexporter-test-oci/{runtime}"
        assert found.pids == (told["pid"],)
        assert found.container is not None
        assert (found.container.runtime, found.container.name) == (runtime, name)
        assert found.container.image == "box:1"
        assert found.identity.kind == "container"
        assert seen.label_ids[name] == name
    finally:
        lab.run(runtime, "delete", "-f", name)
        remove_cgroups("nsexporter-test-oci")


LXC_CONF = """\
lxc.rootfs.path = dir:{root}
lxc.uts.name = {name}
lxc.net.0.type = empty
lxc.init.cmd = /bin/sleep 86400
lxc.mount.auto = proc:mixed sys:ro
lxc.apparmor.profile = unconfined
"""


def test_a_container_of_lxc_is_what_lxc_info_says(need: Need, lab: Lab, tmp_path: Path) -> None:
    need("runtimes", shutil.which("lxc-start") is not None, "lxc is not installed")
    name = f"box-{uuid.uuid4().hex[:8]}"
    home = lab.path(f"/var/lib/lxc/{name}")
    unpack(root_tar(tmp_path / "root.tar"), home / "rootfs")
    text = LXC_CONF.format(root=f"/var/lib/lxc/{name}/rootfs", name=name)
    (home / "config").write_text(text)
    lab.run("lxc-start", "-n", name)
    try:
        pid = int(lab.run("lxc-info", "-n", name, "-p", "-H"))
        seen = lab.snapshot()
        found = own(seen, name)
        assert found.path == cgroup(pid) == f"/lxc.payload.{name}"
        assert pid in found.pids
        assert found.container is not None
        assert (found.container.runtime, found.container.name) == ("lxc", name)
        (monitor,) = (one for one in seen.cgroups if one.path == f"/lxc.monitor.{name}")
        assert (monitor.identity.kind, monitor.identity.helper_of) == ("helper", name)
        assert monitor.container is None
    finally:
        lab.run("lxc-stop", "-k", "-n", name)
        for leftover in (f"lxc.payload.{name}", f"lxc.monitor.{name}", "lxc.pivot"):
            remove_cgroups(leftover)


def test_a_container_of_nspawn_in_its_service_is_found(
    need: Need, lab: Lab, tmp_path: Path
) -> None:
    nspawn = unpacked_nspawn(tmp_path)
    need("runtimes", nspawn is not None, "systemd-container could not be downloaded")
    assert nspawn is not None
    root = next(p for p in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup") if os.path.isdir(p))
    name = f"box-{uuid.uuid4().hex[:8]}"
    # The cgroup that systemd gives the service: nspawn itself knows name=systemd and cgroup2.
    service = Path(root) / f"nsexporter-test-nspawn/systemd-nspawn@{name}.service"
    service.mkdir(parents=True)
    unpack(root_tar(tmp_path / "root.tar"), tmp_path / "root")
    (tmp_path / "root/etc/os-release").write_text("ID=box\n")

    started = subprocess.Popen(
        lab.argv(
            *(str(nspawn), "--register=no", "--keep-unit", "-D", str(tmp_path / "root")),
            *("-M", name, "--private-network", "-q", "/bin/sleep", "86400"),
        ),
        preexec_fn=lambda: enter(service),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        env={
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "LD_LIBRARY_PATH": ":".join(map(str, nspawn.parents[2].glob("usr/lib/*/systemd"))),
        },
    )
    try:

        def payload() -> int | None:
            """The container's first process: it is called sleep."""
            assert started.poll() is None, "nspawn ended"
            for pid in (service / "cgroup.procs").read_text().split():
                if Path(f"/proc/{pid}/comm").read_text() == "sleep\n":
                    return int(pid)
            return None

        pid = until(payload, 60)
        found = own(lab.snapshot(), name)
        assert found.path == cgroup(pid) == f"/nsexporter-test-nspawn/{service.name}"
        assert pid in found.pids
        assert found.container is not None
        assert (found.container.runtime, found.container.name) == ("systemd-nspawn", name)
        assert found.identity.machine == name
    finally:
        end(started)
        remove_cgroups("nsexporter-test-nspawn")


def unpacked_nspawn(directory: Path) -> Path | None:
    """systemd-nspawn and its library, downloaded but not installed; None where that fails."""
    done = subprocess.run(
        ["apt-get", "download", "-q", "systemd-container", "libsystemd-shared"],
        cwd=directory,
        capture_output=True,
    )
    if done.returncode:
        return None
    for package in directory.glob("*.deb"):
        subprocess.run(["dpkg", "-x", package, directory / "unpacked"], check=True)
    return directory / "unpacked/usr/bin/systemd-nspawn"
