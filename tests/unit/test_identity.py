"""Cgroup paths to identities: every row of the corpus, and every layout with claims of its own."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nsexporter.containers.identity import identify
from nsexporter.containers.layouts import LAYOUTS
from nsexporter.containers.mountinfo import identify_mountinfo
from nsexporter.model import Identity, OuterContainer

CORPUS = Path(__file__).parents[1] / "data" / "container_paths.jsonl"
OF_A_CONTAINER = {"container", "container-child", "container-parent", "sandbox"}

H = "0123456789abcdef" * 4
H2 = "fedcba9876543210" * 4
U = "12345678-1234-4abc-8def-123456789abc"
UU = U.replace("-", "_")
S = U.replace("-", "")


def claims(row: dict[str, Any]) -> dict[str, Any]:
    """What a row expects, without what its input cannot tell."""
    expect = {key: value for key, value in row["expect"].items() if key != "runtime_any_of"}
    uid = expect.get("pod_uid")
    if uid and uid not in row["input"] and uid.replace("-", "_") not in row["input"]:
        del expect["pod_uid"]  # the row's path holds another uid, and `po` where `pod` was
    if expect["runtime"] == "cri-o" and "crio" not in row["input"] and not expect["container_id"]:
        del expect["runtime"]  # nothing but the kubelet's paths: any CRI runtime writes those
    if expect.get("is_container", False) is None:
        expect["is_container"] = False  # 'cannot tell' is not a claim of a container
    return expect


def identities(kind: str, text: str) -> list[Identity | None]:
    """What a row's text tells; of /proc/PID/cgroup, what the path in each hierarchy does."""
    if kind == "mountinfo":
        return [identify_mountinfo(text)]
    if kind == "cgroup_path":
        return [identify(text)]
    lines = [line.split(":", 2) for line in text.split("\n") if line.count(":") >= 2]
    return [identify(path.removesuffix(" (deleted)")) for _, _, path in lines] or [None]


def found(identity: Identity | None, key: str) -> Any:
    """One key of `expect` as an identity has it."""
    if key == "is_container":
        return identity is not None and identity.kind in OF_A_CONTAINER
    if identity is None:
        return None
    value = getattr(identity, key)
    if key == "outer":
        return [{"runtime": one.runtime, "container_id": one.container_id} for one in value]
    return value


def corpus() -> Iterator[Any]:
    """A parameter a row, named by its line."""
    for number, line in enumerate(CORPUS.read_text(encoding="utf-8").splitlines(), 1):
        row = json.loads(line)
        yield pytest.param(row, id=f"{number}-{row['kind']}")


@pytest.mark.parametrize("row", list(corpus()))
def test_a_row_of_the_corpus_is_what_it_claims_to_be(row: dict[str, Any]) -> None:
    told = identities(row["kind"], row["input"])
    if row.get("doubtful"):
        pytest.skip("doubtful: it was only read")
    expect = claims(row)
    assert expect in [{key: found(identity, key) for key in expect} for identity in told]
    if not expect.get("is_container", True):
        assert not any(found(identity, "is_container") for identity in told)


def container(container_id: str, runtime: str | None, **rest: Any) -> Identity:
    return Identity(kind="container", container_id=container_id, runtime=runtime, **rest)


def child(container_id: str, runtime: str | None, **rest: Any) -> Identity:
    return Identity(kind="container-child", container_id=container_id, runtime=runtime, **rest)


def outer(*pairs: tuple[str, str]) -> tuple[OuterContainer, ...]:
    return tuple(OuterContainer(runtime, container_id) for runtime, container_id in pairs)


BURSTABLE = f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UU}.slice"
USER = "/user.slice/user-1000.slice/user@1000.service"
IN_USER: dict[str, Any] = {"unit": "user@1000.service", "uid": 1000}
POD: dict[str, Any] = {"pod_uid": U, "qos": "burstable"}

LAYOUT_ROWS: list[tuple[str, Identity]] = [
    # Kubernetes
    (f"/kubepods/burstable/pod{U}/{H}", container(H, None, **POD)),
    (f"/kubepods/pod{S}/{H}", container(H, None, pod_uid=S, qos="guaranteed")),
    (f"/kubepods/besteffort/pod{U}/crio-{H}", container(H, "cri-o", pod_uid=U, qos="besteffort")),
    (
        f"/kubepods/burstable/pod{U}/crio-{H}.scope",
        container(H, "cri-o", unit=f"crio-{H}.scope", **POD),
    ),
    (f"/kubepods/burstable/pod{U}/{H}/init.scope", child(H, None, **POD)),
    (f"/kubepods/burstable/pod{U}", Identity(kind="pod", **POD)),
    (
        f"/kubepods/burstable/pod{U}/crio-conmon-{H}.scope",
        Identity(kind="helper", helper_of=H, unit=f"crio-conmon-{H}.scope", **POD),
    ),
    ("/kubepods", Identity(kind="other")),
    ("/kubepods/burstable", Identity(kind="other", qos="burstable")),
    ("/kubepods.slice/kubepods-burstable.slice", Identity(kind="slice", qos="burstable")),
    (BURSTABLE, Identity(kind="pod", **POD)),
    (f"{BURSTABLE}/docker-{H}.scope", container(H, "docker", unit=f"docker-{H}.scope", **POD)),
    (
        f"{BURSTABLE}/cri-containerd-{H}.scope",
        container(H, "containerd", unit=f"cri-containerd-{H}.scope", **POD),
    ),
    (f"{BURSTABLE}/crio-{H}.scope/container", child(H, "cri-o", unit=f"crio-{H}.scope", **POD)),
    (f"{BURSTABLE}/crio-{H}.mount", Identity(kind="unit", unit=f"crio-{H}.mount", **POD)),
    (f"/kubepods.slice/kubepods-pod{S}.slice", Identity(kind="pod", pod_uid=S, qos="guaranteed")),
    (
        f"/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod{UU}.slice/cri-containerd-{H}",
        container(H, "containerd", pod_uid=U, qos="guaranteed"),
    ),
    (f"/kubelet/kubepods/burstable/pod{U}/{H}", container(H, None, **POD)),
    (f"/kubepods-burstable-pod{UU}.slice:cri-containerd:{H}", container(H, "containerd", **POD)),
    (
        f"/system.slice/containerd.service/kubepods-burstable-pod{UU}.slice:cri-containerd:{H}",
        container(H, "containerd", unit="containerd.service", **POD),
    ),
    (
        f"/docker/{H}/kubelet/kubepods/burstable/pod{U}/{H2}",
        container(H2, None, outer=outer(("docker", H)), **POD),
    ),
    (
        f"/docker/{H}/kubelet/kubepods/burstable/pod{U}",
        Identity(kind="pod", outer=outer(("docker", H)), **POD),
    ),
    (
        f"/lxc.payload.node-1{BURSTABLE}/crio-{H}.scope",
        container(H, "cri-o", outer=outer(("lxc", "node-1")), **POD),
    ),
    (
        f"/libpod_parent/libpod-{H}{BURSTABLE}/docker-{H2}.scope",
        container(H2, "docker", outer=outer(("podman", H)), **POD),
    ),
    (
        f"/mesos/{U}/kubepods/burstable/pod{U}/{H}",
        container(H, None, outer=outer(("mesos", U)), **POD),
    ),
    (
        f"/ecs/{S}/{S}-1234567890/kubepods/burstable/pod{U}/{H}",
        container(H, None, ecs_task=S, outer=outer(("ecs-fargate", f"{S}-1234567890")), **POD),
    ),
    (f"/kubepods/burstable/pod{U}/kata_{H}", container(H, "kata", **POD)),
    (f"/kata_overhead/{H}", Identity(kind="helper", sandbox_id=H)),
    ("/default/kata_box-1", container("box-1", "kata", namespace="default")),
    # Docker, podman, containerd
    (f"/docker/{H}", container(H, "docker")),
    (f"/docker/{H}/", container(H, "docker")),
    (f"/docker-{H}", container(H, "docker")),
    (f"/docker/{H}/foo", child(H, "docker")),
    (f"/docker/{H}/docker/{H2}", container(H2, "docker", outer=outer(("docker", H)))),
    (f"/docker.slice/docker-{H}.scope", container(H, "docker", unit=f"docker-{H}.scope")),
    (f"/system.slice/docker-{H}.scope/init.scope", child(H, "docker", unit=f"docker-{H}.scope")),
    (
        f"{USER}/user.slice/docker-{H}.scope",
        container(H, "docker", user_unit=f"docker-{H}.scope", **IN_USER),
    ),
    (f"/lab/custom/{H}", container(H, None)),
    (f"/actions_job/{H}", container(H, "docker")),
    (f"/lxc/{H}", container(H, "docker")),
    (
        "/system.slice/system.slice:docker:abcdefghij0123456789klmno",
        container("abcdefghij0123456789klmno", "buildkit"),
    ),
    (
        "/docker/buildkit/abcdefghij0123456789klmno",
        container("abcdefghij0123456789klmno", "buildkit"),
    ),
    (
        f"/docker/{H}/docker/buildkit/abcdefghij0123456789klmno",
        container("abcdefghij0123456789klmno", "buildkit", outer=outer(("docker", H))),
    ),
    (f"/machine.slice/libpod-{H}.scope", container(H, "podman", unit=f"libpod-{H}.scope")),
    (f"/machine.slice/libpod-{H}.scope/container", child(H, "podman", unit=f"libpod-{H}.scope")),
    (
        f"{USER}/user.slice/libpod-{H}.scope/container",
        child(H, "podman", user_unit=f"libpod-{H}.scope", **IN_USER),
    ),
    (
        f"/system.slice/quadlet.service/libpod-payload-{H}",
        container(H, "podman", unit="quadlet.service"),
    ),
    (f"/machine.slice/machine-libpod_pod_{H}.slice", Identity(kind="pod", podman_pod=H)),
    (
        f"/machine.slice/machine-libpod_pod_{H}.slice/libpod-{H2}.scope",
        container(H2, "podman", podman_pod=H, unit=f"libpod-{H2}.scope"),
    ),
    (
        f"/machine.slice/libpod-conmon-{H}.scope",
        Identity(kind="helper", helper_of=H, unit=f"libpod-conmon-{H}.scope"),
    ),
    ("/machine.slice/podman-1234.scope", Identity(kind="scope", unit="podman-1234.scope")),
    ("/libpod_parent", Identity(kind="other")),
    ("/libpod_parent/conmon", Identity(kind="helper")),
    (f"/libpod_parent/libpod-{H}", container(H, "podman")),
    (f"/libpod_parent/{H}", Identity(kind="pod", podman_pod=H)),
    (f"/libpod_parent/{H}/conmon", Identity(kind="helper", podman_pod=H)),
    (f"/own/{H}/libpod-{H2}", container(H2, "podman", podman_pod=H)),
    (f"/own/{H}/libpod-{H2}/init.scope", child(H2, "podman", podman_pod=H)),
    (f"/libpod_parent/{H}/libpod-{H2}", container(H2, "podman", podman_pod=H)),
    (f"/system.slice/nerdctl-{H}.scope", container(H, "containerd", unit=f"nerdctl-{H}.scope")),
    (f"/k8s.io/{H}", container(H, "containerd", namespace="k8s.io")),
    ("/default/ctr1", Identity(kind="other")),
    # Others
    (f"/ecs/{S}/{S}-123456789", container(f"{S}-123456789", "ecs-fargate", ecs_task=S)),
    (f"/ecs/{U}/{H}", container(H, "docker", ecs_task=U)),
    (f"/ecs/cluster-1/{S}/{H}", container(H, "docker", ecs_task=S)),
    (f"/ecs/{U}", Identity(kind="pod", ecs_task=U)),
    (
        f"/ecstasks.slice/ecstasks-{S}.slice/docker-{H}.scope",
        container(H, "docker", ecs_task=S, unit=f"docker-{H}.scope"),
    ),
    ("/garden/6f265890-5165-7fab-6b52-18d1", container("6f265890-5165-7fab-6b52-18d1", "garden")),
    (
        "/system.slice/garden.service/garden/6f265890-5165-7fab-6b52-18d1",
        container("6f265890-5165-7fab-6b52-18d1", "garden", unit="garden.service"),
    ),
    (f"/mesos/{U}", container(U, "mesos")),
    (
        f"/nomad.slice/share.slice/{U}.web.v1.scope",
        container(U, "nomad", nomad={"alloc": U, "task": "web.v1"}, unit=f"{U}.web.v1.scope"),
    ),
    (f"/nomad/{U}", container(U, "nomad", nomad={"alloc": U})),
    (
        "/garden/good/6f265890-5165-7fab-6b52-18d1",
        container("6f265890-5165-7fab-6b52-18d1", "garden"),
    ),
    (f"/ecs/shop/{S}/{S}-1234567890", container(f"{S}-1234567890", "ecs-fargate", ecs_task=S)),
    ("/apptainer/1234", container("1234", "apptainer")),
    (
        f"{USER}/user.slice/apptainer-1234.scope",
        container("1234", "apptainer", user_unit="apptainer-1234.scope", **IN_USER),
    ),
    (
        "/system.slice/singularity-1234.scope/x",
        child("1234", "singularity", unit="singularity-1234.scope"),
    ),
    ("/buildah-buildah1234567", container("buildah1234567", "buildah")),
    (
        rf"/machine.slice/machine-rkt\x2d{U}.scope/system.slice/app.service",
        child(U, "rkt", machine=U, unit=rf"machine-rkt\x2d{U}.scope"),
    ),
    ("/lxc/web", container("web", "lxc")),
    ("/lxc/100/ns/system.slice/ssh.service", child("100", "lxc")),
    ("/lxc.payload.web", container("web", "lxc")),
    (
        "/lxc.payload.user-1000_web/.lxc",
        child("user-1000_web", "lxc", incus_project="user-1000", instance="web"),
    ),
    ("/lxc.monitor.web", Identity(kind="helper", helper_of="web")),
    (
        r"/machine.slice/machine-lxc\x2d12\x2da\x2db.scope/libvirt",
        child("a-b", "libvirt-lxc", machine="a-b", unit=r"machine-lxc\x2d12\x2da\x2db.scope"),
    ),
    (
        r"/machine.slice/machine-qemu\x2d1\x2dvm.scope/libvirt/vcpu0",
        Identity(
            kind="machine",
            runtime="libvirt-qemu",
            machine="vm",
            unit=r"machine-qemu\x2d1\x2dvm.scope",
        ),
    ),
    (
        "/machine/qemu-3-vm.libvirt-qemu",
        Identity(kind="machine", runtime="libvirt-qemu", machine="vm"),
    ),
    (
        "/qemu.slice/104.scope",
        Identity(kind="machine", runtime="qemu", machine="104", unit="104.scope"),
    ),
    (
        "/machine.slice/systemd-nspawn@web.service",
        container("web", "systemd-nspawn", machine="web", unit="systemd-nspawn@web.service"),
    ),
    (
        "/machine.slice/systemd-nspawn@web.service/payload/system.slice/ssh.service",
        child("web", "systemd-nspawn", machine="web", unit="systemd-nspawn@web.service"),
    ),
    (
        "/machine.slice/systemd-nspawn@web.service/supervisor",
        Identity(kind="helper", helper_of="web", unit="systemd-nspawn@web.service"),
    ),
    (
        r"/machine.slice/machine-my\x2dbox.scope/payload",
        container("my-box", "systemd-nspawn", machine="my-box", unit=r"machine-my\x2dbox.scope"),
    ),
    (
        "/machine.slice/machine-web.scope",
        Identity(kind="machine", machine="web", unit="machine-web.scope"),
    ),
    (
        "/machine.slice/machine-web.scope/supervisor",
        Identity(kind="helper", helper_of="web", machine="web", unit="machine-web.scope"),
    ),
    ("/libvirt/qemu/vm", Identity(kind="machine", runtime="libvirt-qemu", machine="vm")),
    ("/libvirt/lxc/box", container("box", "libvirt-lxc", machine="box")),
    ("/machine/lxc-7-box.libvirt-lxc", container("box", "libvirt-lxc", machine="box")),
    (f"/moby/{H}", container(H, "docker", namespace="moby")),
    (f"/balena/{H}", container(H, "balena")),
    (f"/default/{H}", container(H, "containerd", namespace="default")),
    ("/docker/6f265890-5165-7fab-6b52-18d1", container("6f265890-5165-7fab-6b52-18d1", "garden")),
    (f"/kubepods/burstable/pod{U}/{U}", container(U, None, **POD)),
    (f"/../../pod{U}/{H}", container(H, None, pod_uid=U)),
    # Schedulers and plain hosts
    ("/pbs.slice/pbs-12.server.slice", Identity(kind="job", batch={"manager": "pbs", "job": "12"})),
    (
        "/slurm_n1/uid_7/job_12/step_batch/task_0",
        Identity(
            kind="job", slurm={"node": "n1", "uid": 7, "job": "12", "step": "batch", "task": "0"}
        ),
    ),
    (
        "/system.slice/n1_slurmstepd.scope/job_12/step_0/user/task_3",
        Identity(
            kind="job",
            unit="n1_slurmstepd.scope",
            slurm={"node": "n1", "job": "12", "step": "0", "task": "3"},
        ),
    ),
    (
        "/system.slice/slurmstepd.scope/job_12/step_0/slurm",
        Identity(kind="job", unit="slurmstepd.scope", slurm={"job": "12", "step": "0"}),
    ),
    (
        "/pbs_jobs.service/jobid/12[3].server-1",
        Identity(kind="job", unit="pbs_jobs.service", batch={"manager": "pbs", "job": "12[3]"}),
    ),
    ("/torque/12.server", Identity(kind="job", batch={"manager": "torque", "job": "12"})),
    ("/lsf/cluster-1/job.12.345.678", Identity(kind="job", batch={"manager": "lsf", "job": "12"})),
    (
        "/htcondor/condor_var_lib_condor_execute_slot1_2@node",
        Identity(kind="job", batch={"manager": "htcondor", "job": "slot1_2"}),
    ),
    ("/", Identity(kind="root")),
    ("/podruntime/runtime", Identity(kind="other")),
    ("/system/apid", Identity(kind="other")),
    ("/runtime.slice/containerd.service", Identity(kind="service", unit="containerd.service")),
    (
        "/wsl-user/distro/systemd/user.slice/user-1000.slice/user@1000.service",
        Identity(kind="service", **IN_USER),
    ),
    ("/uid_10012/pid_345", Identity(kind="other", uid=10012)),
    (f"{USER}/app.slice", Identity(kind="slice", **IN_USER)),
    (
        f"{USER}/app.slice/app-flatpak-org.example-1.scope",
        Identity(kind="scope", user_unit="app-flatpak-org.example-1.scope", **IN_USER),
    ),
    (
        "/user.slice/user-7.slice/session-2.scope",
        Identity(kind="scope", unit="session-2.scope", uid=7),
    ),
    ("/system.slice/run-p12-i34.scope", Identity(kind="scope", unit="run-p12-i34.scope")),
    ("/system.slice/_cpu.service", Identity(kind="service", unit="cpu.service")),
    (
        r"/system.slice/system-a\x2db.slice/a\x2db@1.service/sub",
        Identity(kind="service", unit=r"a\x2db@1.service"),
    ),
    (
        f"/system.slice/var-lib-docker-overlay2-{H}-merged.mount",
        Identity(kind="unit", unit=f"var-lib-docker-overlay2-{H}-merged.mount"),
    ),
    (f"/system.slice/{H}.service", Identity(kind="service", unit=f"{H}.service")),
    ("/../../user.slice/user-7.slice", Identity(kind="slice", uid=7)),
    ("/system.slice/.service", Identity(kind="other")),
    (f"/docker/{H}0", Identity(kind="other")),
    (f"/docker/{H.upper()}", Identity(kind="other")),
    ("/docker/web", Identity(kind="other")),
]


@pytest.mark.parametrize(("path", "identity"), LAYOUT_ROWS, ids=[row[0] for row in LAYOUT_ROWS])
def test_a_layout_gives_the_whole_identity(path: str, identity: Identity) -> None:
    assert identify(path) == identity


def test_every_row_of_the_table_matches_a_path_and_only_with_its_hint() -> None:
    paths = [path for path, _ in LAYOUT_ROWS]
    for line in CORPUS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        if row["kind"] == "cgroup_path":
            paths.append(row["input"])
    for layout in LAYOUTS:
        matched = [path for path in paths if layout.pattern.search(path)]
        assert matched, layout.pattern.pattern
        assert all(layout.hint in path for path in matched), layout.pattern.pattern


def test_a_guess_from_mountinfo_is_marked() -> None:
    text = f"9 8 8:1 /var/lib/docker/containers/{H}/hostname /etc/hostname rw - ext4 /dev/sda1 rw"
    assert identify_mountinfo(text) == container(H, "docker", guess="mountinfo")


def test_the_hostname_of_a_dockershim_pod_is_its_sandbox() -> None:
    text = (
        f"9 8 8:1 /var/lib/docker/containers/{H}/hostname /etc/hostname rw - ext4 /dev/sda1 rw\n"
        f"10 8 8:1 /var/lib/kubelet/pods/{U}/etc-hosts /etc/hosts rw - ext4 /dev/sda1 rw\n"
    )
    assert identify_mountinfo(text) == Identity(
        kind="container", runtime="docker", pod_uid=U, sandbox_id=H, guess="mountinfo"
    )


def test_mountinfo_of_a_host_tells_nothing() -> None:
    assert identify_mountinfo("29 23 0:25 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n") is None
