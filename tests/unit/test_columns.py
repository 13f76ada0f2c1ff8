"""A snapshot by columns."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nsexporter.families.columns import Columns, Memo
from nsexporter.model import Cgroup, Identity
from tests.snapshots import NOTHING


def columns(stats: list[bytes | None], memo: Memo | None = None) -> Columns:
    """Of cgroups with these texts of memory.stat."""
    cgroups = tuple(
        Cgroup(
            path=f"/{number}",
            parent=-1,
            identity=Identity(kind="other"),
            files={} if text is None else {"memory.stat": text},
        )
        for number, text in enumerate(stats)
    )
    return Columns(replace(NOTHING, cgroups=cgroups), memo)


@pytest.mark.parametrize("text", [b"cache 1\nrss 2\ncache 3\n", b"cache\n", b"cache x\n"])
def test_a_malformed_memory_stat_costs_itself_only(text: bytes) -> None:
    made = columns([b"cache 1\nrss 2\n", text, b"rss 3\n", None])
    assert [*made.stat(b"cache")] == [b"1", None, None, None]
    assert [*made.stat(b"rss")] == [b"2", None, b"3", None]
    assert made.malformed == {"memory.stat": 1}


def test_a_malformed_text_counts_until_it_is_another_one() -> None:
    memo: Memo = {}
    passes: list[tuple[list[bytes | None], int]] = [
        ([b"cache 1\n", b"x\n", b"x\n"], 2),
        ([b"cache 1\n", b"x\n", b"cache 2\n"], 1),
        ([b"x\n"], 1),
        ([b"cache 1\n"], 0),
    ]
    for stats, malformed in passes:
        made = columns(stats, memo)
        assert made.stat(b"cache") == columns(stats).stat(b"cache")
        assert made.malformed["memory.stat"] == malformed


def test_columns_of_one_value_are_one_until_they_are_not() -> None:
    memo: Memo = {}
    made = columns([b"cache 0\nrss 0\n"] * 3, memo)
    cache, rss = made.stat(b"cache"), made.stat(b"rss")
    assert cache is rss
    made = columns([b"cache 0\nrss 0\n", b"cache 0\nrss 7\n", b"cache 0\nrss 0\n"], memo)
    assert made.stat(b"cache") is cache
    assert [*made.stat(b"rss")] == [b"0", b"7", b"0"]
    assert [*cache] == [b"0", b"0", b"0"]
