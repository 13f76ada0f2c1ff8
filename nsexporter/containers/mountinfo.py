"""Whose a process is, by the files that are mounted for it: a guess."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from nsexporter.containers.identity import identify
from nsexporter.containers.layouts import HEX, POD
from nsexporter.model import Identity

_MOUNT_POD = re.compile(rf"/kubelet/pods/(?P<uid>{POD})/(?:etc-hosts|containers/|volumes)")
_MOUNT_CONTAINERD = re.compile(
    rf"/io\.containerd\.grpc\.v1\.cri/sandboxes/(?P<id>{HEX})/(?:hostname|hosts|resolv\.conf|shm)"
)
_MOUNT_DOCKER = re.compile(
    rf"/containers/(?P<id>{HEX})/(?:hostname|hosts|resolv\.conf|mounts/shm)\Z"
)
_MOUNT_STORAGE = re.compile(
    rf"/(?:overlay|vfs|btrfs|zfs)-containers/(?P<id>{HEX})/userdata/"
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
