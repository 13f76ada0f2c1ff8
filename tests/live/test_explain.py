"""`nsexporter explain` of real cgroups and processes."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import COMMAND, said

LIMIT = "memory.limit_in_bytes" if lab.version() == "v1" else "memory.max"


def explain(*arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    told = subprocess.run([*COMMAND, "explain", *arguments], capture_output=True, text=True)
    assert told.returncode == status, told.stderr
    return told


@pytest.fixture
def nested(need: Need) -> Iterator[tuple[Path, Path]]:
    """A cgroup with a limit of 48 MB and one in it with a limit of 256 MB."""
    root = lab.memory_root()
    need("live", root is not None, "no memory hierarchy to make cgroups in (or not root)")
    assert root is not None
    with lab.tree(root) as top:
        parent, child = top / "parent", top / "parent" / "child"
        child.mkdir(parents=True)
        if lab.version() == "v2":
            (parent / "cgroup.subtree_control").write_text("+memory")
        (parent / LIMIT).write_text(str(48 << 20))
        (child / LIMIT).write_text(str(256 << 20))
        yield parent, child


def test_a_process_is_explained_by_its_cgroup(nested: tuple[Path, Path]) -> None:
    parent, child = nested
    root = lab.memory_root()
    with lab.process(child) as process:
        told = json.loads(explain(str(process.pid), "--json").stdout)
        lines = explain(str(child)).stdout.splitlines()
        assert explain(str(root)).stdout.splitlines()[0] == "root"
    assert told["cgroup"] == f"/{child.relative_to(str(root))}"
    assert told["processes"] == 1
    limits = [(step["cgroup"], step["limit_bytes"], step["binds"]) for step in told["limits"]]
    path = f"/{parent.relative_to(str(root))}"
    assert limits[:2] == [(f"{path}/child", 256 << 20, False), (path, 48 << 20, True)]
    assert {
        "metric": "nsexporter_cgroup_memory_limit_bytes",
        "value": 256 << 20,
        "source": LIMIT,
    } in (told["numbers"])
    assert any(f"{path}'s limit of 48.0MiB is reached." in one for one in told["outlook"])
    assert max(map(len, lines)) <= 80
    (binding,) = [line for line in lines if line.startswith(">")]
    assert binding.endswith("/parent") and "48.0MiB" in binding
    assert lines[0] == "cgroup"


def test_the_oom_kills_below_are_told(nested: tuple[Path, Path]) -> None:
    parent, child = nested
    root = lab.memory_root()
    lab.kill_by_limit(child, 96)
    told = json.loads(explain(str(parent), "--json").stdout)
    (account,) = told["oom_kills"]
    assert account["cgroup"] == f"/{child.relative_to(str(root))}"
    assert sum(account["kills"].values()) == 1
    assert "OOM kills in it and below" in explain(str(parent)).stdout


def test_what_is_not_there_is_one_line_and_status_1() -> None:
    told = explain("no-such-container", status=1)
    assert told.stdout == ""
    assert said(told.stderr) == [
        "nsexporter: there is no container, cgroup or process no-such-container"
    ]
