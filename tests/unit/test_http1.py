"""The head of a request, by rows."""

from __future__ import annotations

import pytest

from nsexporter.web import address, http1, routes
from nsexporter.web.http1 import RefusedError, Request, parse_request


def request(line: str, *fields: str) -> Request:
    return parse_request("\r\n".join([line, *fields, "", ""]).encode("latin-1"))


def test_a_request_is_its_method_path_query_and_headers() -> None:
    assert request(
        "GET /metrics?name[]=a&name[]=b HTTP/1.1", "Host: x", "ACCEPT:  a, b \t", "accept: c"
    ) == Request(
        "GET", "/metrics", "name[]=a&name[]=b", {"host": "x", "accept": "a, b,c"}, keep_alive=True
    )


@pytest.mark.parametrize(
    ("line", "fields", "keep_alive"),
    [
        ("GET / HTTP/1.1", ["Host: x"], True),
        ("GET / HTTP/1.1", ["Host: x", "Connection: close"], False),
        ("GET / HTTP/1.1", ["Host: x", "Connection: TE, Close"], False),
        ("GET / HTTP/1.0", [], False),
        ("GET / HTTP/1.0", ["Connection: Keep-Alive"], True),
    ],
)
def test_a_connection_is_kept_as_the_version_and_the_client_say(
    line: str, fields: list[str], keep_alive: bool
) -> None:
    assert request(line, *fields).keep_alive is keep_alive


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/metrics", "/metrics"),
        ("//metrics", "//metrics"),
        ("http://host:1/metrics?x", "/metrics"),
        ("HTTP://host", "/"),
        ("/a%2fb", "/a%2fb"),
    ],
)
def test_a_target_is_a_path(target: str, path: str) -> None:
    assert request(f"GET {target} HTTP/1.1", "Host: x").path == path


@pytest.mark.parametrize(
    ("line", "fields", "status"),
    [
        ("", [], 400),
        ("GET /", [], 400),
        ("GET  / HTTP/1.1", ["Host: x"], 400),
        ("GET /\x7f HTTP/1.1", ["Host: x"], 400),
        ("GET /é HTTP/1.1", ["Host: x"], 400),
        ("GET / http/1.1", ["Host: x"], 400),
        ("GET * HTTP/1.1", ["Host: x"], 400),
        ("GET host:1 HTTP/1.1", ["Host: x"], 400),
        ("GET ftp://x/ HTTP/1.1", ["Host: x"], 400),
        ("PRI * HTTP/2.0", [], 505),
        ("GET / HTTP/3.0", [], 505),
        ("GET / HTTP/1.1", [], 400),
        ("GET / HTTP/1.1", ["Host: x", "Host: x"], 400),
        ("GET / HTTP/1.1", ["Host: x", "A : b"], 400),
        ("GET / HTTP/1.1", ["Host: x", " folded"], 400),
        ("GET / HTTP/1.1", ["Host: x", "A: b\rc"], 400),
        ("GET / HTTP/1.1", ["Host: x", "A: \0"], 400),
        ("GET / HTTP/1.1", ["Host: x", "Content-Length: 1"], 413),
        ("GET / HTTP/1.1", ["Host: x", "Content-Length: 0", "Content-Length: 0"], 400),
        ("GET / HTTP/1.1", ["Host: x", "Transfer-Encoding: chunked"], 413),
        ("POST / HTTP/1.1", ["Host: x"], 405),
        ("get / HTTP/1.1", ["Host: x"], 405),
        ("GET / HTTP/1.1", ["Host: x", *(f"A{n}: b" for n in range(100))], 431),
    ],
)
def test_what_is_no_request_for_us_is_refused(line: str, fields: list[str], status: int) -> None:
    with pytest.raises(RefusedError) as caught:
        request(line, *fields)
    assert caught.value.response.status == status


def test_the_head_ends_at_the_first_blank_line() -> None:
    assert http1.head_length(b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET") == 27
    assert http1.head_length(b"GET / HTTP/1.0\n\nGET") == 16
    assert http1.head_length(b"GET / HTTP/1.0\r\n") == 0


def test_empty_lines_before_a_request_are_passed_over() -> None:
    sent = b"\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\nGET"
    assert http1.head_length(sent) == len(sent) - 3
    assert parse_request(sent[:-3]).path == "/"
    assert http1.head_length(b"\r\n\r\n") == 0


def test_a_head_without_end_is_refused() -> None:
    assert http1.head_length(b"x" * (http1.MAX_HEAD - 1)) == 0
    with pytest.raises(RefusedError) as caught:
        http1.head_length(b"x" * http1.MAX_HEAD)
    assert caught.value.response.status == 431


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", False),
        ("*/*", False),
        ("application/openmetrics-text;version=1.0.0,application/openmetrics-text;q=0.75,"
         "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", True),
        ("application/openmetrics-text;q=0.3,text/plain;q=0.5", False),
        ("application/openmetrics-text;q=x", True),
    ],
)  # fmt: skip
def test_openmetrics_is_served_to_who_prefers_it(accept: str, wanted: bool) -> None:
    assert routes.wants_openmetrics(accept) is wanted


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("10", 9.5), ("1", 0.5), ("0.2", 0.1), ("1e5", 30), ("-1", 9.5), ("inf", 9.5), ("x", 9.5)],
)
def test_a_scrape_has_less_than_its_own_time_out(header: str, seconds: float) -> None:
    assert routes.scrape_budget(header) == seconds


@pytest.mark.parametrize("text", ["", "x", ":x", "::1:9", "unix:x", "unix:"])
def test_what_is_no_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        address.parse_address(text)
