"""The scene that all tests of this directory look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import Need
from tests.grafana.scene import NEEDED, Scene, played


@pytest.fixture(scope="session")
def scene(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """Containers of all kinds, two of them OOM-killed."""
    missing = [name for name in NEEDED if shutil.which(name) is None]
    need("grafana", not missing and os.geteuid() == 0, f"not root, or not installed: {missing}")
    with played(tmp_path_factory.mktemp("lab"), tmp_path_factory.mktemp("stack")) as running:
        yield running
