"""Docker's containers as the exporter names them, compared with docker inspect."""

from __future__ import annotations

import os
import signal
import time

import pytest

from nsexporter.families import labels
from nsexporter.model import Container
from tests.runtimes.engines import Docker
from tests.runtimes.images import IMAGE
from tests.runtimes.rig import cgroup, remove_cgroups
from tests.waiting import until


def container(docker: Docker, container_id: str) -> Container | None:
    """The container as one pass sees it."""
    seen = docker.lab.snapshot()
    found = [one for one in seen.containers if one.container_id == container_id]
    assert len(found) <= 1
    return found[0] if found else None


def same(docker: Docker, container_id: str) -> Container:
    """The container, after its comparison with docker inspect."""
    told = docker.inspect(container_id)
    found = container(docker, container_id)
    assert found is not None
    assert found.runtime == "docker"
    assert found.name == told["Name"].removeprefix("/")
    assert (found.image, found.image_id) == (told["Config"]["Image"], told["Image"])
    assert found.cgroup == cgroup(told["State"]["Pid"])
    assert found.restarts == told["RestartCount"]
    assert told["Created"].startswith(
        time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(found.created))
    )
    return found


@pytest.mark.parametrize(
    "flags",
    [
        (),
        ("--network", "none", "--name", "web-1", "-m", "64m", "--memory-reservation", "32m"),
        ("--network", "host"),
        ("--pid", "host", "--ipc", "host", "--uts", "host"),
        ("--cgroupns", "private"),
        ("--cgroup-parent", "/nsexporter-test-docker/a"),
        ("--init",),
        ("--read-only", "--user", "1000"),
    ],
    ids=" ".join,
)
def test_a_container_is_what_docker_inspect_says(docker: Docker, flags: tuple[str, ...]) -> None:
    container_id = docker.sleep(*flags)
    try:
        same(docker, container_id)
    finally:
        docker("rm", "-f", container_id)
        remove_cgroups("nsexporter-test-docker")


def test_compose_labels_show_and_others_do_not(docker: Docker) -> None:
    project = ("com.docker.compose.project", 'sh"op\\')
    container_id = docker.sleep(
        *("--label", "=".join(project), "--label", "team=core", "--network", "none")
    )
    found = same(docker, container_id)
    assert found.labels == (project,)
    assert labels.of_runtime(found) == (("label_com_docker_compose_project", project[1]),)
    samples = docker.lab.scrape()
    (info,) = (
        dict(pairs)
        for name, pairs in samples
        if name == "nsexporter_container_info" and ("container_id", container_id[:12]) in pairs
    )
    assert info["label_com_docker_compose_project"] == project[1]
    assert info["id"] == f"docker://{container_id}"
    assert info["image"] == IMAGE
    assert not [name for name in info if "team" in name]


def test_a_rename_a_pause_and_a_restart_show_in_the_next_pass(docker: Docker) -> None:
    container_id = docker.sleep("--name", "before", "--network", "none")
    collector = docker.lab.collector()
    try:

        def names() -> list[str]:
            snapshot = collector.collect()
            return [one.name for one in snapshot.containers if one.container_id == container_id]

        assert names() == ["before"]
        docker("rename", "before", "after")
        assert names() == ["after"]
        docker("pause", "after")
        assert names() == ["after"]
        docker("unpause", "after")
        docker("restart", "-t", "0", "after")
        assert names() == ["after"]
        docker("kill", "after")
        until(lambda: not names(), 60)
        docker("start", "after")
        assert names() == ["after"]
        docker("rm", "-f", "after")
        until(lambda: not names(), 60)
    finally:
        collector.close()


def test_docker_in_a_cgroup_of_a_container_keeps_one_container(docker: Docker) -> None:
    container_id = docker.sleep("--network", "none")
    found = same(docker, container_id)
    root = next(
        path
        for path in ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")
        if os.path.isdir(path + found.cgroup)
    )
    below = f"{root}{found.cgroup}/below"
    os.mkdir(below)
    try:
        samples = docker.lab.scrape()
        kinds = {
            dict(pairs)["cgroup"]: dict(pairs)["kind"]
            for name, pairs in samples
            if name == "nsexporter_cgroup_info" and ("container_id", container_id[:12]) in pairs
        }
        assert kinds == {
            found.cgroup: "container",
            f"{found.cgroup}/below": "container-child",
        }
    finally:
        os.rmdir(below)
        docker("rm", "-f", container_id)


def test_a_stopped_dockerd_neither_slows_passes_nor_hides_containers(docker: Docker) -> None:
    container_id = docker.sleep("--name", "steady", "--network", "none")
    collector = docker.lab.collector(**{"metadata.timeout": 0.2})
    try:

        def seconds() -> float:
            started = time.monotonic()
            snapshot = collector.collect()
            (name,) = (o.name for o in snapshot.containers if o.container_id == container_id)
            assert name == "steady"
            return time.monotonic() - started

        seconds()
        before = sorted(seconds() for _ in range(20))
        os.kill(docker.daemon_pid(), signal.SIGSTOP)
        try:
            stopped = sorted(seconds() for _ in range(20))
            fresh = container(docker, container_id)
            assert fresh is not None
            assert fresh.name == "steady"
        finally:
            os.kill(docker.daemon_pid(), signal.SIGCONT)
        assert stopped[5] < 1.5 * before[5]  # quartiles: others use this machine, too
    finally:
        collector.close()
        docker("rm", "-f", container_id)


def test_the_api_tells_the_same_as_the_files(docker: Docker) -> None:
    flags = ("--name", "asked", "--network", "none", "--label", "team=core")
    container_id = docker.sleep(*flags)
    try:
        told = []
        for source in ("docker", "docker-api"):
            seen = docker.lab.snapshot(
                **{"metadata.sources": (source,), "labels.allow": ("team",), "metadata.timeout": 30}
            )
            told += [one for one in seen.containers if one.container_id == container_id]
        assert told[0] == told[1]
        assert (told[0].name, told[0].labels) == ("asked", (("team", "core"),))
    finally:
        docker("rm", "-f", container_id)


def test_a_stopped_dockerd_that_is_asked_costs_the_time_limit_once(docker: Docker) -> None:
    container_id = docker.sleep("--network", "none")
    overrides = {"metadata.sources": ("docker-api",), "metadata.timeout": 0.2}
    collector = docker.lab.collector(**overrides)
    os.kill(docker.daemon_pid(), signal.SIGSTOP)
    try:
        for _ in range(3):
            seen = collector.collect()
            assert container_id in {one.container_id for one in seen.containers}
        until(lambda: collector.containers.metadata.errors["docker-api"] == 1)
    finally:
        os.kill(docker.daemon_pid(), signal.SIGCONT)
        collector.close()
        docker("rm", "-f", container_id)
