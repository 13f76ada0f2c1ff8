"""landlock(7): a thread, and those it starts, that can only write where it was said before."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping

from nsexporter.libc import LIBC, checked

# LANDLOCK_ACCESS_FS_*
WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE_DIR, MAKE_REG, TRUNCATE = (
    1 << bit for bit in (1, 4, 5, 7, 8, 14)
)
REPLACE = WRITE_FILE | REMOVE_FILE | MAKE_REG | TRUNCATE
"""What writing a file atomically takes, in its directory."""

# All rights of the file system but to read: of the first version, and what later ones added.
_WRITING = ((1, 0x1FFF & ~0b1100), (2, 1 << 13), (3, 1 << 14), (5, 1 << 15))
_TCP = 0b11  # bind and connect, since version 4
_SCOPES = 0b11  # abstract unix sockets and signals of others, since version 6

# The numbers are the same on every architecture.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1  # LANDLOCK_CREATE_RULESET_VERSION
_PATH_BENEATH = 1
_PR_SET_NO_NEW_PRIVS = 38


def version() -> int:
    """The version of Landlock that the kernel has; 0 where it has none."""
    try:
        return _syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(writable: Mapping[str, int]) -> None:
    """Let this thread write nothing but what `writable` grants: rights below directories.

    It runs no program, opens and accepts no TCP port any more, signals no process but its own
    kind, and asks no other process's ptrace-protected files: /proc/PID/ns, for one. OSError where
    the kernel has no Landlock or a directory is not there.
    """
    abi = version()
    if not abi:
        raise OSError("this kernel has no Landlock")
    handled = sum(rights for since, rights in _WRITING if since <= abi)
    tcp, scopes = _TCP if abi >= 4 else 0, _SCOPES if abi >= 6 else 0
    attributes = struct.pack("QQQ", handled, tcp, scopes)
    ruleset = _syscall(_CREATE_RULESET, attributes, len(attributes), 0)
    try:
        for path, rights in writable.items():
            if not rights & handled:
                continue  # this kernel does not take it away
            directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                rule = struct.pack("=Qi", rights & handled, directory)
                _syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
            finally:
                os.close(directory)
        no_new_privileges()
        _syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def no_new_privileges() -> None:
    """Keep this thread, and those it starts, from gaining privileges by running a program."""
    checked(LIBC.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))


def _syscall(number: int, *arguments: int | bytes | None) -> int:
    return checked(LIBC.syscall(number, *arguments))
