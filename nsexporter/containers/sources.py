"""The sources there are, by the names that the configuration has."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from nsexporter.containers.docker import Docker
from nsexporter.containers.metadata import MetadataCache
from nsexporter.containers.source import Source
from nsexporter.containers.state import StateFiles

SOURCES: Mapping[str, Callable[[StateFiles], Source]] = {"docker": Docker}


def cache(
    rootfs: str, names: Sequence[str], *, timeout: float, allow: Sequence[str]
) -> MetadataCache:
    """A cache over the sources called `names`, below `rootfs`."""
    files = StateFiles(rootfs)
    sources = [SOURCES[name](files) for name in names]
    return MetadataCache(sources, files, timeout=timeout, allow=allow)
