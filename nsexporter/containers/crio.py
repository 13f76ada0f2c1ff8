"""CRI-O's containers: the annotations in their config.json (pkg/annotations)."""

from __future__ import annotations

import json

from nsexporter.containers.source import Metadata
from nsexporter.containers.state import StateFile, StateFiles, document, seconds, text, texts
from nsexporter.model import Identity

_STORAGES = ("/run/containers/storage", "/var/lib/containers/storage")
_CRIO = "io.kubernetes.cri-o."


class Crio:
    """Reads STORAGE/overlay-containers/ID/userdata/config.json."""

    name = "cri-o"
    runtimes = frozenset({"cri-o", "kata"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def lookup(self, identity: Identity) -> Metadata | None:
        """What CRI-O wrote into the container's annotations; podman's are not CRI-O's."""
        for storage in _STORAGES:
            file = self._files.read(
                f"{storage}/overlay-containers/{identity.container_id}/userdata/config.json"
            )
            if file is not None:
                return _metadata(file, identity.runtime or "cri-o")
        return None


def _metadata(file: StateFile, runtime: str) -> Metadata | None:
    annotations = texts(document(file).get("annotations"))
    if annotations.get("io.container.manager") != "cri-o":
        return None
    labels = texts(json.loads(annotations.get(f"{_CRIO}Labels") or "{}"))
    sandbox = annotations.get(f"{_CRIO}ContainerType") == "sandbox"
    own = json.loads(annotations.get(f"{_CRIO}Metadata") or "{}")
    restarts = annotations.get("io.kubernetes.container.restartCount", "")
    return Metadata(
        runtime=runtime,
        name="" if sandbox else labels.get("io.kubernetes.container.name") or text(own, "name"),
        image=annotations.get(f"{_CRIO}ImageName") or annotations.get(f"{_CRIO}Image", ""),
        image_id=annotations.get(f"{_CRIO}ImageRef", ""),
        created=seconds(annotations.get(f"{_CRIO}Created", "")),
        restarts=int(restarts) if restarts.isdecimal() else None,
        sandbox=sandbox,
        pod_name=labels.get("io.kubernetes.pod.name") or annotations.get(f"{_CRIO}KubeName", ""),
        pod_namespace=labels.get("io.kubernetes.pod.namespace")
        or annotations.get(f"{_CRIO}Namespace", ""),
        pod_uid=labels.get("io.kubernetes.pod.uid", ""),
        labels=labels,
        files={file.path: file.stamp},
    )
