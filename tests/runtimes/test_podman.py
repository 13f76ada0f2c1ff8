"""Podman's containers and pods as the exporter names them, compared with podman inspect."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live.lab import enter, path_of
from tests.runtimes.engines import Podman
from tests.runtimes.images import IMAGE, root_tar
from tests.runtimes.rig import cgroup, end, own, remove_cgroups


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_container_is_what_podman_inspect_says(podman: Podman, runtime: str) -> None:
    flags = ("--network", "none", "--label", "team=core", "-m", "64m")
    container_id = podman.sleep("--runtime", runtime, "--name", f"web-{runtime}", *flags)
    try:
        told = podman.inspect(container_id)
        found = own(podman.lab.snapshot(**{"labels.allow": ("team",)}), container_id)
        container = found.container
        assert container is not None
        assert container.runtime == "podman"
        assert container.name == told["Name"]
        assert (container.image, container.image_id) == (
            told["ImageName"],
            f"sha256:{told['Image']}",
        )
        assert container.image == IMAGE
        assert container.labels == (("team", "core"),)
        assert (container.pod_name, found.pod_name) == ("", "")
        assert found.path == cgroup(told["State"]["Pid"])
        assert told["State"]["Pid"] in found.pids
    finally:
        podman("rm", "-f", "-t", "0", container_id)


def test_a_pods_containers_and_its_cgroup_have_its_name(podman: Podman) -> None:
    podman("pod", "create", "--name", "shop", "--network", "none", "--label", "tier=back")
    try:
        member = podman.sleep("--pod", "shop", "--name", "shop-web")
        pod = json.loads(podman("pod", "inspect", "shop"))
        seen = podman.lab.snapshot(**{"labels.allow": ("tier",)})
        found = own(seen, member)
        assert found.container is not None
        assert (found.container.name, found.container.pod_name) == ("shop-web", "shop")
        assert found.container.labels == (("tier", "back"),)
        infra = own(seen, pod["InfraContainerID"])
        assert infra.identity.kind == "sandbox"
        assert infra.container is not None
        assert infra.container.pod_name == "shop"
        above = {one.path: one for one in seen.cgroups}[pod["CgroupPath"]]
        assert (above.identity.kind, above.pod_name) == ("pod", "shop")
        assert above.container is None
        everywhere = {one.path for one in seen.cgroups if one.pod_name == "shop"}
        assert everywhere >= {above.path, found.path, infra.path}
        assert all(path.startswith(above.path) for path in everywhere)
    finally:
        podman("pod", "rm", "-f", "-t", "0", "shop")


def test_a_pod_below_a_parent_of_its_own_is_no_container(podman: Podman) -> None:
    parent = "/nsexporter-test-podman"
    podman("pod", "create", "--name", "yard", "--network", "none", "--cgroup-parent", parent)
    try:
        member = podman.sleep("--pod", "yard", "--name", "yard-web")
        pod = json.loads(podman("pod", "inspect", "yard"))
        seen = podman.lab.snapshot()
        below = {one.path: one for one in seen.cgroups if one.path.startswith(f"{parent}/")}
        found = own(seen, member)
        assert found.path in below
        assert below[pod["CgroupPath"]].identity.kind == "pod"
        assert below[pod["CgroupPath"]].pod_name == "yard"
        containers = {one.container.container_id for one in below.values() if one.container}
        assert containers == {member, pod["InfraContainerID"]}
    finally:
        podman("pod", "rm", "-f", "-t", "0", "yard")
        remove_cgroups("nsexporter-test-podman")


def test_a_rename_shows_in_the_next_pass(podman: Podman) -> None:
    container_id = podman.sleep("--network", "none", "--name", "early")
    collector = podman.lab.collector()
    try:

        def name() -> str:
            found = own(collector.collect(), container_id).container
            assert found is not None
            return found.name

        assert name() == "early"
        podman("rename", "early", "late")
        assert name() == "late"
    finally:
        collector.close()
        podman("rm", "-f", "-t", "0", container_id)


def test_a_container_without_a_cgroup_is_guessed_by_its_processes_and_marked(
    podman: Podman, place: Path
) -> None:
    try:
        container_id = subprocess.run(
            podman.lab.argv(
                *("podman", "run", "-d", "--cgroups=disabled", "--network=none"),
                *("--name", "nowhere", IMAGE, "sleep", "86400"),
            ),
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=lambda: enter(place),
        ).stdout.strip()
        found = own(podman.lab.snapshot(), container_id)
        assert found.path == path_of(place)
        assert podman.inspect(container_id)["State"]["Pid"] in found.pids
        assert found.container is not None
        assert (found.container.runtime, found.container.name) == ("podman", "nowhere")
        assert found.container.guess == "mountinfo"
        infos = [
            dict(pairs)
            for name, pairs in podman.lab.scrape()
            if name == "nsexporter_container_info" and ("container_name", "nowhere") in pairs
        ]
        assert [info["guess"] for info in infos] == ["mountinfo"]
    finally:
        podman("rm", "-f", "-t", "0", "nowhere")


def test_the_api_tells_the_same_as_the_files(podman: Podman) -> None:
    service = podman.lab.start("podman", "system", "service", "--time=0", log="podman-api.log")
    try:
        podman.lab.answers(service, "/run/podman/podman.sock", "podman-api.log")
        podman("pod", "create", "--name", "asked", "--network", "none")
        container_id = podman.sleep("--pod", "asked", "--name", "member", "--label", "team=core")
        told = []
        for source in ("podman", "podman-api"):
            seen = podman.lab.snapshot(**{"metadata.sources": (source,), "labels.allow": ("team",)})
            found = own(seen, container_id).container
            assert found is not None
            # The storage has when the layer was made, the API when the container was.
            told.append(replace(found, created=None, restarts=None))
        assert told[0] == told[1]
        assert (told[0].name, told[0].pod_name) == ("member", "asked")
        assert told[0].labels == (("team", "core"),)
    finally:
        podman("pod", "rm", "-f", "-t", "0", "asked")
        end(service)


def test_a_users_own_container_is_guessed_and_named_by_the_users_storage(
    need: Need, podman: Podman, place: Path
) -> None:
    need("runtimes", shutil.which("newuidmap") is not None, "uidmap is not installed")
    lab = podman.lab
    with lab.path("/etc/passwd").open("a") as passwd:
        passwd.write("jo:x:54321:54321::/var/lib/jo:/bin/sh\n")
    for name in ("subuid", "subgid"):
        lab.path(f"/etc/{name}").write_text("jo:200000:65536\n")
    for directory in ("/var/lib/jo", "/run/user/54321"):
        lab.path(directory).mkdir(parents=True)
        os.chown(lab.path(directory), 54321, 54321)
    archive = root_tar(lab.path("/var/lib/jo/box.tar"))

    def jo(*arguments: str) -> str:
        """What jo's podman prints, run in a cgroup of ours."""
        environment = ("PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/var/lib/jo")
        done = subprocess.run(
            lab.argv(
                *("setpriv", "--reuid=54321", "--regid=54321", "--clear-groups", "env", "-i"),
                *(*environment, "XDG_RUNTIME_DIR=/run/user/54321"),
                *("podman", "--storage-driver=vfs", "--cgroup-manager=cgroupfs", *arguments),
            ),
            capture_output=True,
            text=True,
            preexec_fn=lambda: enter(place),
            cwd="/",
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    try:
        jo("import", f"/var/lib/jo/{archive.name}", IMAGE)
        flags = ("--cgroups=disabled", "--network=none", "--name=joes")
        container_id = jo("run", "-d", *flags, IMAGE, "sleep", "86400")
        told = json.loads(jo("container", "inspect", "joes"))[0]
        # Podman's pause process of the user is no container's: it holds the user namespace.
        pause = int(lab.path("/run/user/54321/libpod/tmp/pause.pid").read_text())
        (place.parents[1] / "cgroup.procs").write_text(str(pause))
        found = own(lab.snapshot(), container_id)
        assert found.path == path_of(place)
        assert told["State"]["Pid"] in found.pids
        assert found.container is not None
        assert (found.container.name, found.container.image) == ("joes", IMAGE)
        assert (found.container.runtime, found.container.guess) == ("podman", "mountinfo")
    finally:
        jo("rm", "-f", "-t", "0", "--all")
        jo("system", "migrate")
