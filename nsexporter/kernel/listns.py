"""listns(2), since Linux 6.19: the ID of every namespace, and a descriptor of each by its ID."""

from __future__ import annotations

import ctypes
import os
import struct

from nsexporter.libc import LIBC, checked

_LISTNS = 470  # on all machines but alpha
_REQUEST = struct.Struct("=IIQIIQ")  # struct ns_id_req: size, -, last ID, types, -, user namespace
_HANDLE = struct.Struct("=IiQII")  # struct file_handle with a struct nsfs_file_handle
_FILEID_NSFS = 0xF1
_FD_NSFS_ROOT = -10003
_AT_ONCE = 1024
_IDS = ctypes.c_uint64 * _AT_ONCE


def ids() -> list[int]:
    """The IDs of the namespaces that we may know of; OSError where the kernel has no listns."""
    found: list[int] = []
    answer = _IDS()
    while True:
        last = found[-1] if found else 0
        request = _REQUEST.pack(_REQUEST.size, 0, last, 0, 0, 0)
        count = checked(LIBC.syscall(_LISTNS, request, answer, _AT_ONCE, 0))
        found += answer[:count]
        if count < _AT_ONCE:
            return found


def open_id(ns_id: int) -> int:
    """A descriptor of the namespace; OSError where it is gone, or not ours to open."""
    # Type and inode may be left out: an ID is never used again.
    handle = _HANDLE.pack(16, _FILEID_NSFS, ns_id, 0, 0)
    return checked(
        LIBC.open_by_handle_at(
            _FD_NSFS_ROOT, ctypes.create_string_buffer(handle), os.O_RDONLY | os.O_CLOEXEC
        )
    )
