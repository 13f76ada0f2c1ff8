"""The checkout, as git has it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.documents import ROOT


def copied(directory: Path) -> Path:
    """The files that git tracks, or would, in another place and with other times."""
    names = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.split(b"\0")
    for name in filter(None, map(os.fsdecode, names)):
        if (ROOT / name).exists():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, directory / name)
    return directory
