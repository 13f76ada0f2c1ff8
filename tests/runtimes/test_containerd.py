"""Containerd's containers, through ctr and through CRI, compared with what it says of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator

import pytest

from tests.runtimes.cri import NODE, POD, Cri, container_config, fields, pod_config
from tests.runtimes.engines import Containerd
from tests.runtimes.images import IMAGE
from tests.runtimes.rig import cgroup, own, remove_cgroups


def pid_of(containerd: Containerd, container_id: str, namespace: str = "default") -> int:
    """The container's first process, as `ctr tasks ls` has it."""
    lines = containerd("-n", namespace, "tasks", "ls").splitlines()[1:]
    (pid,) = (int(line.split()[1]) for line in lines if line.split()[0] == container_id)
    return pid


@pytest.mark.parametrize("flags", [(), ("--cgroup", "/nsexporter-test-ctr/own")], ids=" ".join)
def test_a_container_of_ctr_is_found_by_its_state(
    containerd: Containerd, flags: tuple[str, ...]
) -> None:
    name = f"box-{uuid.uuid4().hex[:8]}"
    containerd("run", "-d", *flags, IMAGE, name, "sleep", "86400")
    try:
        told = json.loads(containerd("containers", "info", name))
        found = own(containerd.lab.snapshot(**{"labels.allow": ("tier",)}), name)
        pid = pid_of(containerd, name)
        assert found.path == cgroup(pid)
        assert pid in found.pids
        container = found.container
        assert container is not None
        assert (container.runtime, container.name, container.label_id) == ("containerd", name, name)
        assert container.image == told["Image"] == IMAGE
        (line,) = (one for one in containerd("images", "ls").splitlines() if one.startswith(IMAGE))
        assert container.image_id == line.split()[2]
        assert container.created is not None
    finally:
        containerd("tasks", "rm", "-f", name)
        containerd("containers", "rm", name)
        remove_cgroups("nsexporter-test-ctr")


@pytest.fixture
def cri(containerd: Containerd) -> Iterator[Cri]:
    client = Cri(str(containerd.lab.path(containerd.SOCKET)))
    yield client
    client.close()


@pytest.mark.parametrize("network", [POD, NODE], ids=["pod", "node"])
def test_the_sandbox_and_the_container_of_a_pod_of_cri_are_told_apart(
    containerd: Containerd, cri: Cri, network: int
) -> None:
    uid = str(uuid.uuid4())
    # With the kubelet's own names, but below a directory of ours.
    parent = f"/nsexporter-test-cri/kubepods/burstable/pod{uid}"
    pod = pod_config(
        "web-0",
        namespace="shop",
        uid=uid,
        cgroup_parent=parent,
        labels={"tier": "back"},
        network=network,
    )
    sandbox = cri.run_pod(pod)
    try:
        app = container_config(
            "app", IMAGE, "sleep", "86400", labels={}, attempt=network, network=network
        )
        made = cri.run(sandbox, pod, app)
        seen = containerd.lab.snapshot(**{"labels.allow": ("tier",)})
        found, pause = own(seen, made), own(seen, sandbox)
        assert (found.identity.kind, pause.identity.kind) == ("container", "sandbox")
        assert (found.path, pause.path) == (f"{parent}/{made}", f"{parent}/{sandbox}")
        assert pid_of(containerd, made, "k8s.io") in found.pids
        assert pid_of(containerd, sandbox, "k8s.io") in pause.pids
        container, other = found.container, pause.container
        assert container is not None and other is not None
        status = cri.status(made)
        assert container.name == fields(status[2][0])[1][0].decode() == "app"
        assert container.restarts == (fields(status[2][0])[2] or [0])[0] == network
        assert container.image == IMAGE
        assert container.runtime == "containerd"
        assert container.created == pytest.approx(status[4][0] / 1e9)
        assert (other.name, other.pod_name) == ("", "web-0")
        for one in (container, other):
            assert (one.pod_name, one.pod_namespace, one.pod_uid) == ("web-0", "shop", uid)
            assert (one.qos, one.labels) == ("burstable", (("tier", "back"),))
        above = {one.path: one for one in seen.cgroups}[parent]
        assert (above.identity.kind, above.pod_name, above.pod_namespace) == (
            "pod",
            "web-0",
            "shop",
        )
    finally:
        cri.remove_pod(sandbox)
        remove_cgroups("nsexporter-test-cri")
