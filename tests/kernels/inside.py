"""In a guest: pytest, a line of JSON for each test and, where one fails, a copy of the host."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

import pytest

from tests import capture, tested_on
from tests.kernels.guests import SHARE


class Reports:
    """Writes what each test did to the share: {id, outcome, text, seconds}."""

    def __init__(self, share: Path) -> None:
        self._file = open(share / "reports", "w", buffering=1)  # noqa: SIM115 (for the whole run)
        self._share = share
        self._failed = 0
        self._phases: list[pytest.TestReport] = []

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._phases.append(report)
        if report.when != "teardown":
            return
        told = next((phase for phase in self._phases if not phase.passed), report)
        text = told.longreprtext
        if told.skipped and isinstance(told.longrepr, tuple):
            text = told.longrepr[2].removeprefix("Skipped: ")
        sections = "".join(f"\n--- {name} ---\n{content}" for name, content in told.sections)
        self._file.write(
            json.dumps(
                {
                    "id": told.nodeid,
                    "outcome": told.outcome,
                    "text": text + sections if told.failed else text,
                    "seconds": round(sum(phase.duration for phase in self._phases), 3),
                }
            )
            + "\n"
        )
        self._phases.clear()

    @pytest.hookimpl(tryfirst=True)
    def pytest_exception_interact(self, node: pytest.Item) -> None:
        """Before the fixtures are torn down, so that the test's own cgroups are still there."""
        self._failed += 1
        place = self._share / f"failure-{self._failed}"
        (place.with_suffix(".txtar")).write_text(
            capture.capture(Path("/proc"), Path("/sys"), comment=node.nodeid), encoding="utf-8"
        )
        (place.with_suffix(".kmsg")).write_bytes(kernel_log())


def kernel_log() -> bytes:
    """Every record that the kernel log holds."""
    records = []
    fd = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK)
    try:
        while True:
            try:
                records.append(os.read(fd, 8192))
            except BlockingIOError:
                return b"".join(records)
            except BrokenPipeError:
                continue  # records were overwritten before they were read
    finally:
        os.close(fd)


def main(ids: list[str]) -> int:
    (SHARE / "where").write_text(json.dumps(dataclasses.asdict(tested_on.here())))
    arguments = ["-p", "no:cacheprovider", "-v", "--durations=15", *ids]
    status = pytest.main(arguments, plugins=[Reports(SHARE)])
    (SHARE / "kmsg").write_bytes(kernel_log())
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
