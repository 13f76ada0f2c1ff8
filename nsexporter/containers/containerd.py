"""Containerd's containers: a task's OCI bundle, and containerd's database (core/metadata)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from nsexporter.containers.bolt import Bolt
from nsexporter.containers.source import Metadata
from nsexporter.containers.state import StateFile, StateFiles, document, texts
from nsexporter.model import Identity

_TASKS = "io.containerd.runtime.v2.task"
_DATABASE = "io.containerd.metadata.v1.bolt/meta.db"
_CRI = "io.kubernetes.cri."  # pkg/cri/annotations
_CRI_METADATA = b"io.cri-containerd.container.metadata"  # internal/cri/store/container
_YEAR_1 = 62_135_596_800  # seconds from Go's zero time to the epoch


@dataclass(frozen=True, slots=True)
class _Place:
    """Where one containerd keeps its state and its root."""

    state: str
    root: str


PLACES = (
    _Place("/run/containerd", "/var/lib/containerd"),
    _Place("/run/k3s/containerd", "/var/lib/rancher/k3s/agent/containerd"),
    _Place("/run/k3s/containerd", "/var/lib/rancher/rke2/agent/containerd"),
    _Place("/run/k0s/containerd", "/var/lib/k0s/containerd"),
    _Place(
        "/var/snap/microk8s/common/run/containerd", "/var/snap/microk8s/common/var/lib/containerd"
    ),
)


class Containerd:
    """Reads STATE/…task/NAMESPACE/ID/config.json, and the rest from ROOT/…bolt/meta.db."""

    name = "containerd"
    runtimes = frozenset({"containerd", "kata"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def lookup(self, identity: Identity) -> Metadata | None:
        """What the bundle's annotations say (CRI, nerdctl), and the database of image and labels.

        A container that was made by neither is called by its id, as ctr lists it.
        """
        container_id = identity.container_id or ""
        for place, namespace, bundle in self._bundles(identity):
            file = self._files.read(bundle)
            if file is None:
                continue
            told = _from_bundle(file, container_id, identity.runtime or "containerd")
            try:
                return self._completed(told, place, namespace, container_id, _sandbox(file))
            except (OSError, ValueError) as error:
                return replace(told, problem=error)
        return None

    def _own(self, uid: int | None) -> Iterator[_Place]:
        """Where a user's own containerd has them (containerd-rootless.sh)."""
        if uid and (home := self._files.home(uid)):
            yield _Place(f"/run/user/{uid}/containerd", f"{home}/.local/share/containerd")

    def _bundles(self, identity: Identity) -> Iterator[tuple[_Place, str, str]]:
        """Where the container's bundle may be; its namespace is known, or one of those there."""
        for place in (*self._own(identity.uid), *PLACES):
            tasks = f"{place.state}/{_TASKS}"
            known = identity.namespace
            for namespace in [known] if known else self._files.names(tasks):
                yield place, namespace, f"{tasks}/{namespace}/{identity.container_id}/config.json"

    def _completed(
        self, told: Metadata, place: _Place, namespace: str, container_id: str, sandbox: str
    ) -> Metadata:
        """With image, time of creation and labels; a container has its pod's labels too."""
        fd = self._files.open(f"{place.root}/{_DATABASE}")
        if fd is None:
            return told
        try:
            database = Bolt(fd)
            at = (b"v1", namespace.encode(), b"containers")
            record = database.values(*at, container_id.encode())
            labels: dict[str, str] = {}
            for one in dict.fromkeys((sandbox, container_id)):
                if one:
                    found = database.values(*at, one.encode(), b"labels")
                    labels |= {key.decode(): value.decode() for key, value in found.items()}
            image = told.image or record.get(b"image", b"").decode()
            extension = database.value(*at, container_id.encode(), b"extensions", _CRI_METADATA)
            digest = database.value(
                *(b"v1", namespace.encode(), b"images", image.encode(), b"target", b"digest")
            )
        finally:
            os.close(fd)
        return replace(
            told,
            name=labels.get("nerdctl/name") or told.name,  # `nerdctl rename` writes it here only
            image=image,
            image_id=(digest or b"").decode(),
            created=_go_time(record.get(b"createdat", b"")),
            restarts=None if extension is None else _attempt(extension),
            labels=labels,
        )


def _from_bundle(file: StateFile, container_id: str, runtime: str) -> Metadata:
    """What annotations say of a container."""
    annotations = _annotations(file)
    kind = annotations.get(f"{_CRI}container-type", "")
    named = annotations.get(f"{_CRI}container-name") or annotations.get("nerdctl/name")
    return Metadata(
        runtime=runtime,
        name=named or ("" if kind == "sandbox" else container_id),
        image=annotations.get(f"{_CRI}image-name", ""),
        sandbox=kind == "sandbox",
        pod_name=annotations.get(f"{_CRI}sandbox-name", ""),
        pod_namespace=annotations.get(f"{_CRI}sandbox-namespace", ""),
        pod_uid=annotations.get(f"{_CRI}sandbox-uid", ""),
        files={file.path: file.stamp},
    )


def _sandbox(file: StateFile) -> str:
    return _annotations(file).get(f"{_CRI}sandbox-id", "")


def _annotations(file: StateFile) -> Mapping[str, str]:
    return texts(document(file).get("annotations"))


def _attempt(extension: bytes) -> int | None:
    """Which of the kubelet's attempts to run it a container is, from 0, as CRI was told.

    The extension is a protobuf Any, a type's URL before an object of JSON, which leaves out a 0.
    """
    told = json.loads(extension[extension.index(b"{") :])
    for key in ("Metadata", "Config", "metadata"):
        told = told.get(key) if isinstance(told, dict) else None
    attempt = told.get("attempt", 0) if isinstance(told, dict) else None
    return attempt if isinstance(attempt, int) else None


def _go_time(data: bytes) -> float | None:
    """Seconds since the epoch of Go's Time.MarshalBinary: version, seconds, nanoseconds, zone."""
    if len(data) < 13 or data[0] not in (1, 2):
        return None
    nanoseconds = int.from_bytes(data[9:13], "big")
    return int.from_bytes(data[1:9], "big") - _YEAR_1 + nanoseconds / 1e9
