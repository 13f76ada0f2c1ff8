"""The server against clients that are slow, idle, huge or hostile: real sockets, no waiting."""

from __future__ import annotations

import errno
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from nsexporter.web import address
from nsexporter.web.connection import Limits
from nsexporter.web.http1 import MAX_HEAD
from tests.waiting import until
from tests.web.webserver import rest, serving

ASK = b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"
ASK_AND_END = b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def test_requests_in_one_go_are_answered_in_order() -> None:
    with serving() as site:
        client = site.connect(ASK.replace(b"GET", b"HEAD") + ASK + ASK_AND_END)
        answers = rest(client).split(b"HTTP/1.1 200 OK\r\n")
    assert [answer.partition(b"\r\n\r\n")[2] for answer in answers[1:]] == [b"", b"a 1\n", b"a 1\n"]
    assert [b"Connection: close" in answer for answer in answers[1:]] == [False, False, True]


def test_every_answer_has_its_date() -> None:
    refused = b"POST / HTTP/1.1\r\nHost: x\r\n\r\n"
    with serving() as site:
        answers = [rest(site.connect(sent)).decode() for sent in (ASK_AND_END, refused)]
    for answer in answers:
        (told,) = (line[6:] for line in answer.split("\r\n") if line.startswith("Date: "))
        assert abs(parsedate_to_datetime(told).timestamp() - time.time()) < 60


def test_an_http_1_0_client_is_told_that_its_connection_is_kept() -> None:
    ask = "{} /metrics HTTP/1.0\r\nConnection: {}\r\n\r\n"
    sent = ask.format("GET", "Keep-Alive") + ask.format("HEAD", "close")
    with serving() as site:
        kept, last = rest(site.connect(sent.encode())).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert b"\r\nConnection: keep-alive\r\n" in kept and b"\r\nConnection: close\r\n" in last


def test_a_request_may_come_byte_by_byte() -> None:
    with serving() as site:
        client = site.connect()
        for byte in ASK_AND_END:
            client.send(bytes([byte]))
        assert rest(client).endswith(b"\r\n\r\na 1\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"POST /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n123456789", b"413"),
        (b"DELETE / HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * MAX_HEAD, b"431"),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"400"),
    ],
)
def test_what_is_refused_is_told_and_ends_the_connection(sent: bytes, status: bytes) -> None:
    with serving() as site:
        answer = rest(site.connect(sent))
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert (b"\r\nAllow: GET, HEAD\r\n" in answer) == (status == b"405")
    assert b"\r\nConnection: close\r\n" in answer


def test_a_huge_upload_is_refused_and_cut_off() -> None:
    with serving() as site:
        client = site.connect(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 999999999\r\n\r\n")
        with pytest.raises(OSError):  # it is not taken for longer than Limits.linger
            while True:
                client.sendall(b"x" * 65536)


@pytest.mark.parametrize("sent", [b"", b"GET /metrics HT", ASK])
def test_who_says_nothing_more_is_cut_off(sent: bytes) -> None:
    with serving(Limits(head=0.3, idle=0.3)) as site:
        client = site.connect(sent)
        started = time.monotonic()
        rest(client)
        assert 0.2 < time.monotonic() - started < 10
        until(lambda: site.server.connections == 0)
        assert site.server.dropped["slow"] == (0 if sent == ASK else 1)


def test_who_dribbles_a_request_is_cut_off() -> None:
    with serving(Limits(head=0.5)) as site:
        client = site.connect()
        with pytest.raises(OSError):
            while True:
                client.send(b"a")
                time.sleep(0.02)


def test_who_does_not_take_the_answer_is_cut_off() -> None:
    with serving(Limits(stall=0.3)) as site:
        site.application.body = b"x" * (32 << 20)
        client = site.connect(ASK)
        until(lambda: site.server.dropped["slow"] == 1)
        assert len(rest(client)) < 32 << 20


def test_who_takes_the_answer_in_sips_is_cut_off_in_the_end() -> None:
    with serving(Limits(stall=20, response=1)) as site:
        site.application.body = b"x" * (64 << 20)
        client = site.connect(ASK)
        while site.server.dropped["slow"] == 0:
            client.recv(65536)
            time.sleep(0.01)


def test_idle_clients_make_room_for_new_ones() -> None:
    with serving(Limits(connections=10)) as site:
        hostile = [site.connect(b"GET /") for _ in range(50)]
        for _ in range(5):
            assert site.get() == (200, b"a 1\n")
        assert site.server.connections <= 10
        assert site.server.dropped["crowded out"] >= 40
        for client in hostile:
            client.close()
        until(lambda: site.server.connections == 0)


def test_who_was_served_before_is_kept_while_strangers_go() -> None:
    with serving(Limits(connections=10)) as site:
        known = site.connect(ASK)
        assert known.recv(65536)
        hostile = [site.connect(b"GET /") for _ in range(50)]
        until(lambda: site.server.dropped["crowded out"] >= 41)
        known.sendall(ASK_AND_END)
        assert rest(known).endswith(b"a 1\n")
        assert len(hostile) == 50


def test_slow_readers_together_hold_back_a_bounded_number_of_bytes() -> None:
    with serving(Limits(pending=32 << 20)) as site:
        clients = []
        for number in range(20):
            site.application.body = bytes([number]) * (8 << 20)
            clients.append(site.connect(ASK))
            until(lambda: site.application.calls == len(clients))
        until(lambda: site.server.dropped["slow"] >= 10)
        assert site.get()[0] == 200


def test_clients_that_wait_for_the_same_answer_get_it_from_one_call() -> None:
    with serving() as site:
        gate = threading.Event()
        site.application.wait = gate.wait
        busy = [
            site.connect(b"GET /metrics?name[]=%d HTTP/1.1\r\nHost: x\r\n\r\n" % n)
            for n in range(4)
        ]
        until(lambda: site.application.calls == 4)  # every worker is
        alike = [site.connect(ASK_AND_END) for _ in range(20)]
        until(lambda: site.server.connections == 24)
        assert site.get("/-/healthy") == (200, b"healthy\n")
        gate.set()
        assert all(rest(client).endswith(b"a 1\n") for client in alike)
        assert site.application.calls == 5
        assert len(busy) == 4


@pytest.mark.parametrize("path", ["/", "/docs", "/metrics"])
def test_an_answer_is_made_once_for_all_whatever_else_their_queries_say(path: str) -> None:
    with serving() as site:
        go_on = threading.Event()
        site.application.wait = lambda: go_on.wait(20)
        asks = [
            f"GET {path}?{n}=x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" for n in range(50)
        ]
        clients = [site.connect(ask.encode()) for ask in asks]
        until(lambda: sum(one.stage == "answer" for one in site.server._connections) == 50)
        go_on.set()
        assert all(b"HTTP/1.1 200 OK" in rest(client) for client in clients)
        assert site.application.calls <= 5, "one for each worker, and one for the others"


def test_a_query_of_too_many_fields_is_refused() -> None:
    with serving() as site:
        assert site.get("/metrics?" + "&".join(f"name[]={n}" for n in range(500)))[0] == 200
        assert site.get("/metrics?" + "&".join(f"name[]={n}" for n in range(501)))[0] == 400


def test_an_exhausted_descriptor_table_costs_idle_clients_not_scrapes() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with serving(Limits(connections=10_000)) as site:
        ready = [socket.socket() for _ in range(40)]
        highest = max(int(name) for name in os.listdir("/proc/self/fd"))
        filled = [os.open("/dev/null", os.O_RDONLY)]
        while filled[-1] <= highest:
            filled.append(os.dup(filled[0]))
        resource.setrlimit(resource.RLIMIT_NOFILE, (filled[-1] + 20, hard))
        try:
            for client in ready:  # their other ends are the server's, in this very process
                client.connect(("127.0.0.1", site.port))
            with ready.pop() as asking:
                asking.settimeout(20)
                asking.sendall(ASK_AND_END)
                assert rest(asking).endswith(b"a 1\n")
            assert site.server.dropped["crowded out"] > 0
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in filled:
                os.close(fd)
            for client in ready:
                client.close()


def test_an_answer_in_the_making_is_sent_before_the_end() -> None:
    with serving() as site:
        site.application.wait = lambda: time.sleep(0.2)
        client = site.connect(ASK_AND_END)
        until(lambda: site.application.calls == 1)
        site.server.close(grace=20)
        assert rest(client).endswith(b"a 1\n")


def test_a_unix_socket_is_served_and_replaced_only_where_nobody_listens(tmp_path: Path) -> None:
    path = f"{tmp_path}/s"
    (listener,) = address.listen(f"unix:{path}")
    assert address.shown(listener) == f"unix:{path}"
    with pytest.raises(OSError, match=f"unix:{path}: Address already in use"):
        address.listen(f"unix:{path}")
    listener.close()
    address.listen(f"unix:{path}")[0].close()
    Path(path).unlink()
    Path(path).write_text("a file of somebody's")
    with pytest.raises(OSError, match="in use"):
        address.listen(f"unix:{path}")
    assert Path(path).read_text() == "a file of somebody's"


def test_an_address_that_is_taken_is_told_once() -> None:
    (listener,) = address.listen("127.0.0.1:0")
    with listener:
        taken = address.shown(listener)
        with pytest.raises(OSError) as raised:
            address.listen(taken)
    assert str(raised.value) == f"[Errno {errno.EADDRINUSE}] {taken}: Address already in use"


def test_hosts_are_names_and_addresses_of_both_families() -> None:
    for text, families in {
        "127.0.0.1:0": {socket.AF_INET},
        "[::1]:0": {socket.AF_INET6},
        ":0": {socket.AF_INET6},
    }.items():
        listeners = address.listen(text)
        assert {listener.family for listener in listeners} == families
        for listener in listeners:
            listener.close()
    named = address.listen("localhost:0")
    assert address.shown(named[0]).startswith(("127.0.0.1:", "[::1]:"))
    for listener in named:
        listener.close()
    with pytest.raises(OSError, match=r"no\.such\.host\.invalid:1: "):
        address.listen("no.such.host.invalid:1")


def test_sockets_passed_by_the_service_manager_are_served(tmp_path: Path) -> None:
    """As systemd passes them: at descriptor 3, with LISTEN_PID and LISTEN_FDS."""
    passed = socket.create_server(("127.0.0.1", 0))
    port = passed.getsockname()[1]
    script = f"""
import os
os.dup2({passed.fileno()}, 3)
os.environ |= {{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}}
from nsexporter.cli import main
raise SystemExit(main(["--web.listen-address=127.0.0.1:1"]))
"""
    log = tmp_path / "log"
    with (
        open(log, "wb") as stderr,
        subprocess.Popen(
            [sys.executable, "-c", script], pass_fds=[passed.fileno()], stderr=stderr
        ) as process,
    ):
        try:
            until(lambda: f"listens on 127.0.0.1:{port}" in log.read_text(), 60)
            passed.close()
            with socket.create_connection(("127.0.0.1", port), timeout=60) as client:
                client.sendall(ASK_AND_END)
                assert b"nsexporter_up 1\n" in rest(client)
        finally:
            process.kill()
