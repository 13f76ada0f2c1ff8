"""A cgroup of a test's own, and a collector that sees it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from tests.conftest import Need
from tests.live import lab


@pytest.fixture
def top(need: Need) -> Iterator[Path]:
    """A cgroup in the hierarchy with memory, removed at the end with all below it."""
    with lab.own(need, "live") as made:
        yield made


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector(config.load(None, {}))
    yield made
    made.close()


@pytest.fixture
def v2(top: Path, need: Need) -> Path:
    """`top`, where memory is on v2."""
    need("v2", lab.version() == "v2", "memory is not on cgroup v2 here")
    return top


@pytest.fixture
def swap(need: Need) -> Iterator[None]:
    """Swap, the host's or on the device that $NSEXPORTER_TEST_SWAP names."""
    device = os.environ.get("NSEXPORTER_TEST_SWAP", "")
    there = len(Path("/proc/swaps").read_text().splitlines()) > 1
    need("swap", there or bool(device), "no swap, and no NSEXPORTER_TEST_SWAP to use as swap")
    if there:
        yield
        return
    with lab.swap_on(device):
        yield
