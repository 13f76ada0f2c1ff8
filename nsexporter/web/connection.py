"""One client: what is said to it, what it is waited for, and until when."""

from __future__ import annotations

import contextlib
import selectors
import socket
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nsexporter.gzip import Part
from nsexporter.web.http1 import (
    MAX_HEAD,
    RefusedError,
    Request,
    Response,
    head_length,
    parse_request,
    response_head,
)

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE
_PART = 1 << 15  # bytes given to the kernel at once, or more where a chunk is larger
_DATE = "%a, %d %b %Y %H:%M:%S GMT"  # RFC 9110, 6.6.1, in the C locale, which Python starts with
_TURN = 1 << 20  # bytes sent before the other connections have their turn
# Who goes first when there are too many: who has asked nothing yet, then who was served before,
# then who reads slowly. Nobody goes whose answer is in the making.
_EXPENDABLE = {"handshake": 0, "head": 0, "linger": 0, "verify": 0, "idle": 1, "write": 2}


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds that a client may take for each stage, and how many clients there may be."""

    connections: int = 128
    handshake: float = 10.0
    head: float = 10.0  # from the first byte of a request, or from the connection's start
    idle: float = 120.0  # between two requests
    answer: float = 60.0  # for us
    stall: float = 10.0  # without one byte of the response taken
    response: float = 60.0  # for the whole response
    linger: float = 1.0  # for the rest of a request that was refused
    pending: int = 32 << 20  # bytes of responses that all slow readers together hold back


class NotReadyError(Exception):
    """A call of a socket that does not block has to wait for READ or WRITE."""

    def __init__(self, events: int) -> None:
        super().__init__(events)
        self.events = events


class Socket(Protocol):
    """A client's socket; a call that has to wait raises BlockingIOError or NotReadyError."""

    def fileno(self) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def send(self, data: memoryview, /) -> int: ...

    def shutdown(self, how: int, /) -> None: ...

    def close(self) -> None: ...


class Secured(Socket, Protocol):
    """One with TLS; OSError of its handshake refuses the client."""

    def do_handshake(self) -> None: ...


Secure = Callable[[socket.socket], Secured]
Wait = int | Request
"""What a conversation waits for: readiness of its socket, or the response to a request."""
Conversation = Generator[Wait, Response | None, None]


class Connection:
    """A client's socket and the conversation on it, driven by the server's loop.

    `stage` says what is waited for: handshake, head, idle, verify, answer, write or linger;
    `since` when that began or last went on, `deadline` when the client has had its time (monotonic
    seconds).
    """

    def __init__(self, client: socket.socket, peer: str, limits: Limits) -> None:
        self.socket: Socket = client
        self._client = client
        self.peer = peer
        self.served = 0
        self.pending = 0  # bytes of the response still to send
        self.watched = 0  # the events that the loop waits for
        self.stage = "head"
        self.since = self.deadline = time.monotonic()
        self._limits = limits
        self._received = bytearray()

    def converse(
        self,
        secure: Secure | None,
        headers: Callable[[], Sequence[tuple[str, str]]],
    ) -> Conversation:
        """Handshake, where TLS is spoken, and requests until one side ends it.

        Yields what it waits for; ends, or raises OSError, when the connection is over.
        """
        if secure is not None:
            yield from self._handshake(secure)
        close = False
        while not close:
            try:
                request = yield from self._request()
                if request is None:
                    return
                self._enter("answer", self._limits.answer)
                response = yield request
                assert response is not None
                close = not request.keep_alive
            except RefusedError as refused:
                request, response, close = None, refused.response, True
            extra = [("Date", time.strftime(_DATE, time.gmtime())), *headers()]
            if request is not None and request.asks_to_keep:
                extra.append(("Connection", "keep-alive"))
            head = response_head(response, extra, close=close)
            bodiless = request is not None and request.method == "HEAD"
            yield from self._write([head] if bodiless else [head, *response.body])
            self.served += 1
            if request is None:
                yield from self._linger()

    def _enter(self, stage: str, seconds: float) -> None:
        self.stage, self.since = stage, time.monotonic()
        self.deadline = self.since + seconds

    def _handshake(self, secure: Secure) -> Generator[Wait, Response | None, None]:
        self._enter("handshake", self._limits.handshake)
        # The client speaks first: one that says nothing is not worth 40 kB of OpenSSL's.
        yield READ
        self.socket = secured = secure(self._client)
        while True:
            try:
                return secured.do_handshake()
            except NotReadyError as wants:
                yield wants.events

    def _request(self) -> Generator[Wait, Response | None, Request | None]:
        """The next request; None where the client has ended instead."""
        first = self.served == 0
        self._enter("head" if first or self._received else "idle", self._limits.head)
        if self.stage == "idle":
            self.deadline = self.since + self._limits.idle
        while not (length := head_length(self._received)):
            part = yield from self._receive()
            if not part:
                return None
            if self.stage == "idle":
                self._enter("head", self._limits.head)
            self._received += part
        head = bytes(self._received[:length])
        del self._received[:length]
        return parse_request(head)

    def _receive(self) -> Generator[Wait, Response | None, bytes]:
        while True:
            try:
                return self.socket.recv(MAX_HEAD)
            except BlockingIOError:
                yield READ
            except NotReadyError as wants:
                yield wants.events

    def _write(self, parts: Sequence[Part]) -> Generator[Wait, Response | None, None]:
        """Send it all; the deadline moves with each part taken, but not beyond the whole's."""
        self.pending = sum(map(len, parts))
        self._enter("write", self._limits.stall)
        end = self.since + self._limits.response
        turn = 0
        for part in _joined(parts):
            view = memoryview(part)
            while view:
                try:
                    sent = self.socket.send(view[:_TURN])
                except BlockingIOError:
                    yield WRITE
                    continue
                except NotReadyError as wants:
                    yield wants.events
                    continue
                view = view[sent:]
                self.pending -= sent
                turn += sent
                self.since = time.monotonic()
                self.deadline = min(self.since + self._limits.stall, end)
                if turn >= _TURN:
                    turn = 0
                    yield WRITE
        yield WRITE  # a client that sends request upon request waits for the others, too

    def _linger(self) -> Generator[Wait, Response | None, None]:
        """Take what the client still sends: a close with unread data would discard the response."""
        self._enter("linger", self._limits.linger)
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_WR)
        while (yield from self._receive()):
            yield READ  # a client that sends without end waits for the others, too


def _joined(parts: Iterable[Part]) -> Iterator[bytes]:
    """The parts, the small ones joined: a send for each family costs more than the copy."""
    small: list[bytes] = []
    size = 0
    for part in parts:
        chunk = bytes(part)
        small.append(chunk)
        size += len(chunk)
        if size >= _PART:
            yield b"".join(small) if len(small) > 1 else chunk
            small, size = [], 0
    if small:
        yield b"".join(small)


def least_missed(connections: Iterable[Connection]) -> Connection | None:
    """The one to end when there are too many; None where all are being answered."""
    return min(
        (one for one in connections if one.stage in _EXPENDABLE),
        key=lambda one: (max(_EXPENDABLE[one.stage], one.served > 0), one.since),
        default=None,
    )
