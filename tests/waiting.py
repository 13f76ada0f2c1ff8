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


def until(told: Callable[[], T], seconds: float = 10) -> T:
    """What `told` says as soon as it is true, else what it says at the end."""
    end = deadline(seconds)
    while not (answer := told()) and time.monotonic() < end:
        time.sleep(0.01)
    return answer
