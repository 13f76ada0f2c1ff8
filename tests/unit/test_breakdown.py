"""What is told by NUMA node and by huge page size, from texts as the kernel writes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nsexporter.catalogue.breakdown import BREAKDOWN_METRICS
from nsexporter.families import breakdown
from nsexporter.families.columns import Columns
from nsexporter.families.samples import Samples
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
pagetables N0=20480 N1=0
workingset_refault_file N0=7 N1=0
pgdemote_kswapd N0=3 N1=0"""


def columns(hierarchy: str, files: Mapping[str, bytes]) -> Columns:
    cgroup = Cgroup(path="/a", parent=-1, identity=Identity(kind="other"), files=files)
    return Columns(replace(NOTHING, hierarchy=hierarchy, cgroups=(cgroup,)))


def told(
    samples: Callable[[Columns], Samples], hierarchy: str, files: Mapping[str, bytes]
) -> dict[tuple[str, ...], float | bytes]:
    """The values by the labels that are not the cgroup's, in their order."""
    found = {}
    for pairs, value in samples(columns(hierarchy, files)):
        assert pairs[0] == ("cgroup", "/a")
        found[tuple(text for _, text in pairs[1:])] = value
    return found


def test_nodes_of_v1_are_in_bytes_and_with_all_below() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    assert told(breakdown.numa, "v1", {"memory.numa_stat": V1}) == {
        ("0", "file"): 13 * page,
        ("1", "file"): 5 * page,
        ("0", "anon"): 7 * page,
        ("1", "anon"): 5 * page,
        ("0", "unevictable"): 0,
        ("1", "unevictable"): 0,
    }


def test_nodes_of_v2_are_the_sums_of_both_lists() -> None:
    assert told(breakdown.numa, "v2", {"memory.numa_stat": V2}) == {
        ("0", "anon"): 8192,
        ("1", "anon"): 8192,
        ("0", "file"): 12288,
        ("1", "file"): 0,
        ("0", "unevictable"): 0,
        ("1", "unevictable"): 4096,
    }


def test_every_key_of_v1_is_in_bytes() -> None:
    page = os.sysconf("SC_PAGE_SIZE")
    found = told(breakdown.numa_stat(counted=False), "v1", {"memory.numa_stat": V1})
    keys = ("total", "file", "anon", "unevictable")
    assert {key for _, key in found} == {*keys, *(f"hierarchical_{key}" for key in keys)}
    assert found["1", "total"] == 5 * page
    assert found["0", "hierarchical_total"] == 20 * page
    assert len(found) == 16
    assert told(breakdown.numa_stat(counted=True), "v1", {"memory.numa_stat": V1}) == {}


def test_every_key_of_v2_is_an_amount_or_a_count() -> None:
    files = {"memory.numa_stat": V2}
    found = told(breakdown.numa_stat(counted=False), "v2", files)
    assert found["0", "anon"] == 999
    assert found["0", "pagetables"] == 20480
    counts = told(breakdown.numa_stat(counted=True), "v2", files)
    assert counts == {
        ("0", "workingset_refault_file"): 7,
        ("1", "workingset_refault_file"): 0,
        ("0", "pgdemote_kswapd"): 3,
        ("1", "pgdemote_kswapd"): 0,
    }
    assert len(found) + len(counts) == 2 * V2.count(b"N0=")


def test_a_malformed_text_is_counted_and_absent() -> None:
    made = columns("v2", {"memory.numa_stat": b"anon N0"})
    assert list(breakdown.numa(made)) == []
    assert made.malformed == {"memory.numa_stat": 1}


def test_huge_pages_are_told_of_every_size_that_the_kernel_has(tmp_path: Path) -> None:
    for size in ("2048kB", "1048576kB"):
        (tmp_path / "kernel" / "mm" / "hugepages" / f"hugepages-{size}").mkdir(parents=True)
    assert hugetlb.files(str(tmp_path), v1=False)[:6] == (
        "hugetlb.1GB.current",
        "hugetlb.1GB.max",
        "hugetlb.1GB.rsvd.current",
        "hugetlb.1GB.rsvd.max",
        "hugetlb.1GB.numa_stat",
        "hugetlb.1GB.events.local",
    )
    assert hugetlb.files(str(tmp_path), v1=True)[9:] == (
        "hugetlb.2MB.usage_in_bytes",
        "hugetlb.2MB.limit_in_bytes",
        "hugetlb.2MB.max_usage_in_bytes",
        "hugetlb.2MB.failcnt",
        "hugetlb.2MB.rsvd.usage_in_bytes",
        "hugetlb.2MB.rsvd.limit_in_bytes",
        "hugetlb.2MB.rsvd.max_usage_in_bytes",
        "hugetlb.2MB.rsvd.failcnt",
        "hugetlb.2MB.numa_stat",
    )


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("usage_bytes", {("1GB",): b"0", ("2MB",): b"4194304"}),
        ("limit_bytes", {("2MB",): b"+Inf"}),
        ("failcnt_total", {("1GB",): b"5", ("2MB",): b"3"}),
        ("reserved_bytes", {("1GB",): b"1073741824", ("2MB",): b"6291456"}),
        ("reserved_limit_bytes", {("1GB",): b"+Inf", ("2MB",): b"8388608"}),
        ("reserved_peak_bytes", {("1GB",): b"2147483648"}),
        ("reserved_failcnt_total", {("1GB",): b"1"}),
        (
            "numa_bytes",
            {("1GB", "0"): 7, ("1GB", "1"): 8, ("2MB", "0"): 4194304, ("2MB", "1"): 0},
        ),
    ],
)
def test_huge_pages_in_use_and_reserved(
    name: str, expected: dict[tuple[str, ...], float | bytes]
) -> None:
    two = {
        "current": b"4194304",
        "max": b"max",
        "events.local": b"max 3",
        "rsvd.current": b"6291456",
        "rsvd.max": b"8388608",
        "numa_stat": b"total=4194304 N0=4194304 N1=0",
    }
    one = {
        "usage_in_bytes": b"0",
        "failcnt": b"5",
        "rsvd.usage_in_bytes": b"1073741824",
        "rsvd.limit_in_bytes": b"9223372036854771712",
        "rsvd.max_usage_in_bytes": b"2147483648",
        "rsvd.failcnt": b"1",
        "numa_stat": b"total=9 N0=9 N1=0\nhierarchical_total=15 N0=7 N1=8",
    }
    files = {f"hugetlb.2MB.{kind}": text for kind, text in two.items()}
    files |= {f"hugetlb.1GB.{kind}": text for kind, text in one.items()}
    (row,) = (row for row in BREAKDOWN_METRICS if row.name == f"nsexporter_cgroup_hugetlb_{name}")
    assert row.samples is not None
    assert told(row.samples, "v1", files) == expected
