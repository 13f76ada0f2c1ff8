"""Threads for answers that take a while."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Job = TypeVar("Job")
Client = TypeVar("Client")


@dataclass(slots=True)
class _Waiting(Generic[Client]):
    """Who waits for the answer to a job, and until when (monotonic seconds)."""

    clients: list[Client]
    deadline: float


class Workers(Generic[Job, Client]):
    """A few threads; clients whose equal jobs have not begun yet get one answer."""

    def __init__(self, count: int, work: Callable[[Job, list[Client], float], None]) -> None:
        self._work = work
        self._condition = threading.Condition()
        self._queue: dict[Job, _Waiting[Client]] = {}  # in the order they came
        self._stopping = False
        self._threads = [
            threading.Thread(target=self._run, name=f"answer-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Begin to work."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Begin nothing more."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()

    def __len__(self) -> int:
        """How many jobs have not begun."""
        return len(self._queue)

    def submit(self, job: Job, client: Client, deadline: float) -> None:
        """Have `work` called with the job, with all who wait for it, and the nearest deadline."""
        with self._condition:
            waiting = self._queue.setdefault(job, _Waiting([], deadline))
            waiting.clients.append(client)
            waiting.deadline = min(waiting.deadline, deadline)
            self._condition.notify()

    def _run(self) -> None:
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._queue or self._stopping)
                if self._stopping:
                    return
                job = next(iter(self._queue))
                waiting = self._queue.pop(job)
            self._work(job, waiting.clients, waiting.deadline)
