"""What is told by NUMA node and by huge page size, from texts as the kernel writes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from nsexporter import breakdown
from nsexporter.columns import Columns
from nsexporter.kernel import hugetlb
from nsexporter.model import Cgroup, Identity
from tests.snapshots import NOTHING

V1 = b"""total=20 N0=15 N1=5
file=8 N0=8 N1=0
anon=12 N0=7 N1=5
unevictable=0 N0=0 N1=0
hierarchical_total=30 N0=20 N1=10
hierarchical_file=18 N0=13 N1=5
hierarchical_anon=12 N0=7 N1=5
hierarchical_unevictable=0 N0=0 N1=0"""
V2 = b"""anon N0=999 N1=999
inactive_anon N0=4096 N1=8192
active_anon N0=4096 N1=0
inactive_file N0=0 N1=0
active_file N0=12288 N1=0
unevictable N0=0 N1=4096
workingset_refault_file N0=7 N1=0"""


def columns(hierarchy: str, files: Mapping[str, bytes]) -> Columns:
    cgroup = Cgroup(path="/a", parent=-1, identity=Identity(kind="other"), files=files)
    return Columns(replace(NOTHING, hierarchy=hierarchy, cgroups=(cgroup,)))


def told(hierarchy: str, text: bytes) -> dict[tuple[str, str], float | bytes]:
    samples = breakdown.numa(columns(hierarchy, {"memory.numa_stat": text}))
    return {(dict(pairs)["list"], dict(pairs)["node"]): value for pairs, value in samples}


def test_nodes_of_v1_are_in_bytes_and_with_all_below() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    assert told("v1", V1) == {
        ("file", "0"): 13 * page,
        ("file", "1"): 5 * page,
        ("anon", "0"): 7 * page,
        ("anon", "1"): 5 * page,
        ("unevictable", "0"): 0,
        ("unevictable", "1"): 0,
    }


def test_nodes_of_v2_are_the_sums_of_both_lists() -> None:
    assert told("v2", V2) == {
        ("anon", "0"): 8192,
        ("anon", "1"): 8192,
        ("file", "0"): 12288,
        ("file", "1"): 0,
        ("unevictable", "0"): 0,
        ("unevictable", "1"): 4096,
    }


def test_a_malformed_text_is_counted_and_absent() -> None:
    made = columns("v2", {"memory.numa_stat": b"anon N0"})
    assert list(breakdown.numa(made)) == []
    assert made.malformed == {"memory.numa_stat": 1}


def test_huge_pages_of_every_size_that_the_kernel_has(tmp_path: Path) -> None:
    for size in ("2048kB", "1048576kB"):
        (tmp_path / "kernel" / "mm" / "hugepages" / f"hugepages-{size}").mkdir(parents=True)
    assert hugetlb.files(str(tmp_path), v1=False)[:3] == (
        "hugetlb.1GB.current",
        "hugetlb.1GB.max",
        "hugetlb.1GB.events.local",
    )
    assert "hugetlb.2MB.failcnt" in hugetlb.files(str(tmp_path), v1=True)
    made = columns(
        "v1",
        {
            "hugetlb.2MB.current": b"4194304",
            "hugetlb.2MB.max": b"max",
            "hugetlb.2MB.events.local": b"max 3",
            "hugetlb.1GB.usage_in_bytes": b"0",
            "hugetlb.1GB.failcnt": b"5",
        },
    )
    two = (("cgroup", "/a"), ("size", "2MB"))
    one = (("cgroup", "/a"), ("size", "1GB"))
    assert list(breakdown.hugetlb("usage_in_bytes", "current")(made)) == [
        (two, b"4194304"),
        (one, b"0"),
    ]
    assert list(breakdown.hugetlb("limit_in_bytes", "max")(made)) == [(two, b"+Inf")]
    assert list(breakdown.hugetlb("failcnt", "events.local", b"max")(made)) == [
        (two, b"3"),
        (one, b"5"),
    ]
