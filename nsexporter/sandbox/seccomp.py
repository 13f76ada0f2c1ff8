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

_MACHINES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}  # AUDIT_ARCH_* of linux/audit.h
# Numbers of asm/unistd_64.h of x86_64, and of asm-generic/unistd.h of aarch64, which has no call
# where there is None. From 424 on they are the same everywhere.
_OPENS = {"open": (2, None, 1), "openat": (257, 56, 2)}  # and which argument has the flags
_IOCTL = (16, 29)
_DENIED: dict[str, tuple[int, int | None]] = {
    # Files and directories made, moved, removed, or opened where the flags are out of sight.
    "truncate": (76, 45), "creat": (85, None), "mkdir": (83, None), "mkdirat": (258, 34),
    "rmdir": (84, None), "rename": (82, None), "renameat": (264, 38), "renameat2": (316, 276),
    "link": (86, None), "linkat": (265, 37), "unlink": (87, None), "unlinkat": (263, 35),
    "symlink": (88, None), "symlinkat": (266, 36), "mknod": (133, None), "mknodat": (259, 33),
    "open_by_handle_at": (304, 265), "openat2": (437, 437), "mq_open": (240, 180),
    "io_uring_setup": (425, 425),
    # What is told of a file: mode, owner, times, attributes.
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452),
    "chown": (92, None), "fchown": (93, 55), "lchown": (94, None), "fchownat": (260, 54),
    "utime": (132, None), "utimes": (235, None), "futimesat": (261, None), "utimensat": (280, 88),
    "setxattr": (188, 5), "lsetxattr": (189, 6), "fsetxattr": (190, 7), "setxattrat": (463, 463),
    "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "removexattrat": (466, 466), "file_setattr": (469, 469),
    # Other processes, and other programs.
    "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117), "kill": (62, 129),
    "tkill": (200, 130), "tgkill": (234, 131), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438),
    "process_vm_writev": (311, 271), "process_madvise": (440, 440), "socket": (41, 198),
    # Mounts, namespaces, and the kernel itself.
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51),
    "open_tree": (428, 428), "open_tree_attr": (467, 467), "move_mount": (429, 429),
    "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432), "fspick": (433, 433),
    "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "kexec_load": (246, 104), "kexec_file_load": (320, 294), "reboot": (169, 142),
    "swapon": (167, 224), "swapoff": (168, 225), "quotactl": (179, 60), "quotactl_fd": (443, 443),
    "acct": (163, 89), "sethostname": (170, 161), "setdomainname": (171, 162),
    "settimeofday": (164, 170), "adjtimex": (159, 171), "clock_settime": (227, 112),
    "clock_adjtime": (305, 266), "syslog": (103, 116), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "perf_event_open": (298, 241),
    "fanotify_init": (300, 262), "userfaultfd": (323, 282),
}  # fmt: skip
_NSFS = 0xB7  # the type of ioctl_nsfs(2)'s requests: others change a file without writing to it
_FIOCLEX = 0x5451
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

# linux/bpf_common.h
_LOAD, _AND, _EQUAL, _SET, _AT_LEAST, _RETURN = 0x20, 0x54, 0x15, 0x45, 0x35, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | errno.EPERM
_NUMBER, _ARCH, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
_PR_SET_SECCOMP, _MODE_FILTER = 22, 2


def supported() -> bool:
    """Whether there is a filter for this machine."""
    return platform.machine() in _MACHINES


def deny_writing() -> None:
    """From now on EPERM for whatever this thread might change; OSError where it cannot be set."""
    machine = platform.machine()
    if machine not in _MACHINES:
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
    deny, allow = (_RETURN, 0, 0, _DENY), (_RETURN, 0, 0, _ALLOW)
    column = list(_MACHINES).index(machine)
    yield _LOAD, 0, 0, _ARCH
    yield _EQUAL, 1, 0, _MACHINES[machine]
    yield deny
    yield _LOAD, 0, 0, _NUMBER
    yield _AT_LEAST, 0, 1, 0x40000000  # x32
    yield deny
    # Of arguments the lower half is looked at, on little-endian machines.
    for *numbers, argument in _OPENS.values():
        if (number := numbers[column]) is not None:
            yield _EQUAL, 0, 4, number
            yield _LOAD, 0, 0, _ARGUMENTS + 8 * argument
            yield _SET, 0, 1, _WRITING
            yield deny
            yield allow
    yield _EQUAL, 0, 6, _IOCTL[column]
    yield _LOAD, 0, 0, _ARGUMENTS + 8
    yield _EQUAL, 2, 0, _FIOCLEX
    yield _AND, 0, 0, 0xFF00
    yield _EQUAL, 0, 1, _NSFS << 8
    yield allow
    yield deny
    for both in _DENIED.values():
        if (number := both[column]) is not None:
            yield _EQUAL, 0, 1, number
            yield deny
    yield allow
