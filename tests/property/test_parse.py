"""Any bytes give a value or a ParseError, nothing else; what the kernel writes is read back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsexporter.containers.identity import identify
from nsexporter.kernel import parse

PARSERS: tuple[Callable[[bytes], object], ...] = (
    parse.number,
    parse.limit,
    parse.flat_keyed,
    parse.pressure_totals,
    parse.pids,
    parse.mountinfo,
    parse.meminfo,
    parse.text_of,
)
FRAGMENTS = (
    b"0 1 max total= some full avg10=0.00 MemTotal: kB - cgroup cgroup2 /proc \\040 rw,memory"
    b" 9223372036854771712 oom_kill -1 1.5 \xff"
).split()
TEXTS = st.one_of(
    st.binary(max_size=60),
    st.lists(st.sampled_from([*FRAGMENTS, b" ", b"\n", b"\0"]), max_size=20).map(b" ".join),
    st.lists(st.sampled_from([*FRAGMENTS, b" ", b"\n", b","]), max_size=20).map(b"".join),
)


@pytest.mark.parametrize("parser", PARSERS, ids=lambda parser: parser.__name__)
@given(text=TEXTS)
def test_any_bytes_give_a_value_or_a_parse_error(
    parser: Callable[[bytes], object], text: bytes
) -> None:
    try:
        parser(text)
    except parse.ParseError as error:
        assert len(str(error)) < 500


@given(
    st.dictionaries(
        st.from_regex(rb"[a-z_]{1,12}", fullmatch=True), st.integers(0, 2**64 - 1), max_size=8
    )
)
def test_a_flat_keyed_file_reads_back(values: dict[bytes, int]) -> None:
    text = b"".join(b"%b %d\n" % item for item in values.items())
    assert parse.flat_keyed(text) == {key: b"%d" % value for key, value in values.items()}


@given(st.text(alphabet="0123456789abcdef/-_.:@\\xé\ndockerlibpodscopeslicekubepods", max_size=80))
def test_any_path_is_somebodys_or_nobodys(path: str) -> None:
    identity = identify(f"/{path}")
    assert identity.kind
    if identity.kind in {"container", "sandbox"}:
        assert identity.container_id
