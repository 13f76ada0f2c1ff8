"""HTTP/1.1 as far as a scrape needs it: the head of a request, the head of a response; pure."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from nsexporter.gzip import Part

PLAIN = "text/plain; charset=utf-8"
MAX_HEAD = 16384
"""Bytes of a request's head, its blank line included."""
_MAX_FIELDS = 100

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST_LINE = re.compile(rb"(%b) ([!-~]+) HTTP/([0-9])\.([0-9])" % _TOKEN)
_FIELD = re.compile(rb"(%b):[\t ]*([\t\x20-\x7e\x80-\xff]*)" % _TOKEN)
_HEAD_END = re.compile(rb"\r?\n\r?\n")


@dataclass(frozen=True, slots=True)
class Response:
    """Status, type, the body in parts, and further headers."""

    status: int
    content_type: str
    body: Sequence[Part]
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A request without a body; header names in lower case, repeated fields joined by commas."""

    method: str  # GET or HEAD
    path: str  # as sent, not percent-decoded
    query: str
    headers: dict[str, str]
    keep_alive: bool

    @property
    def asks_to_keep(self) -> bool:
        """Whether the client waits to be told that the connection is kept, as of HTTP/1.0."""
        return "keep-alive" in self.headers.get("connection", "").lower()


class RefusedError(Exception):
    """A request that is not served; the connection ends after the response."""

    def __init__(self, status: int, text: str, *headers: tuple[str, str]) -> None:
        super().__init__(text)
        self.response = Response(status, PLAIN, [f"{text}\n".encode()], headers)


def head_length(received: bytes | bytearray) -> int:
    """Length of the request head that `received` begins with; 0 where it is not complete.

    RefusedError where it is longer than is read.
    """
    begins = len(received) - len(received.lstrip(b"\r\n"))  # RFC 9112, section 2.2
    match = _HEAD_END.search(received, begins, MAX_HEAD)
    if match:
        return match.end()
    if len(received) >= MAX_HEAD:
        raise RefusedError(431, f"a request's head has at most {MAX_HEAD} bytes")
    return 0


def parse_request(head: bytes) -> Request:
    """The request whose head this is, its blank line included (RFC 9112), else RefusedError.

    >>> parse_request(b"GET /metrics?a=b HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n").path
    '/metrics'
    """
    request_line, *lines = [line.removesuffix(b"\r") for line in head.strip(b"\r\n").split(b"\n")]
    match = _REQUEST_LINE.fullmatch(request_line)
    if match is None:
        raise RefusedError(400, "the request line is malformed")
    method, target, major, minor = match.groups()
    if major != b"1":
        raise RefusedError(505, "only HTTP/1.0 and HTTP/1.1 are spoken")
    headers = _headers(lines)
    if minor != b"0" and "host" not in headers:
        raise RefusedError(400, "there is no Host header")
    if headers.get("content-length", "0") != "0" or "transfer-encoding" in headers:
        raise RefusedError(413, "no body is taken")
    if method not in (b"GET", b"HEAD"):
        raise RefusedError(405, "only GET and HEAD are served", ("Allow", "GET, HEAD"))
    path, _, query = _origin_form(target.decode("ascii")).partition("?")
    options = {option.strip() for option in headers.get("connection", "").lower().split(",")}
    keep_alive = "keep-alive" in options if minor == b"0" else "close" not in options
    return Request(method.decode(), path, query, headers, keep_alive)


def _headers(lines: Sequence[bytes]) -> dict[str, str]:
    if len(lines) > _MAX_FIELDS:
        raise RefusedError(431, f"a request has at most {_MAX_FIELDS} header fields")
    headers: dict[str, str] = {}
    for line in lines:
        match = _FIELD.fullmatch(line)
        if match is None:
            raise RefusedError(400, "a header field is malformed")
        name, value = match[1].decode("ascii").lower(), match[2].decode("latin-1").rstrip("\t ")
        if name in headers:
            if name in ("host", "content-length", "authorization"):
                raise RefusedError(400, f"there are several {name} headers")
            value = f"{headers[name]},{value}"
        headers[name] = value
    return headers


def _origin_form(target: str) -> str:
    """A target as path and query; proxies' absolute form is cut to it."""
    if target.startswith("/"):
        return target
    scheme, found, rest = target.partition("://")
    if not found or scheme.lower() not in ("http", "https"):
        raise RefusedError(400, "the request's target is not a path")
    return "/" + rest.partition("/")[2]


def response_head(response: Response, extra: Sequence[tuple[str, str]], *, close: bool) -> bytes:
    """Status line and headers; `extra` only where the response has not the header itself."""
    status = HTTPStatus(response.status)
    fields = dict(extra)
    fields |= {
        "Content-Type": response.content_type,
        "Content-Length": str(sum(map(len, response.body))),
        **dict(response.headers),
    }
    if close:
        fields["Connection"] = "close"
    lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def accepted(header: str, token: str) -> float:
    """The q-value of a token in an Accept or Accept-Encoding header, 0 where it is not listed.

    >>> accepted("gzip;q=0.5, br", "gzip"), accepted("br", "gzip")
    (0.5, 0.0)
    """
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
