"""The loop with a real collector: who waits, and for how many passes."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.loop import Loop
from nsexporter.model import Snapshot
from tests.waiting import until


class Slow(Collector):
    """Its passes begin, tell so, and end when they are let."""

    def __init__(self) -> None:
        super().__init__(config.load(None, {"collection.interval": 3600.0}))
        self.began = threading.Semaphore(0)
        self.let = threading.Semaphore(0)

    def collect(self) -> Snapshot:
        self.began.release()
        assert self.let.acquire(timeout=20)
        return super().collect()


@pytest.fixture
def slow() -> Iterator[Slow]:
    yield Slow()


def test_who_asks_while_a_pass_is_under_way_gets_that_one_and_no_other_follows(slow: Slow) -> None:
    loop = Loop(slow)
    loop.start()
    try:
        assert slow.began.acquire(timeout=20)
        assert [loop.fresh(0, budget=0) for _ in range(3)] == [None] * 3
        slow.let.release()
        until(lambda: loop.published is not None, 20)
        assert not slow.began.acquire(timeout=0.2)
        assert loop.fresh(0, budget=0) is loop.published
        assert slow.began.acquire(timeout=20), "it was too old"
        slow.let.release()
        published = loop.fresh(0, budget=20)
        assert published is not None
        assert published.number == 2
    finally:
        slow.let.release(100)
        loop.stop(20)


def test_what_asks_for_a_pass_from_now_on_gets_one_after_that_under_way(slow: Slow) -> None:
    loop = Loop(slow)
    loop.start()
    try:
        assert slow.began.acquire(timeout=20)
        loop.look()
        slow.let.release(2)
        until(lambda: loop.published is not None and loop.published.number == 2, 20)
    finally:
        slow.let.release(100)
        loop.stop(20)
