"""Guests are booted when the first of their tests is due, the next ones beside it."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import Need
from tests.kernels import guests, images
from tests.kernels.guests import GUESTS, Guest, Run


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--guest", action="append", choices=GUESTS, help="only this guest (repeatable)"
    )
    parser.addoption(
        "--at-once",
        type=int,
        default=len(os.sched_getaffinity(0)),
        metavar="N",
        help="how many guests run at a time (default: as many as there are processors)",
    )


@functools.cache
def collected(tests: tuple[str, ...]) -> tuple[str, ...]:
    """The ids of the tests in these directories, as pytest finds them."""
    told = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "--no-header", *tests],
        cwd=guests.CHECKOUT,
        capture_output=True,
        text=True,
    )
    if told.returncode:
        raise RuntimeError(f"pytest cannot collect {' '.join(tests)}:\n{told.stdout}{told.stderr}")
    return tuple(line for line in told.stdout.splitlines() if "::" in line)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "inner" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--guest") or list(GUESTS)
        pairs = [
            (GUESTS[name], inner) for name in chosen for inner in collected(GUESTS[name].tests)
        ]
        ids = [f"{guest.name}-{inner}" for guest, inner in pairs]
        metafunc.parametrize(("guest", "inner"), pairs, ids=ids)


class Fleet:
    """The guests of this session, each booted once with all of its selected tests."""

    def __init__(self, selected: dict[Guest, list[str]], at_once: int, stack: ExitStack) -> None:
        self._selected = selected
        self._at_once = at_once
        self._stack = stack
        self._runs: dict[str, Run | guests.GuestError] = {}

    def run(self, guest: Guest) -> Run:
        """The run of a guest; others that wait are booted beside it, as many as are allowed."""
        for other in (guest, *self._selected):
            running = sum(isinstance(r, Run) and r.running() for r in self._runs.values())
            if other.name not in self._runs and (other is guest or running < self._at_once):
                self._runs[other.name] = self._boot(other)
        run = self._runs[guest.name]
        if isinstance(run, guests.GuestError):
            raise run
        return run

    def _boot(self, guest: Guest) -> Run | guests.GuestError:
        directory = guests.CHECKOUT / "build" / "kernels" / guest.name
        command = guests.test_command(self._selected[guest])
        try:
            return self._stack.enter_context(
                guests.boot(guest, command, directory, guests.environment(guest))
            )
        except guests.GuestError as error:
            return error


@pytest.fixture(scope="session")
def fleet(request: pytest.FixtureRequest, need: Need) -> Iterator[Fleet]:
    selected: dict[Guest, list[str]] = {}
    for item in request.session.items:
        if isinstance(item, pytest.Function) and hasattr(item, "callspec"):
            guest, inner = map(item.callspec.params.get, ("guest", "inner"))
            if isinstance(guest, Guest) and isinstance(inner, str):
                selected.setdefault(guest, []).append(inner)
    try:
        for guest in selected:
            images.check()
            images.kernel(guest.suite)
    except images.UnavailableError as error:
        need("kernels", False, str(error))
    with ExitStack() as stack:
        yield Fleet(selected, request.config.getoption("--at-once"), stack)
