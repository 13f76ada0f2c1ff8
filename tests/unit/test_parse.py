"""Pure parsers, by rows."""

from __future__ import annotations

import pytest

from nsexporter.kernel import parse
from nsexporter.kernel.parse import Mount, ParseError


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"0", b"0"),
        (b"67108864", b"67108864"),
        (b"max", b"+Inf"),
        (b"9223372036854771712", b"+Inf"),  # 4 KiB pages
        (b"9223372036854710272", b"+Inf"),  # 64 KiB pages
        (b"9223372036854775807", b"+Inf"),
        (b"9223372036854644735", b"9223372036854644735"),
        (b"1000000000000000000", b"1000000000000000000"),
    ],
)
def test_a_limit_is_a_number_or_inf(text: bytes, expected: bytes) -> None:
    assert parse.limit(text) == expected


@pytest.mark.parametrize("text", [b"", b"-1", b"max ", b"1 2", b"12\n", b"Max", b"\xff"])
def test_what_is_no_limit_is_an_error(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse.limit(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"oom_kill_disable 0\nunder_oom 0", {b"oom_kill_disable": b"0", b"under_oom": b"0"}),
        (b"a 1\nnew_key 2\n", {b"a": b"1", b"new_key": b"2"}),
    ],
)
def test_flat_keyed_files_are_read(text: bytes, expected: dict[bytes, bytes]) -> None:
    assert parse.flat_keyed(text) == expected


@pytest.mark.parametrize("text", [b"a", b"a b", b"a 1 b", b"a -1", b"a 1.5"])
def test_what_is_not_flat_keyed_is_an_error(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse.flat_keyed(text)


def test_pressure_totals_are_read_and_averages_are_not() -> None:
    text = (
        b"some avg10=1.50 avg60=0.10 avg300=0.00 total=123456\n"
        b"full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"
    )
    assert parse.pressure_totals(text) == {b"some": b"123456", b"full": b"7"}
    with pytest.raises(ParseError):
        parse.pressure_totals(b"some avg10=1.50")


def test_pids_are_read_once_each_and_0_for_each_of_another_namespace() -> None:
    assert parse.pids(b"1\n12\n12\n") == (1, 12)
    assert parse.pids(b"0\n0\n12\n") == (0, 12, 0)
    with pytest.raises(ParseError):
        parse.pids(b"1 x")


def test_mountinfo_is_unescaped_and_optional_fields_are_skipped() -> None:
    text = (
        b"35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:9 master:1 - cgroup cgroup"
        b" rw,memory\n"
        b"41 31 0:38 /a\\040b /mnt/c\\134d rw - cgroup2 cgroup2 rw\n"
    )
    assert parse.mountinfo(text) == [
        Mount(b"/", b"/sys/fs/cgroup/memory", b"cgroup", (b"rw", b"memory")),
        Mount(b"/a b", b"/mnt/c\\d", b"cgroup2", (b"rw",)),
    ]
    with pytest.raises(ParseError):
        parse.mountinfo(b"35 31 0:32 / /sys")


def test_a_namespace_link_gives_its_inode() -> None:
    assert parse.ns_link("time_for_children:[4026531834]") == 4026531834
    with pytest.raises(ParseError):
        parse.ns_link("net:4026531834")


def test_names_that_are_not_utf8_read_as_hex() -> None:
    assert parse.text_of(b"a\xffb") == r"a\xffb"
    assert parse.text_of("a\udcffb") == r"a\xffb"
    assert parse.text_of("é") == "é"


def test_meminfo_is_in_bytes() -> None:
    text = b"MemTotal:       24684096 kB\nHugePages_Total:       3\nHugepagesize:    2048 kB\n"
    assert parse.meminfo(text) == {b"MemTotal": 25276514304, b"Hugepagesize": 2097152}
    with pytest.raises(ParseError):
        parse.meminfo(b"MemFree: 1 kB\n")
