"""Bytes near those that a target understands."""

from __future__ import annotations

import re

from hypothesis import strategies as st

from tests.fuzz.targets import Target


def texts(target: Target) -> st.SearchStrategy[bytes]:
    """Any bytes, and the words of the target's seeds in any order, cut and doubled."""
    words = sorted({word for seed in target.seeds for word in re.findall(rb"\w+|\W", seed)})
    hostile = [b"\0", b"\n", b"\r\n", b" ", b"\xff", b"-1", b"9" * 25, b"\\", b'"', b"[" * 50]
    return st.one_of(
        st.binary(max_size=80),
        st.lists(st.sampled_from([*words, *hostile]), max_size=30).map(b"".join),
        st.tuples(st.sampled_from(target.seeds), st.integers(0, 99), st.binary(max_size=4)).map(
            lambda parts: parts[0][: parts[1]] + parts[2] + parts[0][parts[1] :]
        ),
    )
