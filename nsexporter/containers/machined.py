"""Machines that registered with systemd-machined: /run/systemd/machines (src/machine/machine.c)."""

from __future__ import annotations

from nsexporter.containers.source import Metadata
from nsexporter.containers.state import StateFiles
from nsexporter.model import Identity


class Machined:
    """Reads /run/systemd/machines/NAME, lines of KEY=VALUE."""

    name = "machined"
    runtimes = frozenset({"systemd-nspawn", "libvirt-lxc"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def lookup(self, identity: Identity) -> Metadata | None:
        """The machine's name, its root directory as the image, and since when it runs."""
        if identity.outer:
            return None  # registered with that container's own machined, if at all
        file = self._files.read(f"/run/systemd/machines/{identity.container_id}")
        if file is None:
            return None
        pairs = (
            line.partition("=") for line in file.content.decode("utf-8", "replace").split("\n")
        )
        told = {key: value for key, _, value in pairs}
        since = told.get("REALTIME", "")
        return Metadata(
            runtime=told.get("SERVICE", ""),
            name=told.get("NAME", identity.container_id or ""),
            image=told.get("ROOT", ""),
            created=int(since) / 1e6 if since.isdecimal() else None,
            files={file.path: file.stamp},
        )
