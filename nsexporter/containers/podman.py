"""Podman's containers: the names in its storage, the rest from its database (libpod)."""

from __future__ import annotations

import json
import os
import urllib.parse
from contextlib import closing
from dataclasses import replace
from itertools import product
from typing import Any

from nsexporter.containers.bolt import Bolt
from nsexporter.containers.source import Metadata
from nsexporter.containers.state import Stamp, StateFile, StateFiles, seconds, text, texts
from nsexporter.model import Identity

_STORAGE = "/var/lib/containers/storage"
_DRIVERS = ("overlay", "vfs", "btrfs", "zfs")
_STEPS = 100_000  # of SQLite's virtual machine, before a query is given up


class Podman:
    """Reads STORAGE/DRIVER-containers/containers.json, and STORAGE/libpod/bolt_state.db or, since
    podman 5, STORAGE/db.sql."""

    name = "podman"
    runtimes = frozenset({"podman"})

    def __init__(self, files: StateFiles) -> None:
        self._files = files
        self._listed: dict[str, tuple[Stamp, dict[str, Any]]] = {}

    def lookup(self, identity: Identity) -> Metadata | None:
        """Name and image of a container of root's, or of the user's that the cgroup is of."""
        storages = [_STORAGE]
        if identity.uid and (home := self._files.home(identity.uid)):
            storages.insert(0, f"{home}/.local/share/containers/storage")
        container_id = identity.container_id or ""
        for storage, driver in product(storages, _DRIVERS):
            file = self._files.read(f"{storage}/{driver}-containers/containers.json")
            record = None if file is None else self._records(file).get(container_id)
            if file is None or record is None:
                continue
            told = _from_storage(file, record)
            try:
                return self._completed(told, storage, container_id)
            except (OSError, ValueError) as error:
                return replace(told, problem=error)
        return None

    def _records(self, file: StateFile) -> dict[str, Any]:
        """Container id to its record, parsed once for all containers while the file stays."""
        stamp, records = self._listed.get(file.path, (None, {}))
        if stamp != file.stamp:
            listed = json.loads(file.content)
            records = {text(one, "id"): one for one in listed} if isinstance(listed, list) else {}
            self._listed = {file.path: (file.stamp, records)}
        return records

    def _completed(self, told: Metadata, storage: str, container_id: str) -> Metadata:
        """With labels and pod; CRI-O's containers lie in the same storage, but not in these."""
        found = self._from_bolt(storage, container_id) or self._from_sqlite(storage, container_id)
        if found is None:
            return told
        config, pod = (json.loads(part or "{}") for part in found)
        return replace(
            told,
            runtime="podman",
            image=told.image or text(config, "rootfsImageName"),
            sandbox=config.get("pause") is True or config.get("isInfra") is True,
            pod_name=text(pod, "name"),
            labels=texts(pod.get("labels")) | texts(config.get("labels")),
        )

    def _from_bolt(self, storage: str, container_id: str) -> tuple[bytes, bytes | None] | None:
        """The configurations of a container and its pod, in JSON (libpod/boltdb_state.go)."""
        fd = self._files.open(f"{storage}/libpod/bolt_state.db")
        if fd is None:
            return None
        try:
            database = Bolt(fd)
            container = database.values(b"ctr", container_id.encode())
            if b"config" not in container:
                return None
            pod = container.get(b"pod-id")
            return container[b"config"], pod and database.value(b"pod", pod, b"config")
        finally:
            os.close(fd)

    def _from_sqlite(self, storage: str, container_id: str) -> tuple[str, str | None] | None:
        """The same (libpod/sqlite_state_internal.go)."""
        fd = self._files.open(f"{storage}/db.sql")
        if fd is None:
            return None
        os.close(fd)  # it is a regular file: SQLite opens by name only, and these beside it
        for beside in ("-journal", "-wal", "-shm"):
            if (fd := self._files.open(f"{storage}/db.sql{beside}")) is not None:
                os.close(fd)
        row = _row(
            self._files.name(f"{storage}/db.sql"),
            "SELECT c.JSON, p.JSON FROM ContainerConfig c"
            " LEFT JOIN PodConfig p ON p.ID = c.PodID WHERE c.ID = ?",
            container_id,
        )
        return row if row is not None and isinstance(row[0], str) else None


def _row(path: str, query: str, key: str) -> Any:
    """The first row of a query to a database, None where there is none; ValueError."""
    import sqlite3  # 1 MB, which hosts without podman need not pay

    name = urllib.parse.quote(path)
    try:
        with closing(sqlite3.connect(f"file:{name}?mode=ro", uri=True, timeout=0.05)) as database:
            database.set_progress_handler(lambda: 1, _STEPS)
            return database.execute(query, (key,)).fetchone()
    except sqlite3.Error as error:
        raise ValueError(str(error)) from None


def _from_storage(file: StateFile, record: Any) -> Metadata:
    names = record.get("names")
    extra = json.loads(text(record, "metadata") or "{}")
    image = text(record, "image")
    return Metadata(
        name=names[0] if isinstance(names, list) and names and isinstance(names[0], str) else "",
        image=text(extra, "image-name"),
        image_id=f"sha256:{image}" if image else "",
        created=seconds(text(record, "created")),
        files={file.path: file.stamp},
    )
