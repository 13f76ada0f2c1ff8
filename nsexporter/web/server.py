"""The server: one thread for all clients, so that none can stall another, and a few workers."""

from __future__ import annotations

import errno
import logging
import os
import selectors
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from functools import partial

from nsexporter import libc
from nsexporter.web.connection import Connection, Conversation, Limits, least_missed
from nsexporter.web.http1 import Request, Response
from nsexporter.web.listeners import Listeners
from nsexporter.web.routes import Job, Routes, scrape_budget
from nsexporter.web.security import UNAUTHORIZED, Security
from nsexporter.web.verifier import Verifier
from nsexporter.web.workers import Workers

log = logging.getLogger(__name__)

_WORKERS = 4
_ACCEPTED_AT_ONCE = 64
_CROWD = 64  # connections whose memory is worth giving back
# Of these the process or the host has no more to give: clients who do nothing have to go.
_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})


class Server:
    """Serves on listening sockets from `start` to `close`."""

    def __init__(
        self,
        routes: Routes,
        listeners: Sequence[socket.socket],
        security: Security,
        limits: Limits,
    ) -> None:
        self._routes = routes
        self._security = security
        self._limits = limits
        self.responses: Counter[int] = Counter()  # by status
        # Connections that we ended before they were answered, by reason; every reason from the
        # start, since a counter born at 1 has no increase.
        self.dropped: Counter[str] = Counter({"slow": 0, "crowded out": 0})
        self._connections: dict[Connection, Conversation] = {}
        self._calls: deque[Callable[[], None]] = deque()  # what workers want done by the loop
        self._workers: Workers[Job, Connection] = Workers(_WORKERS, self._work)
        self._verifier = Verifier(security.verify, self._verified_soon)
        self._selector = selectors.DefaultSelector()
        self._listeners = Listeners(listeners, self._selector)
        # Never closed: a worker that ends late still writes to it.
        self._wakeup = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._sweep_at = float("inf")
        self._most = 0  # connections since memory was given back
        self._ends_at: float | None = None
        self._thread = threading.Thread(target=self._run, name="web", daemon=True)
        self._turned = threading.Event()

    def start(self) -> None:
        """Serve, in threads."""
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        self._listeners.accept()
        self._workers.start()
        self._verifier.start()
        self._thread.start()

    def close(self, grace: float = 0.5) -> None:
        """Accept nothing more; answers in the making have `grace` seconds."""
        if self._ends_at is not None:
            return
        self._workers.stop()
        self._verifier.stop()
        self._ends_at = time.monotonic() + grace
        self._wake()
        if self._thread.ident is not None:
            self._thread.join()
        self._listeners.close()

    def responds(self, timeout: float) -> bool:
        """Whether the thread of all clients still goes round, for the watchdog."""
        self._turned.clear()
        self._wake()
        return self._turned.wait(timeout)

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where it listens."""
        return self._listeners.addresses

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _wake(self) -> None:
        os.eventfd_write(self._wakeup, 1)

    def _run(self) -> None:
        while not self._ended():
            wait = max(0.0, self._sweep_at - time.monotonic())
            for key, _ in self._selector.select(None if wait == float("inf") else wait):
                if key.data is None:
                    os.eventfd_read(self._wakeup)
                    self._turned.set()
                elif isinstance(key.data, socket.socket):
                    self._accept(key.data)
                elif key.data in self._connections:
                    self._go_on(key.data, None)
            while self._calls:
                self._calls.popleft()()
            if time.monotonic() >= self._sweep_at:
                self._sweep()
        for connection in list(self._connections):
            self._drop(connection)
        self._selector.close()

    def _ended(self) -> bool:
        """Whether the server is closing and what was being answered is, or has had its time."""
        if self._ends_at is None:
            return False
        self._pause()
        self._sweep_at = min(self._sweep_at, self._ends_at)
        answering = any(one.stage in ("answer", "write") for one in self._connections)
        return not answering or time.monotonic() >= self._ends_at

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED_AT_ONCE):
            if len(self._connections) >= self._limits.connections and not self._make_room():
                return self._pause()  # everybody is being answered: the others wait in line
            try:
                client, address = listener.accept()
            except BlockingIOError:
                return None
            except OSError as error:
                # ECONNABORTED and the errors of the network belong to that client (accept(2)).
                if error.errno in _EXHAUSTED and not self._make_room():
                    return self._pause()
                continue
            self._admit(client, address)
        return None

    def _admit(self, client: socket.socket, address: object) -> None:
        client.setblocking(False)
        if client.family != socket.AF_UNIX:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        peer = str(address[0]) if isinstance(address, tuple) else "unix"
        connection = Connection(client, peer, self._limits)
        self._connections[connection] = connection.converse(
            self._security.secure(), self._security.headers
        )
        self._most = max(self._most, len(self._connections))
        self._go_on(connection, None)

    def _make_room(self) -> bool:
        """End the connection that is missed least; False where all are being answered."""
        least = least_missed(self._connections)
        if least is None:
            return False
        self.dropped["crowded out"] += 1
        self._drop(least)
        return True

    def _pause(self) -> None:
        """Accept nothing until the next sweep."""
        self._listeners.pause()
        self._sweep_at = min(self._sweep_at, time.monotonic() + 0.1)

    def _go_on(self, connection: Connection, response: Response | None) -> None:
        """Continue a conversation, until it waits for something."""
        try:
            wanted = self._connections[connection].send(response)
        except (StopIteration, OSError):
            return self._drop(connection)
        except Exception:
            log.exception("a bug in the conversation with %s", connection.peer)
            return self._drop(connection)
        self._sweep_at = min(self._sweep_at, connection.deadline)
        if isinstance(wanted, int):
            return self._watch(connection, wanted)
        self._watch(connection, 0)
        return self._ask(connection, wanted)

    def _watch(self, connection: Connection, events: int) -> None:
        if events == connection.watched:
            return
        if not connection.watched:
            self._selector.register(connection.socket, events, connection)
        elif events:
            self._selector.modify(connection.socket, events, connection)
        else:
            self._selector.unregister(connection.socket)
        connection.watched = events

    def _ask(self, connection: Connection, request: Request) -> None:
        """Have the request answered, here or by a worker."""
        refusal = self._security.limited()
        if refusal is not None:
            return self._answer_soon(connection, refusal)
        authorization = request.headers.get("authorization", "")
        known = self._security.knows(authorization)
        if known:
            return self._serve(connection, request)
        if known is None and self._verifier.submit(authorization, connection, request):
            connection.stage = "verify"
            return None
        if not authorization:
            return self._answer_soon(connection, UNAUTHORIZED)
        return self._deny(connection)

    def _serve(self, connection: Connection, request: Request) -> None:
        """Have a request answered that was let in."""
        plan = self._routes.plan(request)
        if isinstance(plan, Response):
            return self._answer_soon(connection, plan)
        budget = scrape_budget(request.headers.get("x-prometheus-scrape-timeout-seconds"))
        return self._workers.submit(plan, connection, time.monotonic() + budget)

    def _verified_soon(self, connection: Connection, request: Request, right: bool) -> None:
        """Have the loop go on with a request; from the verifier's thread."""
        self._calls.append(partial(self._verified, connection, request, right))
        self._wake()

    def _verified(self, connection: Connection, request: Request, right: bool) -> None:
        self._verifier.done(connection)
        if connection not in self._connections:
            return
        if right:
            connection.stage = "answer"
            self._serve(connection, request)  # it has been counted by the rate limit
        else:
            self._deny(connection)

    def _deny(self, connection: Connection) -> None:
        """401 in a while, for who guesses passwords, and has to make room meanwhile."""
        connection.stage = "verify"
        self._verifier.deny(connection)
        self._sweep_at = min(self._sweep_at, self._verifier.next_due)

    def _work(self, job: Job, connections: list[Connection], deadline: float) -> None:
        """In a worker: one answer for all who asked the same."""
        response = self._routes.answer(job, max(0.05, deadline - time.monotonic()))
        for connection in connections:
            self._answer_soon(connection, response)
        self._wake()

    def _answer_soon(self, connection: Connection, response: Response) -> None:
        """Have the loop send a response; from any thread."""
        self._calls.append(partial(self._answer, connection, response))

    def _answer(self, connection: Connection, response: Response) -> None:
        if connection not in self._connections:
            return
        self.responses[response.status] += 1
        # Slow readers hold back the responses of as many passes: the slowest ones go.
        allowed = max(self._limits.pending, 4 * sum(map(len, response.body)))
        while sum(one.pending for one in self._connections) > allowed:
            writing = [one for one in self._connections if one.stage == "write"]
            self.dropped["slow"] += 1
            self._drop(min(writing, key=lambda one: one.since))
        self._go_on(connection, response)

    def _sweep(self) -> None:
        """End what has had its time, deny who has waited for it, accept again."""
        now = time.monotonic()
        for connection in self._verifier.denied(now):
            self._answer(connection, UNAUTHORIZED)
        for connection in [one for one in self._connections if one.deadline <= now]:
            if connection.stage not in ("idle", "linger"):
                self.dropped["slow"] += 1
            self._drop(connection)
        if self._ends_at is None:
            self._listeners.accept()
        self._trim()
        deadlines = [one.deadline for one in self._connections]
        self._sweep_at = min([self._verifier.next_due, *deadlines])

    def _trim(self) -> None:
        """Give memory back that a crowd took: the C library keeps it among what is in use."""
        if self._most >= _CROWD and len(self._connections) < self._most / 4:
            self._most = len(self._connections)
            libc.trim()

    def _drop(self, connection: Connection) -> None:
        conversation = self._connections.pop(connection, None)
        if conversation is not None:
            self._watch(connection, 0)
            conversation.close()
            connection.socket.close()
