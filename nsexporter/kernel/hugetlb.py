"""The names of the hugetlb controller's files, which hold the sizes that the kernel has."""

from __future__ import annotations

import os

_V1_KINDS = ("usage_in_bytes", "limit_in_bytes", "max_usage_in_bytes", "failcnt")
_V2_KINDS = ("current", "max")


def files(sysfs: str, *, v1: bool) -> tuple[str, ...]:
    """hugetlb.SIZE.KIND of every size, in use and reserved; none without huge pages."""
    try:
        names = sorted(os.listdir(f"{sysfs}/kernel/mm/hugepages"))
    except FileNotFoundError:
        return ()
    sizes = [int(name.removeprefix("hugepages-").removesuffix("kB")) for name in names]
    own = _V1_KINDS if v1 else _V2_KINDS
    kinds = [*own, *(f"rsvd.{kind}" for kind in own), "numa_stat"]
    if not v1:
        kinds.append("events.local")
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
