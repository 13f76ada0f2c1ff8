"""Who shares which namespace, against the links of the containers' own first processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping

import pytest

from nsexporter.model import NS_TYPES
from tests.live.nslab import info, inode, value
from tests.runtimes.cri import Cri, container_config, pod_config
from tests.runtimes.engines import Containerd, Docker, Podman
from tests.runtimes.images import IMAGE
from tests.runtimes.rig import own, remove_cgroups
from tests.samples import Samples


def shown(samples: Samples, name: str, container_id: str) -> dict[str, float]:
    """Namespace type to value of a container's samples."""
    found = {}
    for (sample, pairs), number in samples.items():
        labels = dict(pairs)
        if sample == f"nsexporter_{name}" and labels.get("container_id") == container_id[:12]:
            found[labels.get("ns_type", "")] = number
    return found


def compare(
    samples: Samples, pids: Mapping[str, int], pods: Mapping[str, str] = {}
) -> dict[str, dict[str, float]]:
    """Every figure about these containers with the links; peers by container and type.

    Other containers of the machine may be in the host's namespaces with them.
    """
    every_peers = {}
    for own_id, pid in pids.items():
        others = {other: where for other, where in pids.items() if other != own_id}
        host = shown(samples, "container_host_namespace", own_id)
        peers = shown(samples, "container_namespace_peers", own_id)
        outside = shown(samples, "container_namespace_peers_outside_pod", own_id)
        for ns_type in NS_TYPES:
            made, initial = inode(pid, ns_type), inode(2, ns_type)
            same = {other for other, where in others.items() if inode(where, ns_type) == made}
            assert host[ns_type] == (made == initial), (own_id, ns_type)
            if made == initial:
                assert peers[ns_type] >= len(same)
                assert outside[ns_type] == 0
                continue
            strangers = {one for one in same if not pods.get(one) or pods[one] != pods.get(own_id)}
            assert (peers[ns_type], outside[ns_type]) == (len(same), len(strangers))
            assert value(samples, "namespace_containers", ns_type, made) == len(same) + 1
            scope = "container" if not same else "shared" if strangers else "pod"
            assert info(samples, ns_type, made)["scope"] == scope
        every_peers[own_id] = peers
    return every_peers


def test_what_dockers_flags_share_is_shared(docker: Docker) -> None:
    alone = ("--network", "none")
    one = docker.sleep(*alone, "--ipc", "shareable")
    net = docker.sleep("--network", f"container:{one}")
    both = docker.sleep(*alone, "--ipc", f"container:{one}", "--pid", f"container:{one}")
    host = docker.sleep("--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host")
    private = docker.sleep(*alone, "--cgroupns", "private")
    users = docker.sleep(*alone, "--userns", "host", "--cgroupns", "host")
    every = (one, net, both, host, private, users)
    try:
        pids = {name: docker.inspect(name)["State"]["Pid"] for name in every}
        samples = docker.lab.scrape()
        peers = compare(samples, pids)
        assert [peers[name]["net"] for name in (one, net, both)] == [1, 1, 0]
        assert [peers[name]["ipc"] for name in (one, net, both)] == [1, 0, 1]
        assert [peers[name]["pid"] for name in (one, net, both)] == [1, 0, 1]
        in_host = shown(samples, "container_host_namespace", host)
        assert {ns_type for ns_type, yes in in_host.items() if yes} >= {"pid", "ipc", "uts", "user"}
        assert in_host["mnt"] == 0
        assert shown(samples, "container_host_namespace", private)["cgroup"] == 0
        assert shown(samples, "container_host_namespace", users)["cgroup"] == 1
        assert all(shown(samples, "container_root_is_host_root", name) == {"": 1} for name in every)
        name = docker.inspect(one)["NetworkSettings"]["SandboxKey"]
        path = info(samples, "net", inode(pids[one], "net"))["path"]
        assert path == name.removeprefix("/var")  # /var/run is a link to it
    finally:
        docker("rm", "-f", *every)


def test_what_podmans_flags_and_pods_share(podman: Podman) -> None:
    podman("pod", "create", "--name", "shared", "--network", "none", "--share", "net,ipc,uts")
    try:
        members = [podman.sleep("--pod", "shared") for _ in range(2)]
        pod = json.loads(podman("pod", "inspect", "shared"))
        members.append(pod["InfraContainerID"])
        pids = {name: podman.inspect(name)["State"]["Pid"] for name in members}
        of_pod = dict.fromkeys(members, "shared")
        peers = compare(podman.lab.scrape(), pids, of_pod)
        for ns_type in ("net", "ipc", "uts"):
            assert {peers[name][ns_type] for name in members} == {2}

        # Podman lets no container depend on one that is in a pod, but on a path.
        stranger = podman.sleep("--network", f"ns:/proc/{pids[members[0]]}/ns/net")
        host = podman.sleep("--network", "host", "--pid", "host", "--ipc", "host", "--uts", "host")
        maps = ("--uidmap", "0:200000:1000", "--gidmap", "0:200000:1000")
        mapped = podman.sleep("--network", "none", *maps)
        for name in (stranger, host, mapped):
            pids[name] = podman.inspect(name)["State"]["Pid"]
        samples = podman.lab.scrape()
        compare(samples, pids, of_pod)
        outside = "container_namespace_peers_outside_pod"
        assert [shown(samples, outside, name)["net"] for name in members] == [1, 1, 1]
        assert shown(samples, outside, stranger)["net"] == 3
        assert info(samples, "net", inode(pids[stranger], "net"))["scope"] == "shared"
        in_host = shown(samples, "container_host_namespace", host)
        assert {ns_type for ns_type, yes in in_host.items() if yes} >= {"pid", "ipc", "uts", "user"}
        assert shown(samples, "container_host_namespace", mapped)["user"] == 0
        assert shown(samples, "container_root_is_host_root", mapped) == {"": 0}
        assert shown(samples, "container_root_is_host_root", host) == {"": 1}
        users = inode(pids[mapped], "user")
        assert value(samples, "user_namespace_mapped_uids", "user", users) == 1000
        assert info(samples, "net", inode(pids[mapped], "net"))["owner_ns_inode"] == str(users)
    finally:
        podman("pod", "rm", "-f", "-t", "0", "shared")
        podman("rm", "-f", "-t", "0", "--all")


@pytest.fixture
def cri(containerd: Containerd) -> Iterator[Cri]:
    client = Cri(str(containerd.lab.path(containerd.SOCKET)))
    yield client
    client.close()


# By path and by the annotations of a cgroup whose path tells of no pod.
@pytest.mark.parametrize("directory", ["kubepods/besteffort/pod{}", "elsewhere/{}"])
def test_what_a_pod_of_kubernetes_shares(containerd: Containerd, cri: Cri, directory: str) -> None:
    uid = str(uuid.uuid4())
    parent = f"/nsexporter-test-sharing/{directory.format(uid)}"
    pod = pod_config("web-0", namespace="shop", uid=uid, cgroup_parent=parent, labels={})
    sandbox = cri.run_pod(pod)
    try:
        made = [
            cri.run(sandbox, pod, container_config(name, IMAGE, "sleep", "86400", labels={}))
            for name in ("app", "sidecar")
        ]
        every = (sandbox, *made)
        seen = containerd.lab.snapshot()
        pids = {name: own(seen, name).pids[0] for name in every}
        peers = compare(containerd.lab.scrape(), pids, dict.fromkeys(every, uid))
        for ns_type in ("net", "ipc", "uts"):
            assert {peers[name][ns_type] for name in every} == {2}
        assert {peers[name]["pid"] for name in every} == {0}
    finally:
        cri.remove_pod(sandbox)
        remove_cgroups("nsexporter-test-sharing")
