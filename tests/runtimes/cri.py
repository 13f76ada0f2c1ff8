"""As much of CRI v1 (cri-api, api.proto) as the tests need, without generated code."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, cast

import grpc

POD, CONTAINER, NODE = range(3)
"""NamespaceMode."""


def message(fields: Mapping[int, Any]) -> bytes:
    """A protobuf message: numbers are varints, mappings map fields, lists repeated ones."""
    encoded = b""
    for number, value in fields.items():
        if isinstance(value, int):
            encoded += _varint(number << 3) + _varint(value)
            continue
        if isinstance(value, dict):
            value = [message({1: key, 2: item}) for key, item in value.items()]
        for one in value if isinstance(value, list) else [value]:
            content = one.encode() if isinstance(one, str) else one
            encoded += _varint(number << 3 | 2) + _varint(len(content)) + content
    return encoded


def fields(encoded: bytes) -> Mapping[int, list[Any]]:
    """Number to values of a message, those that are no varints as bytes."""
    found: defaultdict[int, list[Any]] = defaultdict(list)
    while encoded:
        tag, encoded = _unsigned(encoded)
        value: Any
        value, encoded = _unsigned(encoded)
        if tag & 7 == 2:
            value, encoded = encoded[:value], encoded[value:]
        found[tag >> 3].append(value)
    return found


def _varint(number: int) -> bytes:
    encoded = b""
    while number > 127:
        encoded += bytes([number & 127 | 128])
        number >>= 7
    return encoded + bytes([number])


def _unsigned(encoded: bytes) -> tuple[int, bytes]:
    number = length = 0
    while True:
        byte = encoded[length]
        number |= (byte & 127) << 7 * length
        length += 1
        if byte < 128:
            return number, encoded[length:]


class Cri:
    """A client of one runtime's socket."""

    def __init__(self, socket: str) -> None:
        self._channel = grpc.insecure_channel(f"unix://{socket}")

    def close(self) -> None:
        """Hang up."""
        self._channel.close()

    def _call(self, method: str, request: Mapping[int, Any]) -> Mapping[int, list[Any]]:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(
            f"/runtime.v1.RuntimeService/{method}",
            request_serializer=lambda content: content,
            response_deserializer=lambda content: content,
        )
        return fields(call(message(request), timeout=60))

    def run_pod(self, pod: bytes) -> str:
        """RunPodSandbox; the sandbox's id."""
        return cast(bytes, self._call("RunPodSandbox", {1: pod})[1][0]).decode()

    def run(self, sandbox: str, pod: bytes, container: bytes) -> str:
        """CreateContainer and StartContainer; the container's id."""
        made = self._call("CreateContainer", {1: sandbox, 2: container, 3: pod})[1][0]
        self._call("StartContainer", {1: made})
        return cast(bytes, made).decode()

    def status(self, container: str) -> Mapping[int, list[Any]]:
        """ContainerStatus.status: 1 id, 2 metadata, 4 created_at, 8 image, 9 image_ref."""
        return fields(self._call("ContainerStatus", {1: container})[1][0])

    def remove_pod(self, sandbox: str) -> None:
        """StopPodSandbox and RemovePodSandbox, with all containers in it."""
        self._call("StopPodSandbox", {1: sandbox})
        self._call("RemovePodSandbox", {1: sandbox})


def pod_config(
    name: str,
    *,
    namespace: str,
    uid: str,
    cgroup_parent: str,
    labels: Mapping[str, str],
    network: int = POD,
    pid: int = POD,
    ipc: int = POD,
) -> bytes:
    """PodSandboxConfig."""
    namespaces = message({1: network, 2: pid, 3: ipc})
    linux = {1: cgroup_parent, 2: message({1: namespaces})}
    hostname = "" if network == NODE else name
    metadata = message({1: name, 2: uid, 3: namespace})
    return message({1: metadata, 2: hostname, 6: dict(labels), 8: message(linux)})


def container_config(
    name: str,
    image: str,
    *command: str,
    labels: Mapping[str, str],
    attempt: int = 0,
    network: int = POD,
    pid: int = CONTAINER,
    ipc: int = POD,
) -> bytes:
    """ContainerConfig."""
    linux = {2: message({3: message({1: network, 2: pid, 3: ipc})})}
    return message(
        {
            1: message({1: name, 2: attempt}),
            2: message({1: image}),
            3: list(command),
            9: dict(labels),
            15: message(linux),
        }
    )
