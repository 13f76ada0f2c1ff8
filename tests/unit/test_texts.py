"""The texts of a cgroup's files, which behave as a dict's."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nsexporter.kernel.texts import Table, Texts, places

NAMES = ["a", "b", "c"]
CHANGES = st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from([b"0", b"1", None])))


@given(CHANGES, CHANGES)
def test_they_are_what_a_dict_is(changes: object, more: object) -> None:
    texts, there = Texts(places(NAMES)), dict[str, bytes]()

    def follow(some: object) -> None:
        assert isinstance(some, list)
        for name, text in some:
            texts.texts[texts.places[name]] = text
            there.pop(name, None)
            if text is not None:
                there[name] = text

    follow(changes)
    before, copy = dict(there), texts.copy()
    follow(more)
    assert texts == there and copy == before
    assert (texts == copy) == (there == before)
    assert (len(texts), sorted(texts)) == (len(there), sorted(there))
    for name in (*NAMES, "unknown"):
        assert texts.get(name) == there.get(name)
        assert (name in texts) == (name in there)
        if name not in there:
            with pytest.raises(KeyError):
                texts[name]


def test_columns_of_any_mappings() -> None:
    of_most, of_one = places(["a", "b"]), places(["b", "c"])
    files: list[Mapping[str, bytes]] = [
        Texts(of_most, [b"1", b"2"]),
        Texts(of_one, [b"3", b"4"]),
        {"a": b"5"},
        Texts(of_most, [None, b"6"]),
    ]
    table = Table(files)
    for name in ("a", "b", "c", "d"):
        assert table.column(name) == [one.get(name) for one in files]
    assert Table([]).column("a") == []
