"""Files that the exporter writes: whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_atomically(path: Path, chunks: Iterable[bytes]) -> None:
    """The chunks as a file that is there whole or not at all, readable by all.

    A symbolic link stays one, and what is no file, as /dev/stdout, is written to, not replaced.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        with path.open("wb") as device:
            device.writelines(chunks)
        return
    path = path.resolve()
    # Named as tempfile would; that loads OpenSSL for its random numbers, 5 MB.
    new = path.with_name(f".{path.name}.{os.urandom(4).hex()}")
    with new.open("xb") as file:
        try:
            os.fchmod(file.fileno(), 0o644)
            file.writelines(chunks)
            file.flush()
            os.replace(new, path)
        except BaseException:
            os.unlink(new)
            raise
