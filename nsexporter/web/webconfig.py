"""The web configuration file, with the keys that Prometheus's own exporters have.

https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nsexporter.config.settings import (
    Row,
    Schema,
    boolean,
    duration,
    integer,
    list_of,
    one_of,
    optional,
    path,
)
from nsexporter.web.tls import CIPHERS, CLIENT_AUTH, CURVES, VERSIONS, Tls

_HEADERS = {
    "Content-Security-Policy": r"[ -~]+",
    "X-Frame-Options": r"deny|sameorigin",
    "X-Content-Type-Options": r"nosniff",
    "X-XSS-Protection": r"[ -~]+",
    "Strict-Transport-Security": r"[ -~]+",
}
_BCRYPT = re.compile(r"\$2[abxy]\$(0[4-9]|1[0-6])\$[./0-9A-Za-z]{53}")


@dataclass(frozen=True, slots=True)
class WebConfig:
    """What the file says."""

    tls: Tls | None
    headers: tuple[tuple[str, str], ...]
    users: dict[str, bytes]  # name to bcrypt hash
    rate_interval: float  # seconds between two requests, 0 for no limit
    rate_burst: int


def _pem(value: object) -> str:
    """The text of an inline certificate or key; no error shows it."""
    if not isinstance(value, str) or not value.isascii() or "-----BEGIN " not in value:
        raise ValueError("this is not a PEM text")
    return value


def _name(value: object) -> str:
    if not isinstance(value, str) or not value.isprintable() or not value:
        raise ValueError("a name is a text")
    return value


def _headers(value: object) -> dict[str, str]:
    if value is None:  # the key alone, what was below it is commented out
        return {}
    if not isinstance(value, dict):
        raise ValueError("this is not a mapping of header names to values")
    for name, text in value.items():
        form = _HEADERS.get(name) if isinstance(name, str) else None
        if form is None:
            raise ValueError(f"these headers can be set: {', '.join(_HEADERS)}")
        if not isinstance(text, str) or not re.fullmatch(form, text):
            raise ValueError(f"this is not a value for {name}")
    return value


def _users(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ValueError("this is not a mapping of users to bcrypt hashes")
    for name, text in value.items():
        if not isinstance(name, str) or not name or ":" in name:
            raise ValueError("a user's name is a text without a colon")
        if not isinstance(text, str) or not _BCRYPT.fullmatch(text):
            raise ValueError(f"the password of {name} is not a bcrypt hash of cost 4 to 16")
    return value


def _row(key: str, parse: Callable[[object], Any], default: object, example: object) -> Row:
    return Row(key=key, parse=parse, default=default, why="", example=example)


_PEM_EXAMPLE = "-----BEGIN CERTIFICATE-----…"
_SCHEMA = Schema(
    (
        _row("tls_server_config.cert", optional(_pem), None, _PEM_EXAMPLE),
        _row("tls_server_config.key", optional(_pem), None, "-----BEGIN PRIVATE KEY-----…"),
        _row("tls_server_config.client_ca", optional(_pem), None, _PEM_EXAMPLE),
        _row("tls_server_config.cert_file", optional(path), None, "server.crt"),
        _row("tls_server_config.key_file", optional(path), None, "server.key"),
        _row("tls_server_config.client_ca_file", optional(path), None, "clients.crt"),
        _row("tls_server_config.client_auth_type", one_of(*CLIENT_AUTH), "NoClientCert",
             "RequireAndVerifyClientCert"),
        _row("tls_server_config.client_allowed_sans", list_of(_name), [], ["prometheus.example"]),
        _row("tls_server_config.min_version", one_of(*VERSIONS), "TLS12", "TLS12"),
        _row("tls_server_config.max_version", one_of(*VERSIONS), "TLS13", "TLS13"),
        _row("tls_server_config.cipher_suites", list_of(one_of(*CIPHERS)), [], list(CIPHERS)[:1]),
        _row("tls_server_config.prefer_server_cipher_suites", boolean, True, True),
        _row("tls_server_config.curve_preferences", list_of(one_of(*CURVES)), [], ["X25519"]),
        _row("http_server_config.http2", boolean, True, False),
        _row("http_server_config.headers", _headers, {}, {"X-Frame-Options": "deny"}),
        _row("basic_auth_users", _users, {}, {"alice": "the output of htpasswd -nBC 10 alice"}),
        _row("rate_limit.interval", duration("0s"), "0s", "1s"),
        _row("rate_limit.burst", integer(1), 1, 20),
    )
)  # fmt: skip


def load(file: str) -> WebConfig:
    """What the file says, paths relative to its directory; ConfigError where it is wrong."""
    values: dict[str, Any] = _SCHEMA.load(file)
    section = "tls_server_config."
    tls = {
        key.removeprefix(section): value for key, value in values.items() if key.startswith(section)
    }
    directory = os.path.dirname(file)
    for key in ("cert_file", "key_file", "client_ca_file"):
        tls[key] = tls[key] and os.path.join(directory, tls[key])
    wanted = any(tls[key] for key in tls if key.startswith(("cert", "key", "client_ca")))
    return WebConfig(
        tls=Tls(**tls) if wanted or tls["client_auth_type"] != "NoClientCert" else None,
        headers=tuple(values["http_server_config.headers"].items()),
        users={name: text.encode() for name, text in values["basic_auth_users"].items()},
        rate_interval=values["rate_limit.interval"],
        rate_burst=values["rate_limit.burst"],
    )
