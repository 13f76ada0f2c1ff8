"""The C library, for the system calls that Python has no function for."""

from __future__ import annotations

import ctypes
import os

LIBC = ctypes.CDLL(None, use_errno=True)


def trim() -> None:
    """Give memory back that is not in use any more, where glibc is the library."""
    if hasattr(LIBC, "malloc_trim"):
        LIBC.malloc_trim(0)


def checked(result: int, path: bytes | None = None) -> int:
    """What a function of LIBC has just returned; OSError, of this path, where that is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), None if path is None else os.fsdecode(path))
    return result
