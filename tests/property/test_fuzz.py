"""The targets of `make fuzz`, briefly: any bytes give a value or one of the errors expected."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.strategies import texts
from tests.fuzz.targets import TARGETS, attempt


@pytest.mark.parametrize("name", TARGETS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_bytes_are_answered(name: str, data: st.DataObject) -> None:
    attempt(TARGETS[name], data.draw(texts(TARGETS[name])))
