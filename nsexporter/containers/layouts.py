"""How runtimes name their cgroups: one ordered table of patterns.

Every pattern claims one directory of the path, the one that it ends at; of two patterns that
end at the same place the earlier row counts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

END = r"(?=/|\Z)"
HEX = r"[0-9a-f]{64}(?![0-9a-f])"
_SHORT = r"[0-9a-f]{16,32}"  # ids that somebody cut
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
POD = rf"(?:{_UUID}|[0-9a-f]{{32}})"
_QOS = r"(?P<qos>besteffort|burstable|guaranteed)"
_JOB = r"(?P<job>\d+(?:\[\d*\])?)"  # N, and N[i] for one of a job array
_PREFIX = "docker|cri-containerd|crio|libpod-payload|libpod|nerdctl|balena|runc|crun"

RUNTIMES = {
    "docker": "docker",
    "cri-containerd": "containerd",
    "nerdctl": "containerd",
    "crio": "cri-o",
    "libpod": "podman",
    "libpod-payload": "podman",
}
"""The runtime that writes a prefix, where it has another name than the prefix itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """One way to name a cgroup.

    Groups are fields of `Identity`, besides `id` (the container's) and `prefix` (a key of
    `RUNTIMES`); where `into` names a mapping of `Identity`, they are keys of that.
    """

    hint: str  # occurs in every path that the pattern matches: a cheap test before it
    pattern: re.Pattern[str]
    kind: str | None  # None: no claim, the groups are only remembered
    runtime: str | None = None
    qos: str | None = None  # where the pattern's own group did not take part
    into: str | None = None  # slurm, batch or nomad
    manager: str | None = None  # batch's


def _layout(
    hint: str,
    pattern: str,
    kind: str | None,
    runtime: str | None = None,
    *,
    qos: str | None = None,
    into: str | None = None,
    manager: str | None = None,
) -> Layout:
    """A row with its pattern compiled."""
    return Layout(
        hint=hint,
        pattern=re.compile(pattern),
        kind=kind,
        runtime=runtime,
        qos=qos,
        into=into,
        manager=manager,
    )


LAYOUTS: tuple[Layout, ...] = (
    # Helpers first: their names hold the id of a container that they are not.
    _layout(
        "-conmon",
        rf"[/:](?:crio|libpod)-conmon[-:](?P<helper_of>{HEX})(?:\.scope)?{END}",
        "helper",
    ),
    _layout("libpod_", rf"/libpod_parent(?:/(?P<podman_pod>{HEX}))?/conmon{END}", "helper"),
    _layout("/kata_", rf"/kata_overhead/(?P<sandbox_id>[^/]+){END}", "helper"),
    _layout("lxc", rf"/lxc\.monitor[./](?P<helper_of>[^/]+){END}", "helper"),
    _layout("nspawn@", rf"/systemd-nspawn@(?P<helper_of>[^/]+)\.service/supervisor{END}", "helper"),
    _layout("machine", rf"/machine-(?P<helper_of>[^/]+)\.scope/supervisor{END}", "helper"),
    # Podman's pods, whose ids look like containers'.
    _layout("libpod_", rf"libpod_pod_(?P<podman_pod>{HEX})(?:\.slice)?{END}", "pod"),
    _layout("libpod_", rf"/libpod_parent/(?P<podman_pod>{HEX}){END}", "pod"),
    # Kubernetes' pods (pkg/kubelet/cm/cgroup_manager_linux.go, pod_container_manager_linux.go).
    _layout(
        "kubepods",
        rf"kubepods(?<=[/-]kubepods)(?:[/-]{_QOS})?(?:\.slice)?[/-]pod(?P<pod_uid>[^/:.]+)"
        r"(?:\.slice)?(?=[/:]|\Z)",
        "pod",
        qos="guaranteed",
    ),
    _layout("/pod", rf"/pod(?P<pod_uid>{POD}){END}", "pod"),
    _layout(
        "kubepods",
        rf"kubepods(?<=[/-]kubepods)[/-]{_QOS}(?:\.slice)?{END}(?!/(?:[a-z-]+-)?pod)",
        None,
    ),
    # slice:prefix:name, as runc's systemd driver takes it, made a directory by a cgroupfs driver.
    _layout(":", rf"/[^/]*:(?P<prefix>{_PREFIX}):(?P<id>{HEX}){END}", "container"),
    _layout(":", rf"/[^/]*:docker:(?P<id>[a-z0-9]{{25}}){END}", "container", "buildkit"),
    _layout("buildkit/", rf"/buildkit/(?P<id>[a-z0-9]{{25}}){END}", "container", "buildkit"),
    # prefix-name.scope.
    _layout(
        "-",
        rf"/(?P<prefix>{_PREFIX})-(?P<id>{HEX}|{_SHORT}(?=\.scope))(?:\.scope)?{END}",
        "container",
    ),
    # kata-containers, docs/design/host-cgroups.md.
    _layout(
        "/kata_",
        rf"\A/(?P<namespace>[^/]+)(?<!\.slice)(?<!\.service)/kata_"
        rf"(?!overhead{END})(?P<id>[^/]+){END}",
        "container",
        "kata",
    ),
    _layout("/kata_", rf"/kata_(?!overhead{END})(?P<id>[^/]+){END}", "container", "kata"),
    # Amazon ECS: Fargate, then EC2, then the task that holds the containers.
    _layout(
        "ecs",
        rf"/ecs/(?:[^/]+/){{0,2}}(?P<id>(?P<ecs_task>[0-9a-fA-F]{{32}})-\d{{6,12}}){END}",
        "container",
        "ecs-fargate",
    ),
    _layout(
        "ecs", rf"/ecs/(?:[^/]+/)?(?P<ecs_task>[^/]+)/(?P<id>{HEX}){END}", "container", "docker"
    ),
    _layout("ecs", rf"/ecs/(?:[^/]+/)?(?P<ecs_task>{POD}){END}", "pod"),
    _layout("ecs", rf"/ecstasks-(?P<ecs_task>{POD})\.slice{END}", "pod"),
    # Cloud Foundry, Mesos, Nomad (client/lib/cgroupslib).
    _layout(
        "/garden/",
        rf"/garden/(?:good/|bad/)?(?P<id>[0-9A-Za-z_-]{{20,}}){END}",
        "container",
        "garden",
    ),
    _layout(
        "/docker/",
        rf"/docker/(?P<id>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{4}}){END}",
        "container",
        "garden",
    ),
    _layout("/mesos/", rf"/mesos/(?P<id>{_UUID}){END}", "container", "mesos"),
    _layout(
        "/nomad",
        r"/nomad(?:\.slice)?/(?:(?:shared?|reserved?)(?:\.slice)?/)?"
        rf"(?P<alloc>{_UUID})(?:[.-](?P<task>[^/]+?))?(?:\.scope)?{END}",
        "container",
        "nomad",
        into="nomad",
    ),
    # Apptainer, Singularity before it (internal/pkg/cgroups): named by the PID of the starter.
    _layout("apptainer", rf"/apptainer[/-](?P<id>\d+)(?:\.scope)?{END}", "container", "apptainer"),
    _layout(
        "singularity",
        rf"/singularity[/-](?P<id>\d+)(?:\.scope)?{END}",
        "container",
        "singularity",
    ),
    # Buildah's containers while they build (run_linux.go), and rkt's pods.
    _layout("buildah", rf"/buildah-(?P<id>buildah\d+)(?:\.scope)?{END}", "container", "buildah"),
    _layout(
        "machine-rkt",
        rf"/machine-rkt\\x2d(?P<machine>[^/]+)\.scope{END}",
        "container",
        "rkt",
    ),
    # Virtual machines, and libvirt's containers (src/util/virsystemd.c, vircgroup.c).
    _layout("qemu", rf"/libvirt/qemu/(?P<machine>[^/]+){END}", "machine", "libvirt-qemu"),
    _layout("lxc", rf"/libvirt/lxc/(?P<machine>[^/]+){END}", "container", "libvirt-lxc"),
    _layout(
        "qemu",
        rf"/machine-qemu\\x2d(?:\d+\\x2d)?(?P<machine>[^/]+)\.scope{END}",
        "machine",
        "libvirt-qemu",
    ),
    _layout(
        "lxc",
        rf"/machine-lxc\\x2d(?:\d+\\x2d)?(?P<machine>[^/]+)\.scope{END}",
        "container",
        "libvirt-lxc",
    ),
    _layout(
        "qemu", rf"/(?:qemu-\d+-)?(?P<machine>[^/]+)\.libvirt-qemu{END}", "machine", "libvirt-qemu"
    ),
    _layout(
        "lxc", rf"/(?:lxc-\d+-)?(?P<machine>[^/]+)\.libvirt-lxc{END}", "container", "libvirt-lxc"
    ),
    _layout("qemu", rf"/qemu\.slice/(?P<machine>\d+)\.scope{END}", "machine", "qemu"),
    _layout("qemu", rf"/qemu-(?P<machine>\d+)\.scope{END}", "machine", "qemu"),
    # systemd-nspawn (src/nspawn/nspawn-cgroup.c). A scope alone may be a VM's as well.
    _layout(
        "nspawn@",
        rf"/systemd-nspawn@(?P<machine>[^/]+)\.service{END}(?!/supervisor{END})",
        "container",
        "systemd-nspawn",
    ),
    _layout(
        "machine",
        rf"/machine-(?P<machine>[^/]+)\.scope/payload{END}",
        "container",
        "systemd-nspawn",
    ),
    _layout("machine", rf"/machine-(?P<machine>[^/]+)\.scope{END}", "machine"),
    # LXC (lxc.cgroup.dir.*). 64 hex below /lxc was docker's LXC driver, up to docker 1.9.
    _layout("lxc", rf"/lxc/(?P<id>{HEX}){END}", "container", "docker"),
    _layout("lxc", rf"/lxc(?:/|\.payload[./])(?P<id>[^/]+){END}", "container", "lxc"),
    # Batch systems (slurm: src/plugins/cgroup).
    _layout(
        "slurm",
        r"/slurm(?:_(?P<node>[^/]+))?/uid_(?P<uid>\d+)/job_(?P<job>\d+)"
        rf"(?:/step_(?P<step>[^/]+)(?:/user)?(?:/task_(?P<task>[^/]+))?)?{END}",
        "job",
        into="slurm",
    ),
    _layout(
        "slurm",
        r"/(?:(?P<node>[^/]+)_)?slurmstepd\.scope/job_(?P<job>\d+)"
        rf"(?:/step_(?P<step>[^/]+)(?:/user)?(?:/task_(?P<task>[^/]+))?)?{END}",
        "job",
        into="slurm",
    ),
    _layout(
        "/pbs", rf"/pbs[^/]*/(?:[^/]+/)?{_JOB}\.[^/]+{END}", "job", into="batch", manager="pbs"
    ),
    _layout("/pbs", rf"/pbs[^/]*-{_JOB}\.[^/]+\.slice{END}", "job", into="batch", manager="pbs"),
    _layout("/torque/", rf"/torque/{_JOB}(?:\.[^/]+)?{END}", "job", into="batch", manager="torque"),
    _layout(
        "/lsf/",
        rf"/lsf/(?:[^/]+/)?job\.{_JOB}(?:\.[^/]*)?{END}",
        "job",
        into="batch",
        manager="lsf",
    ),
    _layout(
        "slot",
        r"/(?:htcondor/(?:[^/]+/)?[^/]*?|condor_[^/]*_)"
        rf"(?P<job>slot\d+(?:_\d+)?)(?:@[^/]*)?{END}",
        "job",
        into="batch",
        manager="htcondor",
    ),
    # Bare ids below a parent that tells the runtime (actions_job is what GitHub's runner gives
    # docker, moby is dockerd's namespace in containerd), then below one that does not.
    _layout("/docker/", rf"/docker/(?P<id>{HEX}|{_SHORT}){END}", "container", "docker"),
    _layout("/actions_job/", rf"/actions_job/(?P<id>{HEX}){END}", "container", "docker"),
    _layout("/moby/", rf"/(?P<namespace>moby)/(?P<id>{HEX}){END}", "container", "docker"),
    _layout("/balena/", rf"/balena/(?P<id>{HEX}){END}", "container", "balena"),
    _layout("/k8s.io/", rf"/(?P<namespace>k8s\.io)/(?P<id>{HEX}){END}", "container", "containerd"),
    _layout("/default/", rf"/(?P<namespace>default)/(?P<id>{HEX}){END}", "container", "containerd"),
    # Podman's pod below a --cgroup-parent: only what is in it tells.
    _layout("/libpod-", rf"/(?P<podman_pod>{HEX})(?=/libpod-{HEX}{END})", "pod"),
    _layout("/", rf"/(?P<id>{HEX}){END}", "container"),
    _layout("pod", rf"pod(?<=[/-]pod)[^/]+/(?P<id>{_UUID}){END}", "container"),
    # Android (libprocessgroup).
    _layout("/uid_", rf"/uid_(?P<uid>\d+)/pid_\d+{END}", None),
)
