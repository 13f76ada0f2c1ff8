"""What binds a real container, by the name that docker knows it by."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter.families.columns import Columns
from nsexporter.views.explanation import Explanation, explain, find
from tests.conftest import Need
from tests.live import lab as cgroups
from tests.runtimes.engines import Docker
from tests.runtimes.rig import cgroup

M = 1 << 20


@pytest.fixture
def parent(need: Need) -> Iterator[Path]:
    """A cgroup of our own with a limit of 128 MB, for containers to be made in."""
    root = cgroups.memory_root()
    need("runtimes", root is not None, "no memory hierarchy to make cgroups in")
    assert root is not None
    with cgroups.tree(root) as top:
        made = top / f"parent-{uuid.uuid4().hex[:8]}"
        made.mkdir()
        limit = "memory.limit_in_bytes" if cgroups.version() == "v1" else "memory.max"
        (made / limit).write_text(str(128 * M))
        yield made
        for other in root.parent.glob(f"*/{top.name}"):  # docker makes it in every hierarchy
            if other != top:
                cgroups.remove(other)


def explained(docker: Docker, target: str) -> Explanation:
    collector = docker.lab.collector()
    try:
        columns = Columns(collector.collect())
    finally:
        collector.close()
    return explain(columns, find(columns.snapshot, target))


@pytest.mark.parametrize(
    ("flags", "limit", "parent_binds"),
    [(("-m", "64m"), 64 * M, False), (("-m", "256m"), 128 * M, True), ((), 128 * M, True)],
    ids=["below", "above", "none"],
)
def test_the_limit_that_binds_is_the_containers_or_its_parents(
    docker: Docker, parent: Path, flags: tuple[str, ...], limit: int, parent_binds: bool
) -> None:
    root = cgroups.memory_root()
    assert root is not None
    above = f"/{parent.relative_to(root)}"
    name = f"explained-{uuid.uuid4().hex[:8]}"
    container_id = docker.sleep(
        *flags, "--network", "none", "--name", name, "--cgroup-parent", above
    )
    try:
        own = cgroup(docker.inspect(container_id)["State"]["Pid"])
        told = explained(docker, name)
        assert told.cgroup.path == own == f"{above}/{container_id}"
        assert explained(docker, container_id[:12]).cgroup.path == own
        binding = above if parent_binds else own
        assert [step.path for step in told.steps if step.binds] == [binding]
        figures = {one.name: one.value for one in told.figures}
        assert figures["nsexporter_cgroup_memory_effective_limit_bytes"] == limit
        whose = f"{above}'s" if parent_binds else "its own"
        assert any(f"{whose} limit of {limit >> 20}.0MiB is reached" in s for s in told.outlook)
        (net,) = [place for place in told.places if place.ns_type == "net"]
        assert not net.host and not net.peers
    finally:
        docker("rm", "-f", container_id)


def test_peers_in_a_namespace_are_named(docker: Docker, parent: Path) -> None:
    root = cgroups.memory_root()
    assert root is not None
    above = ("--cgroup-parent", f"/{parent.relative_to(root)}")
    first = docker.sleep(*above, "--network", "none")
    second = docker.sleep(*above, "--network", f"container:{first}")
    try:
        told = explained(docker, first)
        peers = {place.ns_type: [one.container_id for one in place.peers] for place in told.places}
        assert peers["net"] == [second]
        assert peers["mnt"] == []
    finally:
        docker("rm", "-f", first, second)
