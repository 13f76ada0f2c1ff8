"""Cgroup paths and their processes to containers: exactly one cgroup a container is its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from nsexporter.changed import Kept
from nsexporter.containers.identity import identify
from nsexporter.containers.metadata import MetadataCache
from nsexporter.containers.oci import States
from nsexporter.containers.source import Metadata
from nsexporter.containers.units import Units
from nsexporter.model import Container, Identity

_OWN = frozenset({"container", "sandbox"})
_CRUN = frozenset({"podman", "cri-o"})  # that may run their containers by crun
_BY_NAME = frozenset({"lxc", "systemd-nspawn", "libvirt-lxc"})  # whose ids are names
_NOTHING = Metadata()
_NO_POD = ("", "")


def pod_of(identity: Identity) -> str | None:
    """What names the pod that a cgroup is, or lies in: Kubernetes' uid or podman's id."""
    return identity.pod_uid or identity.podman_pod


def _pods(
    identities: Sequence[Identity], containers: Sequence[Container | None]
) -> list[tuple[str, str]]:
    """Name and namespace of the pod that each cgroup is or lies in, where a container tells."""
    found = {}
    for identity, container in zip(identities, containers, strict=True):
        if container is not None and container.pod_name:
            pod = pod_of(identity) or container.pod_uid
            found[pod] = (container.pod_name, container.pod_namespace)
    return [found.get(pod_of(identity) or "", _NO_POD) for identity in identities]


def with_above(gone: Sequence[str], paths: Sequence[str]) -> dict[str, bool]:
    """`gone` and the cgroups above them that are not in `paths`, parents first; `gone` are True."""
    known = set(paths)
    found = dict.fromkeys(gone, True)
    for cgroup in gone:
        while (cut := cgroup.rfind("/")) > 0 and cgroup[:cut] not in known:
            cgroup = cgroup[:cut]
            found.setdefault(cgroup, False)
    return {cgroup: found[cgroup] for cgroup in sorted(found) if cgroup not in known}


def _told(path: str, identity: Identity, told: Mapping[str, Identity]) -> Identity:
    """The identity of a cgroup that a runtime's state names, or that lies below one."""
    above = path
    while above and above not in told:
        above = above.rpartition("/")[0]
    if not above:
        return identity
    state = told[above]
    return replace(
        identify(above),  # units below a container are not the host's
        kind="container" if above == path else "container-child",
        container_id=state.container_id,
        runtime=state.runtime,
        namespace=state.namespace,
    )


def _settled(
    paths: Sequence[str],
    identities: Sequence[Identity],
    told: Mapping[str, Identity],
    populated: Sequence[bool],
) -> list[Identity]:
    """Identities as the runtimes' state, the processes and those below say."""
    result = [*identities]
    if told:
        for i, (path, identity) in enumerate(zip(paths, result, strict=True)):
            if identity.container_id is None:
                result[i] = _told(path, identity, told)
    index = {path: i for i, path in enumerate(paths)}
    podman_pods = {one.podman_pod for one in result if one.podman_pod}
    for i, (path, identity) in enumerate(zip(paths, result, strict=True)):
        pod = identity.container_id
        if pod in podman_pods and identity.runtime is None:
            kind = "pod" if identity.kind == "container" else "helper"  # conmon's
            result[i] = replace(identity, kind=kind, container_id=None, podman_pod=pod)
        elif identity.runtime in _CRUN and identity.kind == "container" and not populated[i]:
            child = index.get(f"{path}/container")
            if child is not None and populated[child]:
                result[child] = replace(result[child], kind="container")
                result[i] = replace(identity, kind="container-parent")
    return result


def _own(paths: Sequence[str], identities: Sequence[Identity]) -> dict[str, Identity]:
    """The cgroups that are a container's own."""
    return {
        path: identity
        for path, identity in zip(paths, identities, strict=True)
        if identity.container_id and identity.kind in _OWN
    }


class ContainerMap:
    """Identities by path, kept between passes."""

    def __init__(
        self, id_length: int, metadata: MetadataCache, states: States, units: Units | None
    ) -> None:
        self.metadata = metadata
        self._units = units
        self._states = states
        self._id_length = id_length
        self._known: dict[str, Identity] = {}
        self._made: dict[str, tuple[Identity, Metadata, Container]] = {}
        # While nothing changes, nothing is made again.
        self._by_path = Kept(self._identify)
        self._identities = Kept(_settled)
        self._own = Kept(_own)
        self._containers = Kept(self._contained)
        self._pods = Kept(_pods)
        self._label_ids = Kept(self._labelled)

    def identities(self, paths: Sequence[str], populated: Sequence[bool]) -> list[Identity]:
        """The identity of each cgroup, in order; parents come before children.

        crun puts the processes and the limit into `container` below the scope that podman or
        CRI-O names, runc into the scope itself: the one with the processes is the container's own.
        A directory that only an id names is a pod where podman's containers below say so.
        """
        identities, ids = self._by_path(tuple(paths))
        told = self._states.cgroups(ids)
        return [*self._identities(tuple(paths), identities, told, tuple(populated))]

    def _identify(self, paths: Sequence[str]) -> tuple[list[Identity], set[str]]:
        """What the paths tell, and the containers' ids in it."""
        known = self._known
        result = [known.get(path) or identify(path) for path in paths]
        self._known = dict(zip(paths, result, strict=True))
        return result, {one.container_id for one in result if one.container_id}

    def invocations(self, identities: Sequence[Identity]) -> Sequence[str]:
        """The invocation id of each one's unit, "" where it has none or it is not looked for."""
        if self._units is None:
            return [""] * len(identities)
        return self._units.invocations(identities)

    def containers(
        self, paths: Sequence[str], identities: list[Identity]
    ) -> list[Container | None]:
        """For each cgroup the container whose own cgroup it is, with its runtime's metadata.

        Where that says that a container only holds its pod's namespaces, its identity becomes
        that of a sandbox.
        """
        told = tuple(identities)
        own = self._own(paths, told)
        known = self.metadata.update(own)
        containers, identities[:] = self._containers(paths, told, own, known)
        return [*containers]

    def _contained(
        self,
        paths: Sequence[str],
        identities: Sequence[Identity],
        own: Mapping[str, Identity],
        known: Mapping[str, Metadata],
    ) -> tuple[list[Container | None], list[Identity]]:
        made, self._made = self._made, {}
        result: list[Container | None] = [None] * len(paths)
        settled = [*identities]
        for i, path in enumerate(paths):
            if path not in own:
                continue
            metadata = known.get(path, _NOTHING)
            if metadata.sandbox:
                settled[i] = replace(settled[i], kind="sandbox")
            before = made.get(path)
            if before is None or before[:2] != (own[path], metadata):
                before = own[path], metadata, self._container(path, own[path], metadata)
            self._made[path] = before
            result[i] = before[2]
        return result, settled

    def pods(
        self, identities: Sequence[Identity], containers: Sequence[Container | None]
    ) -> list[tuple[str, str]]:
        """Name and namespace of the pod that each cgroup is, or lies in; "" where it is none."""
        return self._pods(tuple(identities), tuple(containers))

    def label_ids(self, identities: Sequence[Identity]) -> Mapping[str, str]:
        """The full ids of all containers to what their label shows."""
        return self._label_ids(tuple(identities))

    def _labelled(self, identities: Sequence[Identity]) -> dict[str, str]:
        ids = {one.container_id for one in identities if one.container_id}
        return {container_id: self.label_id(container_id) for container_id in ids}

    def _container(self, path: str, identity: Identity, metadata: Metadata) -> Container:
        container_id = identity.container_id or ""
        by_name = identity.runtime in _BY_NAME
        return Container(
            container_id=container_id,
            label_id=self.label_id(container_id),
            runtime=metadata.runtime or identity.runtime or "",
            pod_uid=identity.pod_uid or metadata.pod_uid,
            qos=identity.qos or "",
            cgroup=path,
            name=metadata.name or (by_name and (identity.instance or container_id)) or "",
            pod_name=metadata.pod_name,
            pod_namespace=metadata.pod_namespace,
            image=metadata.image,
            image_id=metadata.image_id,
            created=metadata.created,
            restarts=metadata.restarts,
            labels=tuple(sorted(metadata.labels.items())),
            guess=identity.guess or "",
        )

    def label_id(self, container_id: str) -> str:
        """A hexadecimal id cut as `docker ps` prints it; a name (LXC, nspawn, ctr) whole."""
        whole = len(container_id) < 32 or not set(container_id) <= set("0123456789abcdef")
        return container_id if whole else container_id[: self._id_length]
