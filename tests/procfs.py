"""A procfs made of plain files, for tests of what is counted by directories' links."""

from __future__ import annotations

from pathlib import Path

from tests.conftest import Need


def counting(directory: Path, need: Need) -> Path:
    """An empty one, whose link count tells how many directories are in it, as /proc's does."""
    root = directory / "proc"
    root.mkdir()
    need("unit", root.stat().st_nlink == 2, "this file system does not count directories")
    return root
