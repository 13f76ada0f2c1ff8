"""Cgroups as values: what was found of each, parsed."""

from __future__ import annotations

from nsexporter.cgroups import Cgroups
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader


def test_a_malformed_list_of_processes_costs_itself_only() -> None:
    reader = Reader()
    cgroups = Cgroups(reader)
    found = [
        Found(path, -1, {"cgroup.procs": text}, key, -1)
        for key, (path, text) in enumerate({"/a": b"7\n8\n", "/b": b"x\n", "/c": b"9\n"}.items())
    ]
    assert [one.pids for one in cgroups.procs(found)] == [(7, 8), (), (9,)]
    assert reader.errors == {("cgroups", "malformed"): 1}
