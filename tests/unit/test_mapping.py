"""Cgroups to containers: exactly one cgroup a container is its own, its relatives say so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from nsexporter.config import load
from nsexporter.containers.mapping import ContainerMap
from nsexporter.containers.sources import container_map
from nsexporter.model import Container, Identity
from tests.unit.test_metadata import write

H = "0123456789abcdef" * 4
U = "12345678_1234_4abc_8def_123456789abc"


def mapped(root: Path) -> ContainerMap:
    config = load(None, {"metadata.timeout": 30.0})
    return container_map(str(root), config.metadata, config.labels)


def kinds(containers: ContainerMap, paths: list[str], populated: list[bool]) -> list[str]:
    return [one.kind for one in containers.identities(paths, populated)]


@pytest.mark.parametrize(
    "scope",
    [
        f"/machine.slice/libpod-{H}.scope",
        f"/kubepods.slice/kubepods-pod{U}.slice/crio-{H}.scope",
    ],
)
def test_the_one_of_crun_with_the_processes_is_the_container(scope: str, tmp_path: Path) -> None:
    containers = mapped(tmp_path)
    paths = [scope, f"{scope}/container", f"{scope}/container/init.scope"]
    crun = kinds(containers, paths, [False, True, False])
    assert crun == ["container-parent", "container", "container-child"]
    runc = kinds(containers, paths, [True, False, False])
    assert runc == ["container", "container-child", "container-child"]
    assert kinds(containers, paths, [False, True, False]) == crun


def test_a_pod_of_podman_below_a_parent_of_its_own_is_no_container(tmp_path: Path) -> None:
    pod = f"/parent/{'ab' * 32}"
    paths = [pod, f"{pod}/conmon", f"{pod}/libpod-{H}", f"/parent/{'cd' * 32}"]
    found = mapped(tmp_path).identities(paths, [False, True, True, True])
    assert [one.kind for one in found] == ["pod", "helper", "container", "container"]
    assert [one.container_id for one in found] == [None, None, H, "cd" * 32]
    assert [one.podman_pod for one in found] == ["ab" * 32, "ab" * 32, "ab" * 32, None]


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/lxc.payload.my box", "my box"),
        ("/lxc.payload.user-1000_web", "web"),
        (r"/machine.slice/systemd-nspawn@my\x2dbox.service", "my-box"),
        (f"/docker/{H}", ""),
    ],
)
def test_a_runtime_whose_ids_are_names_needs_no_state_to_tell_them(
    path: str, name: str, tmp_path: Path
) -> None:
    containers = mapped(tmp_path)
    (found,) = containers.containers([path], containers.identities([path], [True]))
    assert found is not None
    assert found.name == name


def test_what_a_state_names_is_the_container_and_what_lies_below_its_child(tmp_path: Path) -> None:
    write(tmp_path, "/run/crun/box/status", {"cgroup-path": "/own/place"})
    paths = ["/own", "/own/place", "/own/place/init.scope", "/own/placebo"]
    found = mapped(tmp_path).identities(paths, [False] * 4)
    assert [one.kind for one in found] == ["other", "container", "container-child", "other"]
    assert [one.container_id for one in found] == [None, "box", "box", None]
    assert found[2].unit is None


def test_a_container_that_a_path_tells_is_not_read_from_its_state(tmp_path: Path) -> None:
    write(tmp_path, f"/run/runc/{H}/state.json", "malformed")
    containers = mapped(tmp_path)
    assert kinds(containers, [f"/docker/{H}"], [True]) == ["container"]
    assert containers.metadata.errors["oci"] == 0


def test_what_a_caller_changes_of_identities_is_not_there_in_the_next_pass(tmp_path: Path) -> None:
    containers = mapped(tmp_path)
    paths = [f"/docker/{H}", "/init.scope"]
    first = containers.identities(paths, [True, True])
    kept = [*first]
    owners = containers.containers(paths, first)
    del first[1:], owners[1:]
    second = containers.identities(paths, [True, True])
    assert second == kept
    assert [one and one.label_id for one in containers.containers(paths, second)] == [H[:12], None]
    assert containers.label_ids(second) == {H: H[:12]}


def test_a_state_written_or_gone_between_two_passes_is_followed(tmp_path: Path) -> None:
    containers = mapped(tmp_path)
    paths = ["/own", "/own/place"]

    def ids() -> list[str | None]:
        identities = containers.identities(paths, [False, True])
        owners = containers.containers(paths, identities)
        assert [owner is not None for owner in owners] == [
            one.kind == "container" for one in identities
        ]
        assert set(containers.label_ids(identities)) == {
            one.container_id for one in identities if one.container_id
        }
        return [one.container_id for one in identities]

    assert ids() == [None, None]
    file = write(tmp_path, "/run/crun/box/status", {"cgroup-path": "/own/place"})
    assert ids() == [None, "box"]
    file.unlink()
    file.parent.rmdir()
    assert ids() == [None, None]


def test_a_pod_is_told_of_all_that_lies_in_it_as_soon_as_a_container_tells() -> None:
    pod, other = Identity(kind="pod", pod_uid="one"), Identity(kind="other")
    identities = [pod, replace(pod, kind="container", container_id=H), other]
    container = Container(container_id=H, label_id=H, runtime="docker", cgroup="/a", pod_uid="one")
    named = replace(container, pod_name="web", pod_namespace="shop")
    containers = mapped(Path("/nowhere"))
    nothing = ("", "")
    for owner, told in ((container, nothing), (named, ("web", "shop")), (container, nothing)):
        assert containers.pods(identities, [None, owner, None]) == [told, told, nothing]
