"""A process of the tests' own that makes syscalls when it is told to."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator

from nsexporter.model import NS_TYPES

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

    def setns(self, path: str) -> None:
        """setns(2) to the namespace at `path`."""
        self.do(f"call('setns', os.open({path!r}, os.O_RDONLY), 0)")


@contextlib.contextmanager
def actor() -> Iterator[Actor]:
    """An actor in our own namespaces and cgroups."""
    command = [sys.executable, "-c", _SCRIPT]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as started:
        try:
            yield Actor(started)
        finally:
            started.kill()
