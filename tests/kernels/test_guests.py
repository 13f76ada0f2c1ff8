"""Every test of a guest is one here: it waits for what the guest tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from tests.kernels import guests
from tests.kernels.conftest import Fleet
from tests.kernels.guests import Guest


def test_in_a_guest(
    fleet: Fleet, guest: Guest, inner: str, record_property: Callable[[str, object], None]
) -> None:
    run = fleet.run(guest)
    while True:
        ended = not run.running()
        report = guests.reports(run).get(inner)
        if report is not None or ended:
            break
        time.sleep(0.2)
    if report is None:
        pytest.fail(f"{guest.name} ended without it:\n{run.tail()}\n{run.console()}", pytrace=False)
    record_property("where", (run.share / "where").read_text())
    if report["outcome"] == "skipped":
        pytest.skip(report["text"])
    if report["outcome"] == "failed":
        pytest.fail(f"{report['text']}\n{run.share}: what the host was then", pytrace=False)
