"""Basic authentication: passwords against bcrypt hashes, and a limit on the rate of requests."""

from __future__ import annotations

import base64
import hmac
import math
import os
import time
from collections.abc import Callable, Mapping

_WRONG_KEPT = 1000


class BasicAuth:
    """Users and their hashes. What was verified is known until the users change."""

    def __init__(self, users: Mapping[str, bytes], checkpw: Callable[[bytes, bytes], bool]) -> None:
        """`checkpw` is bcrypt's."""
        self._users = users
        self._checkpw = checkpw
        self._key = os.urandom(32)  # no password stays in memory
        self._right: set[bytes] = set()
        self._wrong: set[bytes] = set()

    def knows(self, authorization: str) -> bool | None:
        """Whether an Authorization header was verified before; None where it was not tried."""
        if _credentials(authorization) is None:
            return False
        digest = self._digest(authorization)
        return True if digest in self._right else False if digest in self._wrong else None

    def verify(self, authorization: str) -> bool:
        """Whether user and password are right; takes as long for a user that there is not."""
        credentials = _credentials(authorization)
        if credentials is None:
            return False
        user, password = credentials
        name = user.decode("utf-8", "replace")
        some = next(iter(self._users.values()))
        try:
            # bcrypt takes 72 bytes, and htpasswd cuts what is longer.
            right = self._checkpw(password[:72], self._users.get(name, some))
        except ValueError:
            right = False
        right = right and name in self._users
        if len(self._wrong) >= _WRONG_KEPT:
            self._wrong.clear()
        (self._right if right else self._wrong).add(self._digest(authorization))
        return right

    def _digest(self, authorization: str) -> bytes:
        return hmac.digest(self._key, authorization.encode("latin-1"), "sha256")


def _credentials(authorization: str) -> tuple[bytes, bytes] | None:
    """User and password of a header; None where it is malformed.

    >>> _credentials("Basic YTpiOmM=")
    (b'a', b'b:c')
    """
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).partition(b":")
    except ValueError:
        return None
    return (user, password) if colon else None


class RateLimit:
    """A token bucket: `burst` requests at once, then one every `interval` seconds."""

    def __init__(
        self, interval: float, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval = interval
        self._burst = burst
        self._clock = clock
        self._tokens = float(burst)
        self._at = clock()

    def wait(self) -> int:
        """0 where a request may be served now, else in how many whole seconds one may be."""
        now = self._clock()
        self._tokens = min(self._burst, self._tokens + (now - self._at) / self._interval)
        self._at = now
        if self._tokens < 1:
            return math.ceil((1 - self._tokens) * self._interval)
        self._tokens -= 1
        return 0
