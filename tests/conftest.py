"""Skips with a reason, which NSEXPORTER_TEST_REQUIRE turns into failures."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

Need = Callable[[str, bool, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the golden expositions anew"
    )


@pytest.fixture(scope="session")
def need() -> Need:
    """`need(suite, there, reason)`: skip where it is not there, or fail where it must be."""
    required = set(filter(None, os.environ.get("NSEXPORTER_TEST_REQUIRE", "").split(",")))

    def check(suite: str, there: bool, reason: str) -> None:
        if there:
            return
        if suite in required:
            pytest.fail(f"{suite} is required here, but {reason}")
        pytest.skip(reason)

    return check
