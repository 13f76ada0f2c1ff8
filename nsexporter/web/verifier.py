"""Passwords, whose check takes a while by design: a few wait for it, wrong ones are told late."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable

from nsexporter.web.connection import Connection
from nsexporter.web.http1 import Request
from nsexporter.web.workers import Workers

_AT_ONCE = 16  # passwords that wait to be checked; further ones are denied
_FOR_ONE = 2  # of them for one address: guessing does not keep the others out
_DENIED_AFTER = 1.0  # seconds until a wrong password is told to be wrong


class Verifier:
    """Checks Authorization headers in a thread of its own; all else is for the server's thread."""

    def __init__(
        self, verify: Callable[[str], bool], told: Callable[[Connection, Request, bool], None]
    ) -> None:
        """`told` is called, in that thread, with whether a request's header lets it in."""
        self._verify = verify
        self._told = told
        self._workers: Workers[str, tuple[Connection, Request]] = Workers(1, self._work)
        self._waiting: Counter[str] = Counter()  # by address
        self._denied: deque[tuple[float, Connection]] = deque()

    def start(self) -> None:
        """Begin to check."""
        self._workers.start()

    def stop(self) -> None:
        """Begin nothing more."""
        self._workers.stop()

    def submit(self, authorization: str, connection: Connection, request: Request) -> bool:
        """Have it checked; False where too many wait already."""
        if len(self._workers) >= _AT_ONCE or self._waiting[connection.peer] >= _FOR_ONE:
            return False
        self._waiting[connection.peer] += 1
        self._workers.submit(authorization, (connection, request), float("inf"))
        return True

    def done(self, connection: Connection) -> None:
        """One that was submitted is told."""
        self._waiting[connection.peer] -= 1
        if not self._waiting[connection.peer]:
            del self._waiting[connection.peer]

    def deny(self, connection: Connection) -> None:
        """Have `denied` give it in a while."""
        self._denied.append((time.monotonic() + _DENIED_AFTER, connection))

    def denied(self, now: float) -> list[Connection]:
        """Whose denial is due."""
        due = []
        while self._denied and self._denied[0][0] <= now:
            due.append(self._denied.popleft()[1])
        return due

    @property
    def next_due(self) -> float:
        """When (monotonic) the next denial is due."""
        return self._denied[0][0] if self._denied else float("inf")

    def _work(
        self, authorization: str, asking: list[tuple[Connection, Request]], deadline: float
    ) -> None:
        right = self._verify(authorization)
        for connection, request in asking:
            self._told(connection, request, right)
