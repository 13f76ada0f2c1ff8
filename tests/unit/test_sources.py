"""Every source of metadata over state as its runtime writes it."""

from __future__ import annotations

import json
import os
import sqlite3
import struct
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsexporter.containers.bolt import Bolt, _fnv
from nsexporter.containers.oci import States
from nsexporter.containers.source import Metadata
from nsexporter.containers.sources import SOURCES
from nsexporter.containers.state import StateFiles
from nsexporter.model import Identity
from tests.unit.test_metadata import write

H = "0123456789abcdef" * 4
SANDBOX = "fedcba9876543210" * 4
POD = {
    "io.kubernetes.pod.name": "web-0",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.uid": "u-1",
}


def told(root: Path, source: str, container_id: str = H, **identity: Any) -> Metadata | None:
    """What a source says of a container."""
    runtime = identity.pop("runtime", None)
    found = Identity(kind="container", container_id=container_id, runtime=runtime, **identity)
    return SOURCES[source](StateFiles(str(root))).lookup(found)


def known(metadata: Metadata | None) -> dict[str, Any]:
    """The fields that say something, but for the files."""
    assert metadata is not None
    assert metadata.files
    empty = Metadata()
    return {
        name: value
        for name in Metadata.__slots__
        if name != "files" and (value := getattr(metadata, name)) != getattr(empty, name)
    }


@pytest.mark.parametrize("source", list(SOURCES))
def test_a_host_without_the_runtime_knows_nothing(source: str, tmp_path: Path) -> None:
    assert told(tmp_path, source) is None


# Containerd


def bundle(root: Path, annotations: dict[str, str], **at: str) -> None:
    place = at.get("state", "/run/containerd")
    namespace, container_id = at.get("namespace", "k8s.io"), at.get("container_id", H)
    path = f"{place}/io.containerd.runtime.v2.task/{namespace}/{container_id}/config.json"
    write(root, path, {"annotations": annotations, "linux": {"cgroupsPath": "/x"}})


CRI = {
    "io.kubernetes.cri.container-name": "app",
    "io.kubernetes.cri.container-type": "container",
    "io.kubernetes.cri.image-name": "registry.example/app:1",
    "io.kubernetes.cri.sandbox-id": SANDBOX,
    "io.kubernetes.cri.sandbox-name": "web-0",
    "io.kubernetes.cri.sandbox-namespace": "shop",
    "io.kubernetes.cri.sandbox-uid": "u-1",
}


@pytest.mark.parametrize("state", ["/run/containerd", "/run/k3s/containerd"])
def test_cri_annotations_name_container_and_pod(state: str, tmp_path: Path) -> None:
    bundle(tmp_path, CRI, state=state)
    assert known(told(tmp_path, "containerd")) == {
        "runtime": "containerd",
        "name": "app",
        "image": "registry.example/app:1",
        "pod_name": "web-0",
        "pod_namespace": "shop",
        "pod_uid": "u-1",
    }


def test_a_sandbox_of_cri_has_its_pods_name_and_none_of_its_own(tmp_path: Path) -> None:
    annotations = {k: v for k, v in CRI.items() if "sandbox" in k}
    bundle(tmp_path, annotations | {"io.kubernetes.cri.container-type": "sandbox"})
    found = told(tmp_path, "containerd")
    assert found is not None
    assert (found.sandbox, found.name, found.pod_name) == (True, "", "web-0")


def test_nerdctl_names_its_containers_and_ctr_calls_them_by_id(tmp_path: Path) -> None:
    bundle(tmp_path, {"nerdctl/name": "web"}, namespace="default")
    found = told(tmp_path, "containerd", namespace="default")
    assert found is not None
    assert found.name == "web"
    bundle(tmp_path, {}, namespace="default", container_id="box")
    found = told(tmp_path, "containerd", "box", namespace="default")
    assert found is not None
    assert found.name == "box"
    assert told(tmp_path, "containerd", "box", namespace="other") is None


def test_a_renamed_container_of_a_users_own_nerdctl_has_its_new_name(tmp_path: Path) -> None:
    write(tmp_path, "/etc/passwd", "jo:x:1000:1000:Jo:/home/jo:/bin/sh\n")
    annotations = {"nerdctl/name": "early"}
    bundle(tmp_path, annotations, state="/run/user/1000/containerd", namespace="default")
    record = {b"image": b"box:1", b"labels": {b"nerdctl/name": b"late"}}
    database = tmp_path / "home/jo/.local/share/containerd/io.containerd.metadata.v1.bolt/meta.db"
    database.parent.mkdir(parents=True)
    tree: Tree = {b"v1": {b"default": {b"containers": {H.encode(): record}}}}
    database.write_bytes(bolt(tree))
    found = told(tmp_path, "containerd", uid=1000)
    assert found is not None
    assert (found.name, found.image) == ("late", "box:1")
    assert told(tmp_path, "containerd", uid=1001) is None


def test_the_database_adds_image_creation_and_the_pods_labels(tmp_path: Path) -> None:
    bundle(tmp_path, CRI | {"io.kubernetes.cri.image-name": ""})
    created = b"\1" + (1_795_467_307 + 62_135_596_800).to_bytes(8, "big") + bytes(4) + b"\xff\xff"
    tree: Tree = {
        b"v1": {
            b"k8s.io": {
                b"containers": {
                    H.encode(): {
                        b"image": b"registry.example/app:2",
                        b"createdat": created,
                        b"labels": {b"app": b"own"},
                    },
                    SANDBOX.encode(): {b"labels": {b"app": b"pod", b"tier": b"back"}},
                },
                b"images": {
                    b"registry.example/app:2": {b"target": {b"digest": b"sha256:abc"}},
                },
            }
        }
    }
    path = tmp_path / "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(bolt(tree))
    found = known(told(tmp_path, "containerd"))
    assert found["image"] == "registry.example/app:2"
    assert found["image_id"] == "sha256:abc"
    assert found["created"] == 1_795_467_307
    assert found["labels"] == {"app": "own", "tier": "back"}


@pytest.mark.parametrize(
    ("told_by_cri", "restarts"),
    [
        ('{"Version":"v1","Metadata":{"Config":{"metadata":{"name":"app","attempt":3}}}}', 3),
        ('{"Metadata":{"Config":{"metadata":{"name":"app"}}}}', 0),
        ('{"Metadata":{"Config":{"metadata":{"attempt":"3"}}}}', None),
        ('{"Metadata":{"Config":[]}}', None),
    ],
)
def test_the_kubelets_attempt_is_the_number_of_restarts(
    told_by_cri: str, restarts: int | None, tmp_path: Path
) -> None:
    bundle(tmp_path, CRI)
    url = b"github.com/containerd/cri/pkg/store/container/Metadata"
    record = {
        b"image": b"",
        b"extensions": {
            b"io.cri-containerd.container.metadata": b"\x0a\x36" + url + told_by_cri.encode()
        },
    }
    path = tmp_path / "var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db"
    path.parent.mkdir(parents=True)
    path.write_bytes(bolt({b"v1": {b"k8s.io": {b"containers": {H.encode(): record}}}}))
    found = told(tmp_path, "containerd")
    assert found is not None
    assert (found.restarts, found.problem) == (restarts, None)


def test_a_database_that_lies_leaves_what_the_bundle_says(tmp_path: Path) -> None:
    bundle(tmp_path, CRI)
    write(tmp_path, "/var/lib/containerd/io.containerd.metadata.v1.bolt/meta.db", "no database")
    found = told(tmp_path, "containerd")
    assert found is not None
    assert (found.name, found.pod_name) == ("app", "web-0")
    assert isinstance(found.problem, ValueError)


# Bolt

Tree = dict[bytes, Any]


def bolt(tree: Tree, page_size: int = 4096) -> bytes:
    """A database whose buckets are all inline, but for the root's, below a branch page."""

    def leaf(tree: Tree, number: int) -> bytes:
        heads, data = b"", b""
        for index, (key, value) in enumerate(sorted(tree.items())):
            bucket = isinstance(value, dict)
            content = bytes(16) + leaf(value, 0) if bucket else value
            position = 16 * (len(tree) - index) + len(data)
            heads += struct.pack("<IIII", int(bucket), position, len(key), len(content))
            data += key + content
        return struct.pack("<QHHI", number, 2, len(tree), 0) + heads + data

    def meta(number: int, transaction: int) -> bytes:
        body = struct.pack("<IIIIQQQQQ", 0xED0CDAED, 2, page_size, 0, 3, 0, 2, 5, transaction)
        head = struct.pack("<QHHI", number, 4, 0, 0)
        return head + body + _fnv(body).to_bytes(8, "little")

    first = min(tree)
    branch = struct.pack("<QHHI", 3, 1, 1, 0) + struct.pack("<IIQ", 16, len(first), 4) + first
    content = leaf(tree, 4)
    overflow = (len(content) - 1) // page_size
    content = content[:12] + overflow.to_bytes(4, "little") + content[16:]
    pages = (meta(0, 7), meta(1, 6), b"", branch, content)
    return b"".join(page.ljust(page_size, b"\0") for page in pages)


def opened(content: bytes) -> int:
    fd = os.memfd_create("bolt")
    os.write(fd, content)
    return fd


def test_values_of_nested_buckets_are_found_and_others_are_not() -> None:
    tree: Tree = {b"a": {b"b": {b"k": b"v", b"l": b"w" * 9000}, b"k": b"above"}, b"z": b"top"}
    fd = opened(bolt(tree))
    try:
        database = Bolt(fd)
        assert database.values(b"a", b"b") == {b"k": b"v", b"l": b"w" * 9000}
        assert database.values(b"a") == {b"k": b"above"}
        assert database.value(b"a", b"b", b"k") == b"v"
        assert database.value(b"z") == b"top"
        assert database.value(b"a", b"none") is None
        assert database.values(b"a", b"k") == database.values(b"none") == {}
    finally:
        os.close(fd)


@given(st.binary(max_size=200), st.integers(0, 20_000), st.binary(min_size=1, max_size=8))
def test_a_broken_database_is_a_value_error_and_ends(
    start: bytes, position: int, change: bytes
) -> None:
    good = bolt({b"a": {b"b": {b"k": b"v"}}})
    broken = good[:position] + change + good[position + len(change) :]
    for content in (start, broken, good[:position]):
        fd = opened(content)
        try:
            found = Bolt(fd).value(b"a", b"b", b"k")
            assert found is None or isinstance(found, bytes)
        except ValueError:
            pass
        finally:
            os.close(fd)


def in_time(ask: Callable[[], object]) -> BaseException | None:
    """What `ask` raises; a failure where it does not come back."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            ask()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive()
    return raised[0] if raised else None


def page(number: int, flags: int, *elements: bytes, overflow: int = 0) -> bytes:
    head = struct.pack("<QHHI", number, flags, len(elements), overflow)
    return head + b"".join(elements)


def test_a_database_whose_branches_meet_again_and_again_is_given_up() -> None:
    pages = bolt({b"a": b"v"})[: 3 * 4096]
    for number in range(3, 23):  # 200 to the 20th ways to an empty leaf
        way = struct.pack("<IIQ", 16, 0, number + 1)
        pages += page(number, 1, *[way] * 200).ljust(4096)
    fd = opened(pages + page(23, 2).ljust(4096))
    try:
        assert isinstance(in_time(lambda: Bolt(fd).values()), ValueError)
    finally:
        os.close(fd)


def test_a_database_whose_values_are_one_large_page_over_and_over_is_given_up() -> None:
    good = bolt({b"a": b"v"})[: 4 * 4096]
    size = 4000 * 4096
    leaves = [struct.pack("<IIII", 0, 0, 0, size)] * 60_000
    fd = opened(good + page(4, 2, *leaves, overflow=3999).ljust(size))
    try:
        assert isinstance(in_time(lambda: Bolt(fd).values()), ValueError)
    finally:
        os.close(fd)


# CRI-O


def crio(root: Path, annotations: dict[str, str]) -> None:
    path = f"/run/containers/storage/overlay-containers/{H}/userdata/config.json"
    write(root, path, {"annotations": {"io.container.manager": "cri-o"} | annotations})


def test_crio_annotations_name_container_pod_image_and_restarts(tmp_path: Path) -> None:
    labels = POD | {"io.kubernetes.container.name": "app", "tier": "back"}
    crio(
        tmp_path,
        {
            "io.kubernetes.container.restartCount": "3",
            "io.kubernetes.cri-o.ContainerType": "container",
            "io.kubernetes.cri-o.Created": "2026-11-23T20:55:07.500000001Z",
            "io.kubernetes.cri-o.Image": "sha256:1",
            "io.kubernetes.cri-o.ImageName": "quay.example/app:1",
            "io.kubernetes.cri-o.ImageRef": "quay.example/app@sha256:1",
            "io.kubernetes.cri-o.Labels": json.dumps(labels),
            "io.kubernetes.cri-o.Metadata": '{"name":"app"}',
        },
    )
    assert known(told(tmp_path, "cri-o")) == {
        "runtime": "cri-o",
        "name": "app",
        "image": "quay.example/app:1",
        "image_id": "quay.example/app@sha256:1",
        "created": 1795467307.5,
        "restarts": 3,
        "pod_name": "web-0",
        "pod_namespace": "shop",
        "pod_uid": "u-1",
        "labels": labels,
    }


def test_a_sandbox_of_crio_is_one(tmp_path: Path) -> None:
    crio(
        tmp_path,
        {
            "io.kubernetes.cri-o.ContainerType": "sandbox",
            "io.kubernetes.cri-o.KubeName": "web-0",
            "io.kubernetes.cri-o.Namespace": "shop",
        },
    )
    found = known(told(tmp_path, "cri-o"))
    assert found == {
        "runtime": "cri-o",
        "sandbox": True,
        "pod_name": "web-0",
        "pod_namespace": "shop",
    }


def test_podmans_bundle_in_the_same_storage_is_not_crios(tmp_path: Path) -> None:
    crio(tmp_path, {"io.container.manager": "libpod"})
    assert told(tmp_path, "cri-o") is None


# Podman

LISTED = {
    "id": H,
    "names": ["web"],
    "image": "99",
    "metadata": '{"image-name":"localhost/box:1"}',
    "created": "2026-11-23T21:09:00.5Z",
}
NAMED = {
    "name": "web",
    "image": "localhost/box:1",
    "image_id": "sha256:99",
    "created": 1795468140.5,
}


@pytest.mark.parametrize(
    ("storage", "uid"),
    [("/var/lib/containers/storage", None), ("/home/jo/.local/share/containers/storage", 1000)],
)
@pytest.mark.parametrize("driver", ["overlay", "vfs"])
def test_podmans_storage_names_container_and_image(
    storage: str, uid: int | None, driver: str, tmp_path: Path
) -> None:
    write(tmp_path, "/etc/passwd", "jo:x:1000:1000:Jo:/home/jo:/bin/sh\n")
    write(tmp_path, f"{storage}/{driver}-containers/containers.json", [LISTED])
    assert known(told(tmp_path, "podman", uid=uid)) == NAMED


def test_podmans_sqlite_adds_labels_and_pod(tmp_path: Path) -> None:
    storage = "/var/lib/containers/storage"
    file = write(tmp_path, f"{storage}/overlay-containers/containers.json", [LISTED])
    with closing(sqlite3.connect(file.parents[1] / "db.sql")) as database, database:
        database.execute("CREATE TABLE ContainerConfig(ID TEXT, PodID TEXT, JSON TEXT)")
        database.execute("CREATE TABLE PodConfig(ID TEXT, JSON TEXT)")
        config = json.dumps({"labels": {"team": "core"}, "isInfra": True})
        database.execute("INSERT INTO ContainerConfig VALUES (?, 'p', ?)", (H, config))
        pod = json.dumps({"name": "shop", "labels": {"tier": "back", "team": "pod"}})
        database.execute("INSERT INTO PodConfig VALUES ('p', ?)", (pod,))
    assert known(told(tmp_path, "podman")) == NAMED | {
        "runtime": "podman",
        "sandbox": True,
        "pod_name": "shop",
        "labels": {"tier": "back", "team": "core"},
    }


@pytest.mark.parametrize("beside", ["", "-journal", "-wal", "-shm"])
def test_a_pipe_where_sqlite_has_a_file_is_not_waited_for(beside: str, tmp_path: Path) -> None:
    storage = "/var/lib/containers/storage"
    file = write(tmp_path, f"{storage}/overlay-containers/containers.json", [LISTED])
    if beside:
        with closing(sqlite3.connect(file.parents[1] / "db.sql")) as database, database:
            database.execute("CREATE TABLE ContainerConfig(ID TEXT, PodID TEXT, JSON TEXT)")
            database.execute("CREATE TABLE PodConfig(ID TEXT, JSON TEXT)")
    os.mkfifo(file.parents[1] / f"db.sql{beside}")
    found: list[Metadata | None] = []
    assert in_time(lambda: found.append(told(tmp_path, "podman"))) is None
    assert found[0] is not None
    assert found[0].name == "web"
    assert isinstance(found[0].problem, ValueError)


def test_a_query_without_end_is_given_up(tmp_path: Path) -> None:
    storage = "/var/lib/containers/storage"
    file = write(tmp_path, f"{storage}/overlay-containers/containers.json", [LISTED])
    with closing(sqlite3.connect(file.parents[1] / "db.sql")) as database, database:
        database.execute(
            "CREATE VIEW ContainerConfig AS WITH RECURSIVE n(ID) AS"
            " (SELECT 1 UNION ALL SELECT ID + 1 FROM n)"
            " SELECT ID, ID AS PodID, ID AS JSON FROM n"
        )
        database.execute("CREATE TABLE PodConfig(ID TEXT, JSON TEXT)")
    found = told(tmp_path, "podman")
    assert found is not None
    assert found.name == "web"
    assert isinstance(found.problem, ValueError)


# LXC, LXD and Incus, machined


def test_lxc_knows_a_container_by_its_configuration(tmp_path: Path) -> None:
    write(tmp_path, "/var/lib/lxc/web/config", "lxc.uts.name = web\n")
    assert known(told(tmp_path, "lxc", "web")) == {"runtime": "lxc", "name": "web"}
    assert known(told(tmp_path, "lxc", "web-1")) == {"runtime": "lxc", "name": "web"}
    assert told(tmp_path, "lxc", "other") is None


@pytest.mark.parametrize(
    ("directory", "runtime", "key"),
    [
        ("/var/lib/incus/containers", "incus", "instance"),
        ("/var/snap/lxd/common/lxd/containers", "lxd", "container"),
    ],
)
def test_lxd_and_incus_tell_image_and_labels(
    directory: str, runtime: str, key: str, tmp_path: Path
) -> None:
    text = (
        f"{key}:\n  name: web\n  created_at: 2026-11-23T20:55:07.5Z\n  config:\n"
        "    image.description: Debian 12\n    volatile.base_image: abc\n    user.team: core\n"
    )
    write(tmp_path, f"{directory}/user-1000_web/backup.yaml", text)
    found = told(tmp_path, "lxc", "user-1000_web", instance="web", incus_project="user-1000")
    assert known(found) == {
        "runtime": runtime,
        "name": "web",
        "image": "Debian 12",
        "image_id": "abc",
        "created": 1795467307.5,
        "labels": {"team": "core"},
    }


def test_machined_tells_since_when_and_from_where_a_machine_runs(tmp_path: Path) -> None:
    text = "# ours\nNAME=web\nSERVICE=systemd-nspawn\nROOT=/srv/web\nREALTIME=1795467307500000\n"
    write(tmp_path, "/run/systemd/machines/web", text)
    assert known(told(tmp_path, "machined", "web")) == {
        "runtime": "systemd-nspawn",
        "name": "web",
        "image": "/srv/web",
        "created": 1795467307.5,
    }


# runc and crun

RUNC = {
    "created": "2026-11-23T20:55:07.5Z",
    "cgroup_paths": {"memory": "/sys/fs/cgroup/memory/custom/x", "pids": "/sys/fs/cgroup/pids/y"},
    "config": {"labels": ["bundle=/srv/bundle"]},
}
STATES = [
    ("/run/runc/b1/state.json", RUNC, "/custom/x", "runc", None),
    (
        "/run/containerd/runc/default/b1/state.json",
        {"cgroup_paths": {"": "/sys/fs/cgroup/default/b1"}},
        "/default/b1",
        "containerd",
        "default",
    ),
    ("/run/containerd/runc/moby/b1/state.json", RUNC, "/custom/x", "docker", "moby"),
    ("/run/crun/b1/status", {"cgroup-path": "/custom/z"}, "/custom/z", "crun", None),
]


@pytest.mark.parametrize(("file", "state", "path", "runtime", "namespace"), STATES)
def test_states_name_the_cgroup_of_a_container_whose_path_tells_nothing(
    file: str, state: object, path: str, runtime: str, namespace: str | None, tmp_path: Path
) -> None:
    errors: Counter[str] = Counter()
    states = States(StateFiles(str(tmp_path)), errors)
    assert states.cgroups(set()) == {}
    written = write(tmp_path, file, state)
    identity = Identity(kind="container", container_id="b1", runtime=runtime, namespace=namespace)
    assert states.cgroups(set()) == {path: identity}
    assert states.cgroups({"b1"}) == {}
    written.unlink()
    written.parent.rmdir()
    assert states.cgroups(set()) == {}
    assert not errors


def test_a_state_that_lies_is_counted_and_the_others_are_told(tmp_path: Path) -> None:
    errors: Counter[str] = Counter()
    states = States(StateFiles(str(tmp_path)), errors)
    write(tmp_path, "/run/runc/b1/state.json", RUNC)
    write(tmp_path, "/run/runc/b2/state.json", "{")
    (tmp_path / "run/runc/b3").mkdir()  # made, but not written yet
    assert list(states.cgroups(set())) == ["/custom/x"]
    assert errors == {"oci": 1}


def test_a_bundles_annotations_tell_of_a_container_that_only_runc_knows(tmp_path: Path) -> None:
    write(tmp_path, "/run/runc/b1/state.json", RUNC)
    annotations = {"org.opencontainers.image.ref.name": "box:1", "team": "core"}
    write(tmp_path, "/srv/bundle/config.json", {"annotations": annotations})
    assert known(told(tmp_path, "oci", "b1")) == {
        "runtime": "runc",
        "name": "b1",
        "image": "box:1",
        "created": 1795467307.5,
        "labels": annotations,
    }
