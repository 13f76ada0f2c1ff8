"""How long a test may wait: $NSEXPORTER_TEST_SLOWNESS times longer on an emulated processor."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

SLOWNESS = float(os.environ.get("NSEXPORTER_TEST_SLOWNESS", "1"))


def deadline(seconds: float) -> float:
    """The monotonic time so many seconds from now, on a host."""
    return time.monotonic() + seconds * SLOWNESS


def until(told: Callable[[], T | None], seconds: float = 20) -> T:
    """What `told` says as soon as that is true; the test fails where it is not in time."""
    end = deadline(seconds)
    while not (answer := told()):
        assert time.monotonic() < end, f"waited {seconds} s, last for {answer!r}"
        time.sleep(0.01)
    return answer
