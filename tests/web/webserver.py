"""A server in this process with a small application, and clients that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
from collections.abc import Callable, Iterator

from nsexporter.web import address
from nsexporter.web.connection import Limits
from nsexporter.web.http1 import Response
from nsexporter.web.routes import Routes
from nsexporter.web.security import Security
from nsexporter.web.server import Server


class Application:
    """Serves `body`, after calling `wait`."""

    def __init__(self) -> None:
        self.body = b"a 1\n"
        self.calls = 0
        self.wait: Callable[[], object] = lambda: None

    def metrics(
        self, *, openmetrics: bool, gzip: bool, names: frozenset[str], budget: float | None
    ) -> Response:
        self.calls += 1
        self.wait()
        return Response(200, "text/plain", [self.body])

    def page(self, path: str) -> Response:
        self.calls += 1
        self.wait()
        return Response(200, "text/html", [b"<p>"])

    def ready(self) -> bool:
        return True


class Site:
    """What runs: the server, its application, and how to reach it."""

    def __init__(
        self, server: Server, application: Application, clients: contextlib.ExitStack
    ) -> None:
        self.server = server
        self._clients = clients
        self.application = application
        self.port = int(server.addresses[0].rpartition(":")[2])

    def connect(self, sent: bytes = b"") -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        self._clients.enter_context(client)
        client.sendall(sent)
        return client

    def get(self, path: str = "/metrics", tls: ssl.SSLContext | None = None) -> tuple[int, bytes]:
        """Status and body over a connection of its own."""
        if tls is None:
            client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        else:
            client = http.client.HTTPSConnection("localhost", self.port, timeout=20, context=tls)
        with contextlib.closing(client):
            client.request("GET", path)
            response = client.getresponse()
            return response.status, response.read()


@contextlib.contextmanager
def serving(limits: Limits = Limits(), security: Security | None = None) -> Iterator[Site]:  # noqa: B008
    application = Application()
    server = Server(
        Routes(application, "/metrics"),
        address.listen("127.0.0.1:0"),
        security or Security(),
        limits,
    )
    server.start()
    with server, contextlib.ExitStack() as clients:
        yield Site(server, application, clients)


def rest(client: socket.socket) -> bytes:
    """What comes until the server ends the connection."""
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := client.recv(65536):
            parts.append(part)
    return b"".join(parts)
