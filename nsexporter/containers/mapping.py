"""Cgroup paths and their processes to containers: exactly one cgroup a container is its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from nsexporter.containers.identity import identify
from nsexporter.model import Container, Identity

_OWN = frozenset({"container", "sandbox"})


class ContainerMap:
    """Identities by path, kept between passes."""

    def __init__(self, id_length: int) -> None:
        self._id_length = id_length
        self._known: dict[str, Identity] = {}

    def identities(self, paths: Sequence[str], populated: Sequence[bool]) -> list[Identity]:
        """The identity of each cgroup, in order; parents come before children.

        podman with crun puts the processes and the limit into `libpod-ID.scope/container`, with
        runc into the scope itself: the one with the processes is the container's own.
        """
        known = self._known
        if len(known) > 2 * len(paths) + 1000:
            self._known = known = {path: known[path] for path in paths if path in known}
        result = []
        for path in paths:
            identity = known.get(path)
            if identity is None:
                identity = known[path] = identify(path)
            result.append(identity)
        index = {path: i for i, path in enumerate(paths)}
        for i, (path, identity) in enumerate(zip(paths, result, strict=True)):
            if identity.runtime == "podman" and identity.kind == "container" and not populated[i]:
                child = index.get(f"{path}/container")
                if child is not None and populated[child]:
                    result[child] = replace(result[child], kind="container")
                    result[i] = replace(identity, kind="container-parent")
        return result

    def containers(
        self, paths: Sequence[str], identities: Sequence[Identity]
    ) -> list[Container | None]:
        """For each cgroup the container whose own cgroup it is."""
        return [
            Container(
                container_id=identity.container_id,
                label_id=self.label_id(identity.container_id),
                runtime=identity.runtime or "",
                pod_uid=identity.pod_uid or "",
                qos=identity.qos or "",
                cgroup=path,
            )
            if identity.container_id and identity.kind in _OWN
            else None
            for path, identity in zip(paths, identities, strict=True)
        ]

    def label_id(self, container_id: str) -> str:
        """A hexadecimal id cut as `docker ps` prints it; a name (LXC, nspawn, ctr) whole."""
        whole = len(container_id) < 32 or not set(container_id) <= set("0123456789abcdef")
        return container_id if whole else container_id[: self._id_length]
