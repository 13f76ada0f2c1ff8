"""Docker's own state of a container: config.v2.json (moby, container/container.go)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from nsexporter.containers.source import Metadata
from nsexporter.containers.state import Stamp, StateFiles, document, seconds, text, texts
from nsexporter.model import Identity

_ROOTS = ("/var/lib/docker", "/var/snap/docker/common/var-lib-docker", "/var/lib/balena-engine")


class Docker:
    """Reads DATA-ROOT/containers/ID/config.v2.json, which dockerd replaces at every change."""

    name = "docker"
    runtimes = frozenset({"docker", "balena"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._last = _ROOTS[0]  # where the last container was found

    def lookup(self, identity: Identity) -> Metadata | None:
        """What dockerd wrote down of a container, None where no data root has it."""
        for root in chain([self._last], self._roots(identity.uid)):
            file = self._files.read(f"{root}/containers/{identity.container_id}/config.v2.json")
            if file is not None:
                self._last = root
                runtime = identity.runtime or "docker"
                return metadata(document(file), runtime, {file.path: file.stamp})
        return None

    def _roots(self, uid: int | None) -> Iterator[str]:
        """Where dockerd may keep its data: the user's own, the configured place, the usual ones."""
        if uid and (home := self._files.home(uid)):
            yield f"{home}/.local/share/docker"
        roots = list(_ROOTS)
        file = self._files.read("/etc/docker/daemon.json")
        if file is not None and (configured := text(document(file), "data-root")):
            roots.insert(0, configured)
        for root in roots:
            yield root
            # With userns-remap it is a directory below, named by the first UID and GID.
            for name in self._files.names(root):
                if name.replace(".", "", 1).isdigit():
                    yield f"{root}/{name}"


def metadata(config: Mapping[str, Any], runtime: str, files: Mapping[str, Stamp]) -> Metadata:
    """What a container's configuration says, in the form of the file and of the API."""
    labels = texts(config.get("Config", {}).get("Labels"))
    restarts = config.get("RestartCount")
    return Metadata(
        runtime=runtime,
        # The kubelet's names for dockershim and cri-dockerd, pkg/kubelet/types/labels.go.
        name=labels.get("io.kubernetes.container.name") or text(config, "Name").removeprefix("/"),
        image=text(config, "Config", "Image"),
        image_id=text(config, "Image"),
        created=seconds(text(config, "Created")),
        restarts=restarts if isinstance(restarts, int) else None,
        sandbox=labels.get("io.kubernetes.docker.type") == "podsandbox",
        pod_name=labels.get("io.kubernetes.pod.name", ""),
        pod_namespace=labels.get("io.kubernetes.pod.namespace", ""),
        pod_uid=labels.get("io.kubernetes.pod.uid", ""),
        labels=labels,
        files=files,
    )
