"""LXC's containers, and those of LXD and Incus, whose backup.yaml says what they were made of."""

from __future__ import annotations

import re
from datetime import datetime

from nsexporter.containers.source import Metadata
from nsexporter.containers.state import StateFile, StateFiles, seconds, text, texts
from nsexporter.model import Identity

_BACKUPS = (
    ("incus", "/var/lib/incus/containers"),
    ("lxd", "/var/snap/lxd/common/lxd/containers"),
    ("lxd", "/var/lib/lxd/containers"),
)
_AGAIN = re.compile(r"(.+)-\d+")  # the cgroup's name while the container's last one still exists


class Lxc:
    """Reads /var/lib/lxc/NAME/config, and the backup.yaml of LXD's and Incus' instances."""

    name = "lxc"
    runtimes = frozenset({"lxc"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files

    def lookup(self, identity: Identity) -> Metadata | None:
        """The name without the suffix of a second start; for an instance its image and labels."""
        if identity.outer:
            return None  # its name is another LXC's, inside that container
        name = identity.container_id or ""
        for runtime, directory in _BACKUPS:
            file = self._files.read(f"{directory}/{name}/backup.yaml")
            if file is not None:
                return _from_backup(file, runtime, identity.instance or name)
        again = _AGAIN.fullmatch(name)
        for known in (name, again[1]) if again else (name,):
            file = self._files.read(f"/var/lib/lxc/{known}/config")
            if file is not None:
                return Metadata(runtime="lxc", name=known, files={file.path: file.stamp})
        return None


def _from_backup(file: StateFile, runtime: str, name: str) -> Metadata:
    """An instance's own record, under `container` (its older name) or `instance`."""
    import yaml  # 0.9 MB, which hosts without an instance need not pay

    try:
        backup = yaml.safe_load(file.content)
    except yaml.YAMLError as error:
        raise ValueError(f"{file.path}: {error}") from None
    record = backup.get("container") or backup.get("instance") or {}
    config = texts(record.get("config"))
    created = record.get("created_at")
    return Metadata(
        runtime=runtime,
        name=text(record, "name") or name,
        image=config.get("image.description", ""),
        image_id=config.get("volatile.base_image", ""),
        # YAML takes an unquoted time for one itself.
        created=created.timestamp() if isinstance(created, datetime) else seconds(str(created)),
        labels={
            key.removeprefix("user."): value
            for key, value in config.items()
            if key.startswith("user.")
        },
        files={file.path: file.stamp},
    )
