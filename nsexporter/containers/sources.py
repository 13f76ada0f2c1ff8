"""The sources there are, by the names that the configuration has."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from nsexporter.config import UNITS, Labels, Metadata
from nsexporter.containers.containerd import Containerd
from nsexporter.containers.crio import Crio
from nsexporter.containers.docker import Docker
from nsexporter.containers.engine import docker_api, podman_api
from nsexporter.containers.lxc import Lxc
from nsexporter.containers.machined import Machined
from nsexporter.containers.mapping import ContainerMap
from nsexporter.containers.metadata import MetadataCache
from nsexporter.containers.oci import Oci, States
from nsexporter.containers.podman import Podman
from nsexporter.containers.source import Source
from nsexporter.containers.state import StateFiles
from nsexporter.containers.units import Units

SOURCES: Mapping[str, Callable[[StateFiles], Source]] = {
    "docker": Docker,
    "containerd": Containerd,
    "cri-o": Crio,
    "podman": Podman,
    "oci": Oci,
    "lxc": Lxc,
    "machined": Machined,
    "docker-api": docker_api,
    "podman-api": podman_api,
}


def container_map(rootfs: str, metadata: Metadata, labels: Labels) -> ContainerMap:
    """A map of the host's containers, over the sources that the configuration names."""
    files = StateFiles(rootfs)
    cache = MetadataCache(
        [SOURCES[name](files) for name in metadata.sources if name != UNITS],
        files,
        timeout=metadata.timeout,
        allow=labels.allow,
    )
    units = Units(files) if UNITS in metadata.sources else None
    return ContainerMap(labels.container_id_length, cache, States(files, cache.errors), units)
