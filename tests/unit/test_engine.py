"""The API sockets of daemons that are dead, slow, or lie."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsexporter.containers.engine import docker_api
from nsexporter.containers.state import StateFiles
from nsexporter.model import Identity

H = "0123456789abcdef" * 4
CONTAINER = Identity(kind="container", container_id=H, runtime="docker")
Answer = Callable[[socket.socket], object]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[[Answer], Path]]:
    """Serve one kind of answer at the lab's docker.sock; the root to look below."""
    listener = socket.socket(socket.AF_UNIX)
    (tmp_path / "run").mkdir()
    listener.bind(str(tmp_path / "run/docker.sock"))
    listener.listen()
    threads = []

    def start(answer: Answer) -> Path:
        def loop() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                with connection:
                    try:
                        connection.recv(4096)
                        answer(connection)
                    except OSError:
                        continue

        threads.append(threading.Thread(target=loop))
        threads[-1].start()
        return tmp_path

    yield start
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    for thread in threads:
        thread.join()


def body(text: str, status: str = "200 OK") -> Answer:
    return lambda connection: connection.sendall(f"HTTP/1.0 {status}\r\n\r\n{text}".encode())


def test_an_answer_is_read_whatever_pieces_it_comes_in(
    serve: Callable[[Answer], Path],
) -> None:
    def pieces(connection: socket.socket) -> None:
        for byte in b'HTTP/1.0 200 OK\r\n\r\n{"Name": "/web"}':
            connection.sendall(bytes([byte]))

    found = docker_api(StateFiles(str(serve(pieces)))).lookup(CONTAINER)
    assert found is not None
    assert found.name == "web"


def test_another_status_and_another_kind_of_id_are_nothing(
    serve: Callable[[Answer], Path],
) -> None:
    api = docker_api(StateFiles(str(serve(body("{}", "404 Not Found")))))
    assert api.lookup(CONTAINER) is None
    box = Identity(kind="container", container_id="../info", runtime="docker")
    assert api.lookup(box) is None


@pytest.mark.parametrize("text", ["", "[]", "{", '{"Config": 1}'])
def test_an_answer_that_lies_is_an_error(text: str, serve: Callable[[Answer], Path]) -> None:
    api = docker_api(StateFiles(str(serve(body(text)))))
    with pytest.raises((ValueError, AttributeError)):
        api.lookup(CONTAINER)


def test_a_daemon_that_drips_is_given_up_and_left_alone(
    serve: Callable[[Answer], Path],
) -> None:
    asked = []

    def drip(connection: socket.socket) -> None:
        asked.append(connection)
        while True:
            connection.sendall(b"H")
            time.sleep(0.01)

    api = docker_api(StateFiles(str(serve(drip))))
    with pytest.raises(TimeoutError):
        api.lookup(CONTAINER)
    assert api.lookup(CONTAINER) is None
    assert len(asked) == 1


def test_a_flood_is_given_up(serve: Callable[[Answer], Path]) -> None:
    flood = serve(body("x" * (8 << 20)))
    with pytest.raises((OSError, ValueError)):
        docker_api(StateFiles(str(flood))).lookup(CONTAINER)


def test_a_socket_that_nobody_listens_at_is_an_error_and_none_is_nothing(tmp_path: Path) -> None:
    api = docker_api(StateFiles(str(tmp_path)))
    assert api.lookup(CONTAINER) is None
    (tmp_path / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "run/docker.sock"))
    with pytest.raises(ConnectionRefusedError):
        api.lookup(CONTAINER)
