"""Who may ask, and what is told to everybody: TLS, passwords, rate, headers."""

from __future__ import annotations

import ssl
from collections.abc import Sequence

from nsexporter.web.http1 import PLAIN, Response

UNAUTHORIZED = Response(
    401,
    PLAIN,
    [b"user and password are needed\n"],
    (("WWW-Authenticate", 'Basic realm="nsexporter"'),),
)


class Security:
    """Nothing is asked of a client."""

    def context(self) -> ssl.SSLContext | None:
        """What TLS is spoken with, None where it is not."""
        return None

    def check_certificate(self, client: ssl.SSLSocket) -> None:
        """ssl.SSLError where the client's certificate is not one of those that are let in."""

    def headers(self) -> Sequence[tuple[str, str]]:
        """Headers of every response."""
        return (("X-Content-Type-Options", "nosniff"),)

    def limited(self) -> Response | None:
        """429 where requests come too fast."""
        return None

    def knows(self, authorization: str) -> bool | None:
        """Whether the Authorization header lets in; None where that is to be verified."""
        return True

    def verify(self, authorization: str) -> bool:
        """The same, however long it takes."""
        return True
