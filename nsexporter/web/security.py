"""The web configuration file in force: TLS, passwords, rate, headers; read anew when changed."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from nsexporter.config.errors import ConfigError
from nsexporter.web.connection import Secure
from nsexporter.web.http1 import PLAIN, Response

if TYPE_CHECKING:  # loaded where there is a file: OpenSSL takes 5 MB
    from nsexporter.web.auth import BasicAuth, RateLimit
    from nsexporter.web.tls import Context
    from nsexporter.web.webconfig import WebConfig

log = logging.getLogger(__name__)

_LOOKED_AT_EVERY = 1.0  # seconds
UNAUTHORIZED = Response(
    401,
    PLAIN,
    [b"user and password are needed\n"],
    (("WWW-Authenticate", 'Basic realm="nsexporter"'),),
)


class Security:
    """What is asked of a client by the file, if there is one; for the server's thread."""

    def __init__(self, file: str | None = None) -> None:
        """ConfigError where the file is wrong."""
        self.reload_success = True
        self._file = file
        self._headers: tuple[tuple[str, str], ...] = ()
        self._context: Context | None = None
        self._auth: BasicAuth | None = None
        self._rate: RateLimit | None = None
        self._files: tuple[str, ...] = ()
        self._seen: list[object] = []
        self._looked_at = time.monotonic()
        if file is not None:
            self._load(file)

    def secure(self) -> Secure | None:
        """What makes a new connection one with TLS, None where it is not spoken."""
        self._refresh()
        return None if self._context is None else self._context.secure

    def headers(self) -> Sequence[tuple[str, str]]:
        """Headers of every response."""
        return (("X-Content-Type-Options", "nosniff"), *self._headers)

    def limited(self) -> Response | None:
        """429 where requests come too fast."""
        self._refresh()
        seconds = self._rate.wait() if self._rate is not None else 0
        if not seconds:
            return None
        return Response(429, PLAIN, [b"too many requests\n"], (("Retry-After", str(seconds)),))

    def knows(self, authorization: str) -> bool | None:
        """Whether the Authorization header lets in; None where that is to be verified."""
        return True if self._auth is None else self._auth.knows(authorization)

    def verify(self, authorization: str) -> bool:
        """The same, which takes a while; from another thread."""
        auth = self._auth
        return True if auth is None else auth.verify(authorization)

    def _refresh(self) -> None:
        """Use what the file, or a file it names, says since it was changed, if that is right."""
        now = time.monotonic()
        if self._file is None or now - self._looked_at < _LOOKED_AT_EVERY:
            return
        self._looked_at = now
        if self._seen == [_mark(name) for name in (self._file, *self._files)]:
            return
        try:
            self._load(self._file)
        except ConfigError as error:
            log.error("the web configuration was not reloaded: %s", error)
            self.reload_success = False
        else:
            log.info("the web configuration was reloaded")
            self.reload_success = True

    def _load(self, file: str) -> None:
        from nsexporter.web import webconfig
        from nsexporter.web.auth import RateLimit

        # Each is marked before it is read: what changes meanwhile is read again.
        self._seen = [_mark(file), *self._seen[1:]]
        config = webconfig.load(file)
        # Also where they are no good: they may be mended while the file stays as it is.
        self._files = config.tls.files if config.tls is not None else ()
        self._seen = [self._seen[0], *map(_mark, self._files)]
        context, auth = load_context(file, config), load_auth(file, config)
        self._context = context
        self._auth = auth
        self._headers = config.headers
        self._rate = (
            RateLimit(config.rate_interval, config.rate_burst) if config.rate_interval else None
        )


def _mark(name: str) -> object:
    """What tells that a file was changed or replaced."""
    try:
        status = os.stat(name)
    except OSError as error:
        return error.errno
    return status.st_ino, status.st_mtime_ns, status.st_size


def load_context(file: str, config: WebConfig) -> Context | None:
    """The context that the file asks for; ConfigError where its certificates are no good."""
    if config.tls is None:
        return None
    from nsexporter.web import tls

    try:
        return tls.context(config.tls)
    except ValueError as error:
        raise ConfigError(f"{file}: tls_server_config: {error}") from None


def load_auth(file: str, config: WebConfig) -> BasicAuth | None:
    """The users of the file; ConfigError where bcrypt is not installed."""
    if not config.users:
        return None
    from nsexporter.web.auth import BasicAuth

    try:
        from bcrypt import checkpw
    except ImportError:
        raise ConfigError(
            f"{file}: basic_auth_users: bcrypt is not installed (try pip install bcrypt)"
        ) from None
    return BasicAuth(config.users, checkpw)
