"""The names of the hugetlb controller's files, which hold the sizes that the kernel has."""

from __future__ import annotations

import os

V1_KINDS = ("usage_in_bytes", "limit_in_bytes", "max_usage_in_bytes", "failcnt")
V2_KINDS = ("current", "max", "events.local")


def files(sysfs: str, *, v1: bool) -> tuple[str, ...]:
    """hugetlb.SIZE.KIND of every size, without the reservations; none without huge pages."""
    try:
        names = sorted(os.listdir(f"{sysfs}/kernel/mm/hugepages"))
    except FileNotFoundError:
        return ()
    sizes = [int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names]
    kinds = V1_KINDS if v1 else V2_KINDS
    return tuple(f"hugetlb.{size_name(size)}.{kind}" for size in sizes for kind in kinds)


def size_name(kilobytes: int) -> str:
    """A size as the controller's files write it (mem_fmt in mm/hugetlb_cgroup.c).

    >>> size_name(64), size_name(2048), size_name(1048576)
    ('64KB', '2MB', '1GB')
    """
    for unit in ("KB", "MB"):
        if kilobytes < 1024:
            return f"{kilobytes}{unit}"
        kilobytes //= 1024
    return f"{kilobytes}GB"
