"""Members made of chunks that keep what they were compressed to, as gzip(1) reads them."""

from __future__ import annotations

import gzip
import subprocess
import sys
import zlib
from collections.abc import Sequence

import pytest

from nsexporter.gzip import Chunk, Gzip, Part, plain

LONG = b"nsexporter_cgroup_memory_usage_bytes 4096\n" * 5000
OTHER = b"nsexporter_namespaces 7\n" * 70_000


@pytest.mark.parametrize(
    "parts",
    [
        [],
        [b""],
        [Chunk(b"")],
        [b"# HELP a b.\n"],
        [Chunk(LONG)],
        [b"# HELP\n", Chunk(LONG), b"# TYPE\n", Chunk(b""), Chunk(OTHER), LONG, b"# EOF\n"],
        [Chunk(LONG), Chunk(OTHER), Chunk(b"nsexporter_up 1\n"), b"# EOF\n"],
    ],
    ids=["nothing", "empty", "empty chunk", "small", "one", "mixed", "side by side"],
)
def test_a_member_is_what_gzip_reads_whether_cached_or_not(parts: Sequence[Part]) -> None:
    text = plain(parts)
    member = Gzip()
    for _ in range(2):
        compressed = b"".join(member.member(parts))
        assert gzip.decompress(compressed) == text == plain(parts)
        subprocess.run(["gzip", "-t"], input=compressed, check=True)


def test_a_chunk_that_was_in_a_member_is_not_compressed_again() -> None:
    member = Gzip()
    long = Chunk(LONG)
    first = member.member([long, Chunk(OTHER)])
    changed = OTHER + b"nsexporter_up 1\n"
    second = member.member([long, Chunk(changed)])
    assert second[1] is first[1] and second[2] is not first[2]
    assert gzip.decompress(b"".join(second)) == LONG + changed
    member.member([b"nsexporter_up 1\n"])
    assert member.member([long])[1] is first[1]


def test_short_parts_that_are_the_same_objects_are_kept_too() -> None:
    member = Gzip()
    header, long = b"# HELP nsexporter_up Whether it is.\n", Chunk(LONG)
    first = member.member([header, long, b"nsexporter_passes_total 1\n"])
    second = member.member([header, long, b"nsexporter_passes_total 2\n"])
    assert second[1] is first[1] and second[2] is first[2] and second[3] != first[3]
    assert gzip.decompress(b"".join(second)).endswith(b"passes_total 2\n")


def test_of_a_chunk_only_what_it_was_compressed_to_is_kept() -> None:
    text = bytes(LONG + b"\n")
    before = sys.getrefcount(text)
    chunk = Chunk(text)
    assert bytes(chunk) is text
    Gzip().member([chunk])
    assert sys.getrefcount(text) == before
    assert len(chunk) == len(text)
    assert bytes(chunk) == text


def test_a_chunk_that_is_compressed_at_once_keeps_nothing_else() -> None:
    text, member = bytes(OTHER + b"\n"), Gzip()
    before = sys.getrefcount(text)
    chunk = member.chunk(text)
    assert sys.getrefcount(text) == before
    assert bytes(chunk) == text
    assert gzip.decompress(b"".join(member.member([chunk, member.chunk(b"# EOF\n")]))) == (
        text + b"# EOF\n"
    )


def test_chunks_of_the_same_bytes_are_equal_compressed_or_not() -> None:
    one, same, other = Chunk(LONG), Chunk(LONG + b""), Chunk(LONG[:-2] + b"7\n")
    for compressed in (False, True):
        if compressed:
            Gzip().member([one])
        assert one == same and same == one
        assert one != other and other != one
        assert one != Chunk(LONG[:-1]) and one != LONG


@pytest.mark.parametrize("length", [0, 1, 255, 256, 65537, 1 << 24 | 3])
def test_the_sum_of_two_parts_is_the_sum_of_both_together(length: int) -> None:
    first, second = b"nsexporter" * 500, bytes(length)
    member = b"".join(Gzip().member([Chunk(first), Chunk(second)]))
    assert member[-8:-4] == zlib.crc32(first + second).to_bytes(4, "little")
