"""No thread of the exporter can write outside its state directory, whatever a bug makes it do.

A thread under Landlock cannot read /proc/PID/ns of others (hook_ptrace_access_check in
security/landlock/task.c), so one thread, which only reads the host, has a seccomp filter instead.
"""

from __future__ import annotations

import logging
import os
import queue
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Any, TypeVar, cast

from nsexporter.sandbox import landlock, seccomp

log = logging.getLogger(__name__)

T = TypeVar("T")

_ANOTHERS_ROOT = re.compile(r"(^|/)\d+/(root|cwd)(/|$)")


def held(path: str) -> str:
    """A directory by a descriptor of our own where it is behind /proc/PID/root, else the path.

    Landlock hides what is behind another process's links. OSError where it cannot be opened.
    """
    if not _ANOTHERS_ROOT.search(path):
        return path
    return f"/proc/self/fd/{os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)}"


class Elsewhere:
    """A thread that makes calls for others, one at a time."""

    def __init__(self, name: str, prepare: Callable[[], None]) -> None:
        """Raises what `prepare`, the thread's first call, raises."""
        self._calls: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()
        self.call(prepare)

    def call(self, function: Callable[[], T]) -> T:
        """What the function gives or raises, there."""
        future: Future[Any] = Future()
        self._calls.put((function, future))
        return cast(T, future.result())

    def _run(self) -> None:
        while True:
            function, future = self._calls.get()
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)


class Sandbox:
    """What confines this process: the version of Landlock, 0 where nothing does."""

    def __init__(self) -> None:
        self.version = 0
        self._elsewhere: Elsewhere | None = None

    def enter(self, writable: Mapping[str, int]) -> None:
        """Confine this thread and those it starts; OSError where the kernel cannot."""
        if not seccomp.supported():
            raise OSError("there is no seccomp filter for this machine")
        elsewhere = Elsewhere("namespaces", seccomp.deny_writing)
        landlock.restrict(
            {path: rights for path, rights in writable.items() if os.path.isdir(path)}
        )
        self.version, self._elsewhere = landlock.version(), elsewhere

    def reading(self, function: Callable[[], T], /) -> T:
        """What a function gives that only reads the host, called in a thread that can do no more.

        There it may read what ptrace_may_access() protects, and opens a file without Landlock's
        looking for what it may do to it all the way up, which takes 1.6 us.
        """
        return function() if self._elsewhere is None else self._elsewhere.call(function)
