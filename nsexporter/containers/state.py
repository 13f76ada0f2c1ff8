"""The files in which container runtimes keep their state: below the host's root, never trusted."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_LARGEST = 16 << 20  # bytes; podman's list of a thousand containers has one

Stamp = tuple[int, int, int, int]
"""Device, inode, size and time of the last change: another one means another content."""


@dataclass(frozen=True, slots=True)
class StateFile:
    """One file as read, and its stamp at that time."""

    path: str
    content: bytes
    stamp: Stamp


class StateFiles:
    """Reads and lists below the host's root.

    A file that is not there is None. What is there but cannot be read is an OSError, and what is
    too large or no regular file (a pipe would not end) a ValueError.
    """

    def __init__(self, rootfs: str) -> None:
        self._rootfs = rootfs.rstrip("/")

    def name(self, path: str) -> str:
        """The file's name for us."""
        return self._rootfs + path

    def open(self, path: str) -> int | None:
        """A descriptor of a regular file; its last component may be no symbolic link."""
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        try:
            fd = os.open(self.name(path), flags)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise ValueError(f"{path}: no regular file")
        return fd

    def read(self, path: str) -> StateFile | None:
        """The whole file."""
        fd = self.open(path)
        if fd is None:
            return None
        try:
            status = os.fstat(fd)
            if status.st_size > _LARGEST:
                raise ValueError(f"{path}: {status.st_size} bytes are too many")
            parts = []
            while part := os.read(fd, 1 << 20):
                parts.append(part)
                if len(parts) > _LARGEST >> 20:
                    raise ValueError(f"{path}: it grows while it is read")
            return StateFile(path, b"".join(parts), _stamp(status))
        finally:
            os.close(fd)

    def stamp(self, path: str) -> Stamp | None:
        """The stamp of a file or directory, None where it is not there or out of reach."""
        try:
            return _stamp(os.stat(self.name(path), follow_symlinks=False))
        except OSError:
            return None

    def names(self, path: str) -> list[str]:
        """What is in a directory, sorted; nothing where there is none."""
        try:
            return sorted(os.listdir(self.name(path)))
        except (FileNotFoundError, NotADirectoryError):
            return []

    def link(self, path: str) -> str:
        """Where a symbolic link leads, "" where there is none."""
        try:
            return os.readlink(self.name(path))
        except OSError:
            return ""

    def home(self, uid: int) -> str:
        """A user's home directory by /etc/passwd, "" where it has none."""
        file = self.read("/etc/passwd")
        for line in file.content.decode("utf-8", "replace").splitlines() if file else ():
            fields = line.split(":")
            if len(fields) == 7 and fields[2] == str(uid):
                return fields[5]
        return ""


def _stamp(status: os.stat_result) -> Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def document(file: StateFile) -> dict[str, Any]:
    """The JSON object in a file; ValueError where there is none."""
    try:
        value = json.loads(file.content)
    except RecursionError:
        raise ValueError(f"{file.path}: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{file.path}: {error}") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file.path}: no JSON object")
    return value


def text(value: object, *keys: str) -> str:
    """A string somewhere in a JSON object, "" where there is none.

    >>> text({"State": {"Status": "running"}}, "State", "Status")
    'running'
    """
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value if isinstance(value, str) else ""


def texts(value: object) -> dict[str, str]:
    """The strings of a JSON object, by key."""
    if not isinstance(value, dict):
        return {}
    return {key: item for key, item in value.items() if isinstance(item, str)}


def seconds(timestamp: str) -> float | None:
    """Seconds since the epoch of an RFC 3339 time, None where it is none (or Go's zero time).

    >>> seconds("1970-01-01T00:00:01.500000001Z"), seconds("0001-01-01T00:00:00Z")
    (1.5, None)
    """
    try:
        value = datetime.fromisoformat(timestamp).timestamp()
    except (ValueError, OverflowError):
        return None
    return value if value > 0 else None
