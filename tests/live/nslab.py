"""Namespaces of the tests' own: a process that makes them, and what the kernel says of them."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from nsexporter.model import NS_TYPES
from tests.live import lab
from tests.samples import Samples, of
from tests.waiting import until

CLONE = dict(
    zip(
        NS_TYPES,
        (
            *(0x00020000, 0x20000000, 0x40000000, 0x08000000, 0x04000000),
            *(0x10000000, 0x02000000, 0x00000080),
        ),
        strict=True,
    )
)
"""CLONE_NEW* by type (unshare(2))."""

# Of a namespace that only processes of these tests are in, which systemd may run as a unit.
SCOPE = "service" if ".service\n" in Path("/proc/self/cgroup").read_text() else "other"

_SCRIPT = """
import ctypes, os, signal, sys, threading
libc = ctypes.CDLL(None, use_errno=True)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
def thread(work):  # its thread ID, once the work is done
    done = threading.Event()
    ids = []
    def run():
        work()
        ids.append(threading.get_native_id())
        done.set()
        threading.Event().wait()
    threading.Thread(target=run, daemon=True).start()
    done.wait()
    return ids[0]
for line in sys.stdin:
    print(repr(eval(line)), flush=True)
"""


class Actor:
    """Evaluates expressions; `call(name, *arguments)` and `thread(work)` are there, and `os`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.pid = process.pid
        self._process = process

    def do(self, expression: str) -> str:
        """The repr of what the expression gives."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(expression + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"{expression} failed"
        return answer.rstrip("\n")

    def unshare(self, *ns_types: str) -> None:
        """unshare(2) of these types at once."""
        self.do(f"call('unshare', {sum(CLONE[ns_type] for ns_type in ns_types)})")

    def alone(self, ns_type: str) -> str:
        """Unshare one namespace; the path of its link.

        A pid or time namespace is then one that no process is in.
        """
        self.unshare(ns_type)
        if ns_type == "pid":
            self.do("os.fork() or os._exit(0)")  # it exists once it has had a first process
        return f"/proc/{self.pid}/ns/{ns_type}{'_for_children' * (ns_type in ('pid', 'time'))}"

    def map_root(self) -> None:
        """Map root of the user namespace that was unshared to root of the one above it."""
        for name, text in (("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1")):
            self.do(f"open('/proc/self/{name}', 'w').write({text!r})")

    def setns(self, path: str) -> None:
        """setns(2) to the namespace at `path`."""
        self.do(f"call('setns', os.open({path!r}, os.O_RDONLY), 0)")


@contextlib.contextmanager
def actor(cgroup: Path | None = None) -> Iterator[Actor]:
    """An actor in our own namespaces, and in a cgroup or our own ones."""
    command = [sys.executable, "-c", _SCRIPT]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=None if cgroup is None else lambda: lab.enter(cgroup),
    ) as started:
        try:
            yield Actor(started)
        finally:
            os.killpg(started.pid, signal.SIGKILL)


def link(path: str) -> int:
    """The inode that a link of /proc/PID/ns names."""
    return int(os.readlink(path).split("[")[1][:-1])


def inode(pid: int, ns_type: str) -> int:
    """The inode of a process's namespace."""
    return link(f"/proc/{pid}/ns/{ns_type}")


def child(pid: int) -> int:
    """The first child of a process, once there is one."""
    return int(until(lambda: Path(f"/proc/{pid}/task/{pid}/children").read_text().split())[0])


def asked(path: str) -> dict[str, str]:
    """What the kernel says of the namespace at a path, as nsexporter_namespace_info would."""
    fd = os.open(path, os.O_RDONLY)
    try:
        ns_type = {flag: name for name, flag in CLONE.items()}[fcntl.ioctl(fd, 0xB703)]
        answers = {"ns_type": ns_type, "ns_inode": str(os.fstat(fd).st_ino)}
        for label, request in (("owner_ns_inode", 0xB701), ("parent_ns_inode", 0xB702)):
            with contextlib.suppress(OSError):
                above = fcntl.ioctl(fd, request)
                answers[label] = str(os.fstat(above).st_ino)
                if label == "owner_ns_inode" and ns_type != "user":
                    answers["owner_uid"] = _owner_uid(above)
                os.close(above)
        if ns_type == "user":
            answers["owner_uid"] = _owner_uid(fd)
        return answers
    finally:
        os.close(fd)


def _owner_uid(fd: int) -> str:
    answer = bytearray(4)
    fcntl.ioctl(fd, 0xB704, answer)
    return str(struct.unpack("=I", answer)[0])


def info(samples: Samples, ns_type: str, ns_inode: int) -> dict[str, str]:
    """The labels of a namespace's nsexporter_namespace_info, empty where it is not there."""
    wanted = {("ns_type", ns_type), ("ns_inode", str(ns_inode))}
    for name, labels in samples:
        if name == "nsexporter_namespace_info" and wanted <= labels:
            return dict(labels)
    return {}


def value(samples: Samples, name: str, ns_type: str, ns_inode: int) -> float | None:
    """The sample of nsexporter_NAME for a namespace."""
    return of(samples, f"nsexporter_{name}", ns_type=ns_type, ns_inode=str(ns_inode))
