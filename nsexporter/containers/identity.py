"""Whose a cgroup is, by its path alone: one ordered table of patterns.

Every pattern claims one directory of the path, the one that it ends at; of two patterns that
end at the same place the earlier row counts. Claims are then read from the root downwards, so
that a container in a container keeps both, and units below a container are not the host's.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from nsexporter.model import Identity, OuterContainer

_END = r"(?=/|\Z)"
_HEX = r"[0-9a-f]{64}(?![0-9a-f])"
_SHORT = r"[0-9a-f]{16,32}"  # ids that somebody cut
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_POD = rf"(?:{_UUID}|[0-9a-f]{{32}})"
_QOS = r"(?P<qos>besteffort|burstable|guaranteed)"
_JOB = r"(?P<job>\d+(?:\[\d*\])?)"  # N, and N[i] for one of a job array
_PREFIX = "docker|cri-containerd|crio|libpod-payload|libpod|nerdctl|balena|runc|crun"

_RUNTIMES = {
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
    `_RUNTIMES`); where `into` names a mapping of `Identity`, they are keys of that.
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
        rf"[/:](?:crio|libpod)-conmon[-:](?P<helper_of>{_HEX})(?:\.scope)?{_END}",
        "helper",
    ),
    _layout("libpod_", rf"/libpod_parent(?:/(?P<podman_pod>{_HEX}))?/conmon{_END}", "helper"),
    _layout("/kata_", rf"/kata_overhead/(?P<sandbox_id>[^/]+){_END}", "helper"),
    _layout("lxc", rf"/lxc\.monitor[./](?P<helper_of>[^/]+){_END}", "helper"),
    _layout(
        "nspawn@", rf"/systemd-nspawn@(?P<helper_of>[^/]+)\.service/supervisor{_END}", "helper"
    ),
    _layout("machine", rf"/machine-(?P<helper_of>[^/]+)\.scope/supervisor{_END}", "helper"),
    # Podman's pods, whose ids look like containers'.
    _layout("libpod_", rf"libpod_pod_(?P<podman_pod>{_HEX})(?:\.slice)?{_END}", "pod"),
    _layout("libpod_", rf"/libpod_parent/(?P<podman_pod>{_HEX}){_END}", "pod"),
    # Kubernetes' pods (pkg/kubelet/cm/cgroup_manager_linux.go, pod_container_manager_linux.go).
    _layout(
        "kubepods",
        rf"kubepods(?<=[/-]kubepods)(?:[/-]{_QOS})?(?:\.slice)?[/-]pod(?P<pod_uid>[^/:.]+)"
        r"(?:\.slice)?(?=[/:]|\Z)",
        "pod",
        qos="guaranteed",
    ),
    _layout("/pod", rf"/pod(?P<pod_uid>{_POD}){_END}", "pod"),
    _layout(
        "kubepods",
        rf"kubepods(?<=[/-]kubepods)[/-]{_QOS}(?:\.slice)?{_END}(?!/(?:[a-z-]+-)?pod)",
        None,
    ),
    # slice:prefix:name, as runc's systemd driver takes it, made a directory by a cgroupfs driver.
    _layout(":", rf"/[^/]*:(?P<prefix>{_PREFIX}):(?P<id>{_HEX}){_END}", "container"),
    _layout(":", rf"/[^/]*:docker:(?P<id>[a-z0-9]{{25}}){_END}", "container", "buildkit"),
    _layout("buildkit/", rf"/buildkit/(?P<id>[a-z0-9]{{25}}){_END}", "container", "buildkit"),
    # prefix-name.scope.
    _layout(
        "-",
        rf"/(?P<prefix>{_PREFIX})-(?P<id>{_HEX}|{_SHORT}(?=\.scope))(?:\.scope)?{_END}",
        "container",
    ),
    # kata-containers, docs/design/host-cgroups.md.
    _layout(
        "/kata_",
        rf"\A/(?P<namespace>[^/]+)(?<!\.slice)(?<!\.service)/kata_"
        rf"(?!overhead{_END})(?P<id>[^/]+){_END}",
        "container",
        "kata",
    ),
    _layout("/kata_", rf"/kata_(?!overhead{_END})(?P<id>[^/]+){_END}", "container", "kata"),
    # Amazon ECS: Fargate, then EC2, then the task that holds the containers.
    _layout(
        "ecs",
        rf"/ecs/(?:[^/]+/){{0,2}}(?P<id>(?P<ecs_task>[0-9a-fA-F]{{32}})-\d{{6,12}}){_END}",
        "container",
        "ecs-fargate",
    ),
    _layout(
        "ecs", rf"/ecs/(?:[^/]+/)?(?P<ecs_task>[^/]+)/(?P<id>{_HEX}){_END}", "container", "docker"
    ),
    _layout("ecs", rf"/ecs/(?:[^/]+/)?(?P<ecs_task>{_POD}){_END}", "pod"),
    _layout("ecs", rf"/ecstasks-(?P<ecs_task>{_POD})\.slice{_END}", "pod"),
    # Cloud Foundry, Mesos, Nomad (client/lib/cgroupslib).
    _layout(
        "/garden/",
        rf"/garden/(?:good/|bad/)?(?P<id>[0-9A-Za-z_-]{{20,}}){_END}",
        "container",
        "garden",
    ),
    _layout(
        "/docker/",
        rf"/docker/(?P<id>[0-9a-f]{{8}}(?:-[0-9a-f]{{4}}){{4}}){_END}",
        "container",
        "garden",
    ),
    _layout("/mesos/", rf"/mesos/(?P<id>{_UUID}){_END}", "container", "mesos"),
    _layout(
        "/nomad",
        r"/nomad(?:\.slice)?/(?:(?:shared?|reserved?)(?:\.slice)?/)?"
        rf"(?P<alloc>{_UUID})(?:[.-](?P<task>[^/]+?))?(?:\.scope)?{_END}",
        "container",
        "nomad",
        into="nomad",
    ),
    # Apptainer, Singularity before it (internal/pkg/cgroups): named by the PID of the starter.
    _layout("apptainer", rf"/apptainer[/-](?P<id>\d+)(?:\.scope)?{_END}", "container", "apptainer"),
    _layout(
        "singularity",
        rf"/singularity[/-](?P<id>\d+)(?:\.scope)?{_END}",
        "container",
        "singularity",
    ),
    # Buildah's containers while they build (run_linux.go), and rkt's pods.
    _layout("buildah", rf"/buildah-(?P<id>buildah\d+)(?:\.scope)?{_END}", "container", "buildah"),
    _layout(
        "machine-rkt",
        rf"/machine-rkt\\x2d(?P<machine>[^/]+)\.scope{_END}",
        "container",
        "rkt",
    ),
    # Virtual machines, and libvirt's containers (src/util/virsystemd.c, vircgroup.c).
    _layout("qemu", rf"/libvirt/qemu/(?P<machine>[^/]+){_END}", "machine", "libvirt-qemu"),
    _layout("lxc", rf"/libvirt/lxc/(?P<machine>[^/]+){_END}", "container", "libvirt-lxc"),
    _layout(
        "qemu",
        rf"/machine-qemu\\x2d(?:\d+\\x2d)?(?P<machine>[^/]+)\.scope{_END}",
        "machine",
        "libvirt-qemu",
    ),
    _layout(
        "lxc",
        rf"/machine-lxc\\x2d(?:\d+\\x2d)?(?P<machine>[^/]+)\.scope{_END}",
        "container",
        "libvirt-lxc",
    ),
    _layout(
        "qemu", rf"/(?:qemu-\d+-)?(?P<machine>[^/]+)\.libvirt-qemu{_END}", "machine", "libvirt-qemu"
    ),
    _layout(
        "lxc", rf"/(?:lxc-\d+-)?(?P<machine>[^/]+)\.libvirt-lxc{_END}", "container", "libvirt-lxc"
    ),
    _layout("qemu", rf"/qemu\.slice/(?P<machine>\d+)\.scope{_END}", "machine", "qemu"),
    _layout("qemu", rf"/qemu-(?P<machine>\d+)\.scope{_END}", "machine", "qemu"),
    # systemd-nspawn (src/nspawn/nspawn-cgroup.c). A scope alone may be a VM's as well.
    _layout(
        "nspawn@",
        rf"/systemd-nspawn@(?P<machine>[^/]+)\.service{_END}(?!/supervisor{_END})",
        "container",
        "systemd-nspawn",
    ),
    _layout(
        "machine",
        rf"/machine-(?P<machine>[^/]+)\.scope/payload{_END}",
        "container",
        "systemd-nspawn",
    ),
    _layout("machine", rf"/machine-(?P<machine>[^/]+)\.scope{_END}", "machine"),
    # LXC (lxc.cgroup.dir.*). 64 hex below /lxc was docker's LXC driver, up to docker 1.9.
    _layout("lxc", rf"/lxc/(?P<id>{_HEX}){_END}", "container", "docker"),
    _layout("lxc", rf"/lxc(?:/|\.payload[./])(?P<id>[^/]+){_END}", "container", "lxc"),
    # Batch systems (slurm: src/plugins/cgroup).
    _layout(
        "slurm",
        r"/slurm(?:_(?P<node>[^/]+))?/uid_(?P<uid>\d+)/job_(?P<job>\d+)"
        rf"(?:/step_(?P<step>[^/]+)(?:/user)?(?:/task_(?P<task>[^/]+))?)?{_END}",
        "job",
        into="slurm",
    ),
    _layout(
        "slurm",
        r"/(?:(?P<node>[^/]+)_)?slurmstepd\.scope/job_(?P<job>\d+)"
        rf"(?:/step_(?P<step>[^/]+)(?:/user)?(?:/task_(?P<task>[^/]+))?)?{_END}",
        "job",
        into="slurm",
    ),
    _layout(
        "/pbs", rf"/pbs[^/]*/(?:[^/]+/)?{_JOB}\.[^/]+{_END}", "job", into="batch", manager="pbs"
    ),
    _layout("/pbs", rf"/pbs[^/]*-{_JOB}\.[^/]+\.slice{_END}", "job", into="batch", manager="pbs"),
    _layout(
        "/torque/", rf"/torque/{_JOB}(?:\.[^/]+)?{_END}", "job", into="batch", manager="torque"
    ),
    _layout(
        "/lsf/",
        rf"/lsf/(?:[^/]+/)?job\.{_JOB}(?:\.[^/]*)?{_END}",
        "job",
        into="batch",
        manager="lsf",
    ),
    _layout(
        "slot",
        r"/(?:htcondor/(?:[^/]+/)?[^/]*?|condor_[^/]*_)"
        rf"(?P<job>slot\d+(?:_\d+)?)(?:@[^/]*)?{_END}",
        "job",
        into="batch",
        manager="htcondor",
    ),
    # Bare ids below a parent that tells the runtime (actions_job is what GitHub's runner gives
    # docker, moby is dockerd's namespace in containerd), then below one that does not.
    _layout("/docker/", rf"/docker/(?P<id>{_HEX}|{_SHORT}){_END}", "container", "docker"),
    _layout("/actions_job/", rf"/actions_job/(?P<id>{_HEX}){_END}", "container", "docker"),
    _layout("/moby/", rf"/(?P<namespace>moby)/(?P<id>{_HEX}){_END}", "container", "docker"),
    _layout("/balena/", rf"/balena/(?P<id>{_HEX}){_END}", "container", "balena"),
    _layout(
        "/k8s.io/", rf"/(?P<namespace>k8s\.io)/(?P<id>{_HEX}){_END}", "container", "containerd"
    ),
    _layout(
        "/default/", rf"/(?P<namespace>default)/(?P<id>{_HEX}){_END}", "container", "containerd"
    ),
    _layout("/", rf"/(?P<id>{_HEX}){_END}", "container"),
    _layout("pod", rf"pod(?<=[/-]pod)[^/]+/(?P<id>{_UUID}){_END}", "container"),
    # Android (libprocessgroup).
    _layout("/uid_", rf"/uid_(?P<uid>\d+)/pid_\d+{_END}", None),
)

# The rows by hint, so that most of them cost one search for a few bytes together.
_SCAN = tuple(
    (
        hint,
        tuple(
            (index, row.pattern.finditer) for index, row in enumerate(LAYOUTS) if row.hint == hint
        ),
    )
    for hint in dict.fromkeys(row.hint for row in LAYOUTS)
)

# The unit types that have a cgroup (systemd.resource-control(5)).
_UNIT = re.compile(rf"/([^/]+\.(service|scope|slice|socket|mount|swap)){_END}")
_USER = re.compile(rf"/user(?:-(\d+)\.slice|@(\d+)\.service){_END}")
_UNIT_KINDS = {"service": "service", "scope": "scope", "slice": "slice"}
_ESCAPE = re.compile(r"\\x([0-9a-f]{2})")
# Projects of incus-user and of the snap's multi-user LXD. Other projects are written in the same
# way, but so may be a name that is plain LXC's: only this much tells.
_INCUS = re.compile(r"(user-\d+)_([A-Za-z][A-Za-z0-9-]*)")

_ROOT = Identity(kind="root")


def _unescape(name: str) -> str:
    r"""A name without systemd's escapes (systemd-escape(1)).

    >>> _unescape(r"my\x2dbox")
    'my-box'
    """
    if "\\" not in name:
        return name
    return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), name)


def _claim(row: Layout, match: re.Match[str]) -> dict[str, Any]:
    """The fields of `Identity` that one match sets, `container_id` and `runtime` among them."""
    claim: dict[str, Any] = {}
    if row.qos is not None:
        claim["qos"] = row.qos
    if row.runtime is not None:
        claim["runtime"] = row.runtime
    if row.into is not None:
        claim[row.into] = _mapping(row, match)
        if row.into == "nomad":
            claim["container_id"] = match["alloc"]
        return claim
    for name, value in match.groupdict().items():
        if value is None:
            continue
        if name == "id":
            claim["container_id"] = value
        elif name == "prefix":
            claim["runtime"] = _RUNTIMES.get(value, value)
        elif name == "pod_uid":
            claim[name] = value.replace("_", "-")  # systemd's driver writes - as _
        elif name == "uid":
            claim[name] = int(value)
        elif name in ("machine", "helper_of"):
            claim[name] = _unescape(value)
        else:
            claim[name] = value
    if row.kind == "container" and "machine" in claim:
        claim["container_id"] = claim["machine"]
    if row.runtime == "lxc" and (incus := _INCUS.fullmatch(claim["container_id"])):
        claim["incus_project"], claim["instance"] = incus.groups()
    return claim


def _mapping(row: Layout, match: re.Match[str]) -> dict[str, str | int]:
    """A batch job's or an allocation's keys: the groups that took part, and the manager."""
    result: dict[str, str | int] = {
        name: int(value) if name == "uid" else value
        for name, value in match.groupdict().items()
        if value is not None
    }
    if row.manager is not None:
        result["manager"] = row.manager
    return result


def _units(path: str) -> dict[str, Any]:
    """`unit`, `user_unit` and `uid` of a path that lies on the host.

    A name that begins with an underscore was escaped (systemd's cg_escape(), for names that the
    kernel uses for its files): `_cpu.service` is the unit cpu.service.
    """
    result: dict[str, Any] = {}
    for match in _UNIT.finditer(path):
        if match[2] == "slice":
            continue
        name = match[1].removeprefix("_")
        if "unit" not in result:
            result["unit"] = name
        elif result["unit"].startswith("user@"):
            result["user_unit"] = name
            break
        else:
            break
    if "/user" in path and (user := _USER.search(path)):
        result["uid"] = int(user[1] or user[2])
    return result


def _kind_of_unit(path: str, units: Mapping[str, Any]) -> str:
    """The kind of a cgroup that no layout claims: its leaf's, else that of the unit around it."""
    leaf = path.rpartition("/")[2]
    unit: str | None = units.get("user_unit") or units.get("unit")
    if leaf.endswith(".slice") and (unit is None or unit.startswith("user@")):
        return "slice"
    if unit is None:
        return "other"
    return _UNIT_KINDS.get(unit.rpartition(".")[2], "unit")


def identify(path: str) -> Identity:
    """Whose the cgroup at `path` is, `path` being relative to its hierarchy's mount.

    The layouts are those that the runtimes' sources write; where two runtimes write the same,
    `runtime` is None. A cgroup below a container's is the container's child.

    >>> identify("/system.slice/ssh.service").unit
    'ssh.service'
    """
    path = path.rstrip("/")
    if not path:
        return _ROOT
    found: dict[int, tuple[int, re.Match[str]]] = {}
    for hint, rows in _SCAN:
        if hint in path:
            for index, finditer in rows:
                for match in finditer(path):
                    end = match.end()
                    if end not in found or index < found[end][0]:
                        found[end] = (index, match)
    if not found:
        units = _units(path)
        return Identity(kind=_kind_of_unit(path, units), **units)

    result: dict[str, Any] = {}
    outer: list[OuterContainer] = []
    kind: str | None = None
    claimed = 0  # where the claim that holds ends
    host = len(path)  # up to where units are the host's
    for end in sorted(found):
        index, match = found[end]
        row = LAYOUTS[index]
        if row.kind is None:
            result.update(_claim(row, match))
            continue
        if kind == "container":
            outer.append(OuterContainer(result.get("runtime"), result["container_id"]))
        result.pop("container_id", None)
        result.pop("runtime", None)
        result.update(_claim(row, match))
        kind, claimed = row.kind, end
        if kind == "container" and not outer:
            host = min(host, end)
    units = _units(path[:host])
    for name, value in units.items():
        result.setdefault(name, value)
    if kind == "container" and claimed < len(path):
        kind = "container-child"
    elif kind is None:
        kind = _kind_of_unit(path, units)
    elif kind == "pod" and claimed < len(path):
        leaf = _UNIT.match(path, path.rindex("/"))
        kind = "other" if leaf is None else _UNIT_KINDS.get(leaf[2], "unit")
    if outer:
        result["outer"] = tuple(outer)
    return Identity(kind=kind, **result)


_TELLING = {
    kind: rank
    for rank, kinds in enumerate(
        (
            ("root",),
            ("other",),
            ("slice",),
            ("service", "scope", "unit"),
            ("job",),
            ("machine",),
            ("pod",),
            ("helper",),
            ("container", "container-child", "container-parent", "sandbox"),
        )
    )
    for kind in kinds
}
_FIELDS = tuple(field.name for field in fields(Identity))


def _telling(identity: Identity) -> tuple[int, int, int]:
    """How much an identity says: its kind's rank, its depth, how many of its fields are set."""
    count = sum(1 for name in _FIELDS if getattr(identity, name) is not None)
    return _TELLING[identity.kind], len(identity.outer), count


def identify_process(proc_cgroup: str) -> Identity:
    """The most telling identity of the lines of /proc/PID/cgroup (cgroups(7)).

    Hierarchies may disagree: `0::` may name a service only while others name the pod, so every
    line counts. A path may hold colons; a line that has less than two is none. The kernel writes
    ` (deleted)` behind a path that is gone.
    """
    paths: dict[str, None] = {}
    for line in proc_cgroup.split("\n"):
        parts = line.split(":", 2)
        if len(parts) == 3:
            paths[parts[2].removesuffix(" (deleted)")] = None
    if not paths:
        return Identity(kind="other")
    if len(paths) == 1:
        return identify(next(iter(paths)))
    return max(map(identify, paths), key=_telling)


_MOUNT_POD = re.compile(rf"/kubelet/pods/(?P<uid>{_POD})/(?:etc-hosts|containers/|volumes)")
_MOUNT_CONTAINERD = re.compile(
    rf"/io\.containerd\.grpc\.v1\.cri/sandboxes/(?P<id>{_HEX})/(?:hostname|hosts|resolv\.conf|shm)"
)
_MOUNT_DOCKER = re.compile(
    rf"/containers/(?P<id>{_HEX})/(?:hostname|hosts|resolv\.conf|mounts/shm)\Z"
)
_MOUNT_STORAGE = re.compile(
    rf"/(?:overlay|vfs|btrfs|zfs)-containers/(?P<id>{_HEX})/userdata/"
    r"(?P<file>run/secrets|\.containerenv|hostname|hosts|resolv\.conf|shm)"
)


def identify_mountinfo(mountinfo: str) -> Identity | None:
    """A guess from /proc/PID/mountinfo (proc(5)), None where it tells nothing; `guess` is set.

    The last resort for a process whose cgroup path is hidden by a cgroup namespace: the root of
    a cgroup mount, and the files that runtimes mount over /etc. In a pod those files belong to
    the sandbox, not to the container.
    """
    cgroup: Identity | None = None
    pod_uid: str | None = None
    sandbox: str | None = None  # containerd's
    docker: str | None = None
    storage: dict[str, str] = {}  # file to id, of podman's and CRI-O's storage
    for line in mountinfo.split("\n"):
        before, _, after = line.partition(" - ")
        parts = before.split(" ")
        if len(parts) < 6:
            continue
        root = parts[3]
        if after.startswith("cgroup"):
            if cgroup is None or cgroup.container_id is None:
                cgroup = identify(root)
        elif match := _MOUNT_POD.search(root):
            pod_uid = match["uid"]
        elif match := _MOUNT_CONTAINERD.search(root):
            sandbox = match["id"]
        elif match := _MOUNT_STORAGE.search(root):
            storage.setdefault(match["file"], match["id"])
        elif match := _MOUNT_DOCKER.search(root):
            docker = match["id"]

    result = Identity(kind="container", guess="mountinfo")
    if cgroup is not None and cgroup.container_id is not None:
        result = replace(cgroup, guess="mountinfo")
    elif not (pod_uid or sandbox or docker or storage):
        return None
    if result.pod_uid is None:
        result = replace(result, pod_uid=pod_uid)
    return _with_files(result, sandbox, docker, storage)


def _with_files(
    result: Identity, sandbox: str | None, docker: str | None, storage: Mapping[str, str]
) -> Identity:
    """`result` with what the ids in mounted files' paths add to it."""
    in_pod = result.pod_uid is not None
    runtime, container = result.runtime, result.container_id
    if sandbox is not None:
        runtime = runtime or "containerd"
    elif storage:
        runtime = runtime or ("cri-o" if in_pod else "podman")
        own = ("run/secrets",) if in_pod else ("run/secrets", ".containerenv", "hostname")
        container = container or next((storage[name] for name in own if name in storage), None)
        if in_pod:
            sandbox = storage.get("hostname") or storage.get("resolv.conf")
        else:
            container = container or next(iter(storage.values()))
    elif docker is not None:
        runtime = runtime or "docker"
        if in_pod:
            sandbox = docker
        else:
            container = container or docker
    return replace(result, runtime=runtime, container_id=container, sandbox_id=sandbox)
