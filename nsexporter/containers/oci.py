"""What runc and crun keep of running containers: which cgroup is whose, where no path tells."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from nsexporter.containers.source import Metadata
from nsexporter.containers.state import Stamp, StateFile, StateFiles, document, seconds, text, texts
from nsexporter.model import Identity

_HEX = re.compile(r"[0-9a-f]{64}")
_MOUNT = re.compile(r"\A/sys/fs/cgroup/[^/]+")  # of a v1 hierarchy


@dataclass(frozen=True, slots=True)
class _Root:
    """A directory with a directory for each container, and whose containers those are."""

    path: str
    runtime: str
    namespace: str | None = None  # containerd's

    def file(self, container_id: str) -> str:
        """The state file of a container: crun's is called status, runc's state.json."""
        name = "status" if self.runtime == "crun" else "state.json"
        return f"{self.path}/{container_id}/{name}"


_ROOTS = (
    _Root("/run/runc", "runc"),
    _Root("/run/crun", "crun"),
    _Root("/run/docker/runtime-runc/moby", "docker"),
)
_SHIM = "/run/containerd/runc"  # of containerd's shim, with a directory for each namespace


class States:
    """Which cgroups are containers', as the state files of runc and crun say."""

    def __init__(self, files: StateFiles, errors: Counter[str]) -> None:
        self._files = files
        self._errors = errors
        self._listed: dict[str, tuple[Stamp, list[str]]] = {}
        self._found: dict[str, tuple[str, Identity] | None] = {}  # by state file

    def cgroups(self, known: Collection[str]) -> Mapping[str, Identity]:
        """Cgroup path to identity, of the containers whose ids are not among `known`.

        A directory is listed again when it changed, a state file read once: later passes cost
        one stat a directory.
        """
        found: dict[str, tuple[str, Identity] | None] = {}
        for root in self._roots():
            for container_id in self._names(root.path):
                if container_id in known:
                    continue
                name = root.file(container_id)
                found[name] = self._found.get(name) or self._read(root, container_id)
        self._found = found
        return dict(one for one in found.values() if one is not None)

    def _roots(self) -> Iterator[_Root]:
        yield from _ROOTS
        for namespace in self._names(_SHIM):
            runtime = "docker" if namespace == "moby" else "containerd"
            yield _Root(f"{_SHIM}/{namespace}", runtime, namespace)

    def _names(self, directory: str) -> list[str]:
        stamp = self._files.stamp(directory)
        if stamp is None:
            return []
        listed = self._listed.get(directory)
        if listed is None or listed[0] != stamp:
            try:
                listed = self._listed[directory] = (stamp, self._files.names(directory))
            except PermissionError:
                return []  # the lookup of metadata says so
        return listed[1]

    def _read(self, root: _Root, container_id: str) -> tuple[str, Identity] | None:
        try:
            file = self._files.read(root.file(container_id))
            path = None if file is None else _cgroup(file)
        except PermissionError:
            return None
        except (OSError, ValueError):
            self._errors["oci"] += 1
            return None
        if not path:
            return None
        return path, Identity(
            kind="container",
            container_id=container_id,
            runtime=root.runtime,
            namespace=root.namespace,
        )


def _cgroup(file: StateFile) -> str:
    """The container's cgroup, relative to the mount of the hierarchy that carries memory."""
    state = document(file)
    if path := text(state, "cgroup-path"):
        return path
    paths = texts(state.get("cgroup_paths"))
    if "memory" in paths:
        return _MOUNT.sub("", paths["memory"])
    return paths.get("", "").removeprefix("/sys/fs/cgroup")


class Oci:
    """Containers that nobody but runc or crun knows: what their bundle's annotations say."""

    name = "oci"
    runtimes = frozenset({"runc", "crun"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def lookup(self, identity: Identity) -> Metadata | None:
        """The container's id as its name, its image by the annotation that image-spec has."""
        container_id = identity.container_id or ""
        for root in _ROOTS:
            if root.runtime not in self.runtimes:
                continue
            file = self._files.read(root.file(container_id))
            if file is not None:
                return self._metadata(root.runtime, file, container_id)
        return None

    def _metadata(self, runtime: str, file: StateFile, container_id: str) -> Metadata:
        state = document(file)
        bundle = text(state, "bundle")
        for label in state.get("config", {}).get("labels") or ():
            if isinstance(label, str) and label.startswith("bundle="):
                bundle = label.removeprefix("bundle=")
        config = self._files.read(f"{bundle}/config.json") if bundle else None
        annotations = texts(document(config).get("annotations")) if config else {}
        return Metadata(
            runtime=runtime,
            name="" if _HEX.fullmatch(container_id) else container_id,
            image=annotations.get("org.opencontainers.image.ref.name", ""),
            created=seconds(text(state, "created")),
            labels=annotations,
            files={file.path: file.stamp},
        )
