"""seccomp(2): a thread that opens nothing for writing, runs nothing and changes no file."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Iterable

from nsexporter.libc import LIBC, checked
from nsexporter.sandbox.landlock import no_new_privileges

# asm/unistd_64.h of x86_64 and asm-generic/unistd.h of aarch64.
_AUDIT_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OPENAT = {"x86_64": (257, 2), "aarch64": (56, 2)}  # number, which argument has the flags
_OPEN = {"x86_64": (2, 1)}
_DENIED = {
    "x86_64": (
        41, 59, 62, 76, 82, 83, 84, 85, 86, 87, 88, 90, 91, 92, 93, 94, 101, 133, 161, 165, 166,
        175, 188, 189, 190, 200, 258, 259, 260, 263, 264, 265, 266, 268, 272, 280, 308, 311, 313,
        316, 321, 322,
    ),
    "aarch64": (
        5, 6, 7, 33, 34, 35, 36, 37, 38, 39, 40, 45, 51, 52, 53, 54, 55, 88, 97, 105, 117, 129,
        130, 198, 221, 268, 271, 273, 276, 280, 281,
    ),
}  # fmt: skip
"""In the order of their numbers: socket, execve, kill, tkill, truncate, rename, mkdir, rmdir,
creat, link, unlink, symlink, chmod, chown, ptrace, mknod, chroot, mount, umount, init_module,
setxattr and their *at and f* forms, unshare, utimensat, setns, process_vm_writev, bpf, execveat."""
_DENIED_EVERYWHERE = (425, *range(428, 434), 437, 442, 452)
"""io_uring_setup, open_tree to fspick, openat2 (its flags are out of sight), mount_setattr, ..."""
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

_LOAD, _EQUAL, _SET, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06  # linux/bpf_common.h
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _AUDIT_ARCH


def deny_writing() -> None:
    """From now on EPERM for whatever this thread might change; OSError where it cannot be set."""
    machine = platform.machine()
    if machine not in _AUDIT_ARCH:
        raise OSError(f"there is no filter for {machine}")
    steps = list(_program(machine))
    code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(
        struct.pack("HxxxxxxP", len(steps), ctypes.addressof(code))
    )
    no_new_privileges()
    checked(LIBC.prctl(_PR_SET_SECCOMP, _MODE_FILTER, program, 0, 0))


def _program(machine: str) -> Iterable[tuple[int, int, int, int]]:
    """(code, jump if true, jump if false, value); each test is followed by what it decides."""
    deny = (_RETURN, 0, 0, _DENY)
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, _AUDIT_ARCH[machine]
    yield deny
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, 0x40000000  # x32
    yield deny
    for number in (*_DENIED[machine], *_DENIED_EVERYWHERE):
        yield _EQUAL, 0, 1, number
        yield deny
    for number, argument in filter(None, (_OPENAT[machine], _OPEN.get(machine))):
        yield _EQUAL, 0, 4, number
        yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument  # its lower half, on little-endian machines
        yield _SET, 0, 1, _WRITING
        yield deny
        yield _LOAD, 0, 0, _NUMBER
    yield _RETURN, 0, 0, _ALLOW
