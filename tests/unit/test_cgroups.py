"""Cgroups as values: what was found of each, parsed."""

from __future__ import annotations

import pytest

from nsexporter.cgroups import Cgroups
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader


@pytest.mark.parametrize("text", [b"cache 1\nrss 2\ncache 3\n", b"cache\n", b"cache x\n"])
def test_a_malformed_memory_stat_costs_itself_only(text: bytes) -> None:
    reader = Reader()
    cgroups = Cgroups(reader)
    found = [
        Found(path, -1, {"memory.stat": one, "cgroup.procs": b"7\n"}, key, -1)
        for key, (path, one) in enumerate({"/a": b"cache 1\nrss 2\n", "/b": text}.items())
    ]
    assert [(one.stat, one.pids) for one in cgroups.parse(found)] == [
        ((b"1", b"2"), (7,)),
        ((), (7,)),
    ]
    assert reader.errors == {("memory", "malformed"): 1}
