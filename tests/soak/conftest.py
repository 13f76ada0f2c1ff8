"""A cgroup of a test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab


@pytest.fixture
def top(need: Need) -> Iterator[Path]:
    """A cgroup in the hierarchy with memory, removed at the end with all below it."""
    with lab.own(need, "soak") as made:
        yield made
