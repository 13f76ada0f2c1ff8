"""What takes bytes from others, and the errors it may answer them with."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass

from nsexporter.config.errors import ConfigError
from nsexporter.config.yamlfile import parsed
from nsexporter.containers import identity, mountinfo
from nsexporter.containers.bolt import Bolt
from nsexporter.containers.docker import Docker
from nsexporter.containers.state import StateFile, document
from nsexporter.kernel import kmsg, parse
from nsexporter.kernel.oom_report import Reports
from nsexporter.model import Identity
from nsexporter.oom import state
from nsexporter.web import auth, http1, routes
from nsexporter.web.connection import Connection, Limits
from nsexporter.web.http1 import RefusedError, Response


@dataclass(frozen=True, slots=True)
class Target:
    """A function of any bytes, the errors that are answers, and texts to begin with."""

    run: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    seeds: tuple[bytes, ...] = (b"",)


def _text(function: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: function(data.decode("latin-1"))


def _request(data: bytes) -> None:
    length = http1.head_length(data)
    if length:
        request = http1.parse_request(data[:length])
        routes.wants_openmetrics(request.headers.get("accept", ""))
        assert routes.scrape_budget(request.headers.get("x-prometheus-scrape-timeout-seconds")) > 0
        assert request.path.startswith("/") and request.method in ("GET", "HEAD")


class _Everywhere:
    """State files with one content, at every path; what Docker asks for."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def read(self, path: str) -> StateFile | None:
        return StateFile(path, self._content, (0, 0, 0, 0))

    def home(self, uid: int) -> str:
        return "/home"


def _conversation(data: bytes) -> None:
    """A whole connection: whatever is sent, each answer is HTTP, and the conversation ends."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        theirs.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            theirs.send(data)
        theirs.shutdown(socket.SHUT_WR)
        conversation = Connection(ours, "fuzz", Limits()).converse(None, lambda: ())
        response: Response | None = None
        with contextlib.suppress(StopIteration, OSError):
            for _ in range(100_000):
                wanted = conversation.send(response)
                response = None if isinstance(wanted, int) else Response(200, "text/plain", [b"x"])
            raise AssertionError("the conversation does not end")
        answer = b""
        with contextlib.suppress(BlockingIOError):
            while part := theirs.recv(65536):
                answer += part
        assert not answer or answer.startswith(b"HTTP/1.1 ")


def _bolt(data: bytes) -> None:
    fd = os.memfd_create("bolt")
    try:
        os.write(fd, data)
        Bolt(fd).values(b"v1", b"k8s.io")
    finally:
        os.close(fd)


_KERNEL = (parse.ParseError,)
_STATE = (OSError, ValueError, TypeError, AttributeError)  # what containers/metadata.py expects
_REPORT = (
    b"oom-kill:constraint=CONSTRAINT_MEMCG,nodemask=(null),cpuset=/,mems_allowed=0,"
    b"oom_memcg=/a,task_memcg=/a/b,task=x y,pid=12,uid=0\n"
    b"Memory cgroup out of memory: Killed process 12 (x y) total-vm:1kB, anon-rss:2kB,"
    b" file-rss:0kB, shmem-rss:0kB, UID:0 pgtables:4kB oom_score_adj:0"
)
_ASK = b"GET /metrics?name[]=a HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5\r\n\r\n"

TARGETS = {
    **{
        function.__name__: Target(function, _KERNEL, seeds)
        for function, seeds in (
            (parse.number, (b"4096",)),
            (parse.limit, (b"max", b"9223372036854771712")),
            (parse.flat_keyed, (b"oom 1\noom_kill 2\n",)),
            (parse.pressure_totals, (b"some avg10=0.00 avg60=0.00 avg300=0.00 total=12\n",)),
            (parse.pids, (b"1\n2\n",)),
            (parse.mountinfo, (b"1 2 0:3 / /a\\040b rw - cgroup2 x rw,y\n",)),
            (parse.uid_map, (b"0 100000 65536\n",)),
            (parse.meminfo, (b"MemTotal:       1024 kB\n",)),
            (parse.oom_kills, (b"low 0\noom_kill 1\n",)),
            (parse.proc_cgroup, (b"4:memory:/a\n0::/b\n",)),
        )
    },
    "ns_link": Target(_text(parse.ns_link), _KERNEL, (b"net:[4026531833]",)),
    "identify": Target(
        _text(lambda path: identity.identify(f"/{path}")),
        seeds=(b"docker/" + b"0a" * 32, b"kubepods.slice/kubepods-pod1_2.slice/crio-%b.scope"),
    ),
    "identify_mountinfo": Target(_text(mountinfo.identify_mountinfo), seeds=(b"1 2 0:3 / /a",)),
    "kmsg": Target(kmsg.record, _KERNEL, (b"4,1,2,-;text\n", b"4,1,2,-,caller=T1;a\n K=v\n")),
    "oom_report": Target(
        lambda data: [Reports().line(line, 0.0) for line in data.decode("latin-1").split("\n")],
        seeds=(_REPORT,),
    ),
    "oom_state": Target(lambda data: state.load(data, "x"), (ValueError,), (b'{"version": 1}',)),
    "state_document": Target(
        lambda data: document(StateFile("x", data, (0, 0, 0, 0))), (ValueError,), (b'{"a": [1]}',)
    ),
    "docker": Target(
        lambda data: Docker(_Everywhere(data)).lookup(  # type: ignore[arg-type]
            Identity(kind="container", container_id="0a", runtime="docker")
        ),
        _STATE,
        (b'{"Name": "/a", "Config": {"Image": "b", "Labels": {"c": "d"}}, "Created": "2020"}',),
    ),
    "bolt": Target(_bolt, _STATE, (b"\0" * 16 + b"\xed\xda\x0c\xed" + b"\0" * 76,)),
    "yaml": Target(lambda data: parsed("x", data), (ConfigError,), (b"a: {b: [1, 2]}\n",)),
    "request": Target(_request, (RefusedError,), (_ASK,)),
    "conversation": Target(_conversation, seeds=(_ASK, _ASK * 2, b"POST / HTTP/1.1\n\nx")),
    "authorization": Target(
        _text(lambda text: auth.BasicAuth({"a": b""}, lambda password, hashed: False).verify(text)),
        seeds=(b"Basic YTpi",),
    ),
}


def attempt(target: Target, data: bytes) -> None:
    """Run it; only an error that is no answer gets through."""
    with contextlib.suppress(*target.errors):
        target.run(data)
