"""Members of cached segments, as gzip(1) and Python's gzip read them."""

from __future__ import annotations

import gzip
import subprocess

import pytest

from nsexporter.gzip import Gzip

LONG = b"nsexporter_cgroup_memory_usage_bytes 4096\n" * 5000
OTHER = b"nsexporter_namespaces 7\n" * 70_000


@pytest.mark.parametrize(
    "chunks",
    [
        [],
        [b""],
        [b"# HELP a b.\n"],
        [LONG],
        [b"# HELP\n", LONG, b"# TYPE\n", b"", OTHER, LONG, b"# EOF\n"],
    ],
    ids=["nothing", "empty", "small", "one", "mixed"],
)
def test_a_member_is_what_gzip_reads_whether_cached_or_not(chunks: list[bytes]) -> None:
    member = Gzip()
    for _ in range(2):
        compressed = b"".join(member.member(chunks))
        assert gzip.decompress(compressed) == b"".join(chunks)
        subprocess.run(["gzip", "-t"], input=compressed, check=True)


def test_only_chunks_that_are_not_those_of_the_last_member_are_compressed_again() -> None:
    member = Gzip()
    first = member.member([LONG, OTHER])
    changed = OTHER + b"nsexporter_up 1\n"
    second = member.member([LONG, changed])
    assert second[1] is first[1] and second[2] is not first[2]
    assert gzip.decompress(b"".join(second)) == LONG + changed


def test_short_chunks_that_are_the_same_objects_are_kept_too() -> None:
    member = Gzip()
    header = b"# HELP nsexporter_up Whether it is.\n"
    first = member.member([header, LONG, b"nsexporter_passes_total 1\n"])
    second = member.member([header, LONG, b"nsexporter_passes_total 2\n"])
    assert second[1] is first[1] and second[2] is first[2] and second[3] != first[3]
    assert gzip.decompress(b"".join(second)).endswith(b"passes_total 2\n")
