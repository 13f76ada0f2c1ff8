"""The API sockets of dockerd and podman, for who may use them but may not read their state."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from nsexporter.containers import docker
from nsexporter.containers.source import Metadata
from nsexporter.containers.state import StateFiles, text
from nsexporter.model import Identity

_HEX = re.compile(r"[0-9a-f]{64}")
_SECONDS = 0.1  # for a whole answer
_LARGEST = 4 << 20  # bytes of one
_FIRST_REST, _LAST_REST = 1.0, 60.0  # seconds without a question, after a failure


class Engine:
    """One daemon's socket, root's or the user's that the cgroup is of.

    A daemon that does not answer in time is left alone for a while, longer each time.
    """

    def __init__(
        self,
        name: str,
        runtimes: frozenset[str],
        sockets: tuple[str, str],
        ask: Callable[[Callable[[str], dict[str, Any] | None], str], Metadata | None],
        files: StateFiles,
    ) -> None:
        """`sockets` are root's, and a user's with {uid} in it; `ask` makes the requests."""
        self.name = name
        self.runtimes = runtimes
        self._sockets = sockets
        self._ask = ask
        self._files = files
        self._until = 0.0  # on the monotonic clock
        self._rest = _FIRST_REST

    def lookup(self, identity: Identity) -> Metadata | None:
        """What the daemon says, None where there is none or it may not be asked."""
        container_id = identity.container_id or ""
        if time.monotonic() < self._until or not _HEX.fullmatch(container_id):
            return None
        root, user = self._sockets
        for path in [user.format(uid=identity.uid), root] if identity.uid else [root]:
            name = self._files.name(path)
            try:
                found = self._ask(partial(_get, name), container_id)
            except (FileNotFoundError, PermissionError):
                continue  # no daemon, or not ours to ask: state files are the way, if any
            except OSError:  # it does not answer: left alone for a while
                self._until = time.monotonic() + self._rest
                self._rest = min(2 * self._rest, _LAST_REST)
                raise
            self._rest = _FIRST_REST
            if found is not None:
                return found
        return None


def docker_api(files: StateFiles) -> Engine:
    """Dockerd's."""
    sockets = ("/run/docker.sock", "/run/user/{uid}/docker.sock")
    return Engine("docker-api", docker.Docker.runtimes, sockets, _ask_docker, files)


def podman_api(files: StateFiles) -> Engine:
    """Podman's, where `podman system service` runs."""
    sockets = ("/run/podman/podman.sock", "/run/user/{uid}/podman/podman.sock")
    return Engine("podman-api", frozenset({"podman"}), sockets, _ask_podman, files)


def _ask_docker(get: Callable[[str], dict[str, Any] | None], container_id: str) -> Metadata | None:
    """ContainerInspect, which has the form of config.v2.json."""
    config = get(f"/containers/{container_id}/json")
    return None if config is None else docker.metadata(config, "docker", {})


def _ask_podman(get: Callable[[str], dict[str, Any] | None], container_id: str) -> Metadata | None:
    """ContainerInspectLibpod, and PodInspectLibpod for the pod's name."""
    config = get(f"/v4.0.0/libpod/containers/{container_id}/json")
    if config is None:
        return None
    pod_id = text(config, "Pod")
    pod = get(f"/v4.0.0/libpod/pods/{pod_id}/json") if _HEX.fullmatch(pod_id) else None
    told = docker.metadata(config, "podman", {})
    image = text(config, "Image")
    return Metadata(
        runtime="podman",
        name=told.name,
        image=text(config, "ImageName") or told.image,
        image_id=f"sha256:{image}" if image else "",
        created=told.created,
        restarts=told.restarts,
        sandbox=config.get("IsInfra") is True,
        pod_name=text(pod, "Name"),
        labels=told.labels,
    )


def _get(name: str, url: str) -> dict[str, Any] | None:
    """The JSON object at a URL, None for any status but 200.

    In HTTP/1.0, whose answers end with the connection, so that one deadline bounds all.
    """
    deadline = time.monotonic() + _SECONDS
    with socket.socket(socket.AF_UNIX) as connection:

        def left() -> float:
            seconds = deadline - time.monotonic()
            if seconds <= 0:
                raise TimeoutError(f"no answer from {name} in {_SECONDS} s")
            return seconds

        connection.settimeout(left())
        connection.connect(name)
        connection.sendall(f"GET {url} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        answer = b""
        while True:
            connection.settimeout(left())
            part = connection.recv(65536)
            if not part:
                break
            answer += part
            if len(answer) > _LARGEST:
                raise ValueError(f"{name}: an answer of more than {_LARGEST} bytes")
    head, _, body = answer.partition(b"\r\n\r\n")
    if head.split(b" ", 2)[1:2] != [b"200"]:
        return None
    value = json.loads(body)
    if not isinstance(value, dict):
        raise ValueError(f"{name}: no JSON object")
    return value
