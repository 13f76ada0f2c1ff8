"""HTTP/1.1 for scrapers: one thread a connection, time-outs, content negotiation."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import socket
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Response:
    """Status, type, the body in chunks, and further headers."""

    status: int
    content_type: str
    body: Sequence[bytes]
    headers: tuple[tuple[str, str], ...] = ()


class Application(Protocol):
    """What is served."""

    def metrics(
        self, *, openmetrics: bool, gzip: bool, names: frozenset[str], budget: float | None
    ) -> Response:
        """The exposition; with `gzip` compressed, Content-Encoding included."""

    def page(self) -> Response:
        """What / shows a person."""

    def ready(self) -> bool:
        """Whether there is an exposition to serve."""


def parse_address(text: str) -> tuple[str, int] | str:
    """(host, port), host empty for all addresses; the path of a unix socket.

    >>> parse_address("[::1]:9"), parse_address("unix:/run/x.sock")
    (('::1', 9), '/run/x.sock')
    """
    if text.startswith("unix:/"):
        return text.removeprefix("unix:")
    host, colon, port = text.rpartition(":")
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    with contextlib.suppress(ValueError):
        if colon and port.isdigit() and int(port) < 65536:
            if bare and bare != "localhost":
                ipaddress.ip_address(bare)
            return bare, int(port)
    raise ValueError(
        f"{text!r} is not an address"
        " (try :10061, 127.0.0.1:10061, [::1]:10061 or unix:/run/nsexporter.sock)"
    )


class Server:
    """Listens on every address from the start; serves after `start`."""

    def __init__(
        self,
        application: Application,
        addresses: Sequence[str],
        *,
        telemetry_path: str = "/metrics",
        max_connections: int = 128,
        timeout: float = 10.0,
    ) -> None:
        handler = type(
            "Handler",
            (_Handler,),
            {
                "application": application,
                "telemetry_path": telemetry_path,
                "timeout": timeout,
                "slots": threading.BoundedSemaphore(max_connections),
            },
        )
        self._unix: list[str] = []
        self._servers: list[_Listener] = []
        bound = []
        try:
            for address in addresses:
                server, name = self._listen(address, handler)
                self._servers.append(server)
                bound.append(name)
        except BaseException:
            self.close()
            raise
        self.addresses = tuple(bound)

    def _listen(self, address: str, handler: type[BaseHTTPRequestHandler]) -> tuple[_Listener, str]:
        place = parse_address(address)
        try:
            if isinstance(place, str):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(place)
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(place)
                listener.listen(128)
                self._unix.append(place)
                return _Listener(listener, handler), address
            host, port = place
            dual = not host and socket.has_dualstack_ipv6()
            family = socket.AF_INET6 if dual or ":" in host else socket.AF_INET
            listener = socket.create_server((host, port), family=family, dualstack_ipv6=dual)
        except OSError as error:
            raise OSError(error.errno, f"{address}: {error.strerror}") from None
        port = listener.getsockname()[1]
        return _Listener(listener, handler), f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def start(self) -> None:
        """Serve, in threads."""
        for server in self._servers:
            threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()

    def close(self, grace: float = 0.5) -> None:
        """Accept nothing more."""
        for server in self._servers:
            server.stop(grace)
        self._servers.clear()
        for path in self._unix:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        self._unix.clear()

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, listener: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("", 0), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listener
        self._serving = False

    def serve_forever(self, poll_interval: float = 0.1) -> None:
        self._serving = True
        super().serve_forever(poll_interval)

    def stop(self, grace: float) -> None:
        if self._serving:
            self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        log.debug("a connection broke", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "nsexporter"
    sys_version = ""
    application: Application
    telemetry_path: str
    slots: threading.BoundedSemaphore

    def handle(self) -> None:
        if not self.slots.acquire(blocking=False):
            self.close_connection = True
            self.wfile.write(
                b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                b"Connection: close\r\n\r\n"
            )
            return
        try:
            super().handle()
        finally:
            self.slots.release()

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def address_string(self) -> str:
        return str(self.client_address)

    def log_message(self, format: str, *args: Any) -> None:
        log.debug(format, *args)

    def _answer(self, *, body: bool) -> None:
        response = self._response()
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(sum(map(len, response.body))))
        self.send_header("X-Content-Type-Options", "nosniff")
        for name, value in response.headers:
            self.send_header(name, value)
        self.end_headers()
        if body:
            for chunk in response.body:
                self.wfile.write(chunk)

    def _response(self) -> Response:
        url = urlsplit(self.path)
        plain = "text/plain; charset=utf-8"
        if self.headers.get("Content-Length", "0") != "0" or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            return Response(413, plain, [b"no body is taken\n"], (("Connection", "close"),))
        try:
            if url.path == self.telemetry_path:
                return self.application.metrics(
                    openmetrics=wants_openmetrics(self.headers.get("Accept", "")),
                    gzip=_accepts(self.headers.get("Accept-Encoding", ""), "gzip") > 0,
                    names=frozenset(parse_qs(url.query).get("name[]", ())),
                    budget=scrape_budget(self.headers.get("X-Prometheus-Scrape-Timeout-Seconds")),
                )
            if url.path == "/":
                return self.application.page()
        except Exception:
            log.exception("%s failed", url.path)
            return Response(500, plain, [b"it failed, see the log\n"])
        if url.path == "/-/healthy":
            return Response(200, plain, [b"healthy\n"])
        if url.path == "/-/ready":
            ready = self.application.ready()
            return Response(200 if ready else 503, plain, [b"ready\n" if ready else b"not ready\n"])
        return Response(404, plain, [b"not found\n"])


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics at least as much as for the text format."""
    openmetrics = _accepts(accept, "application/openmetrics-text")
    return openmetrics > 0 and openmetrics >= _accepts(accept, "text/plain")


def scrape_budget(header: str | None) -> float | None:
    """Seconds a scrape may take: Prometheus's own time-out less a margin; None without one."""
    try:
        seconds = float(header or "")
    except ValueError:
        return None
    if not 0 < seconds < 1e6:
        return None
    return max(0.1, seconds - max(0.5, seconds / 20))


def _accepts(header: str, token: str) -> float:
    """The q-value of a token, 0 where it is not listed."""
    best = 0.0
    for item in header.split(","):
        name, *parameters = (part.strip().lower() for part in item.split(";"))
        if name != token:
            continue
        quality = 1.0
        for parameter in parameters:
            if parameter.startswith("q="):
                with contextlib.suppress(ValueError):
                    quality = float(parameter[2:])
        best = max(best, quality)
    return best
