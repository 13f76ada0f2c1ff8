"""Namespaces that no process is in, against what the kernel says of them when asked directly."""

from __future__ import annotations

import itertools
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.model import NS_TYPES
from tests.conftest import Need
from tests.live.nslab import actor, asked, child, info, inode, link, value
from tests.samples import Samples, scrape
from tests.waiting import deadline


@pytest.fixture
def collector(need: Need) -> Iterator[Collector]:
    need("live", os.geteuid() == 0, "root")
    everything = {"collectors.namespaces.refresh": 1, "collectors.namespaces.max_fds": 1_000_000}
    made = Collector(config.load(None, everything))
    yield made
    made.close()


@pytest.fixture
def bound(tmp_path: Path) -> Iterator[str]:
    """A file to bind mount on; what is mounted there is unmounted in the end."""
    place = tmp_path / "bound"
    place.touch()
    yield str(place)
    subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)


def settles(collector: Collector, ns_type: str, made: int, wanted: dict[str, str]) -> Samples:
    """The samples as soon as the namespace is as wanted: what was killed takes a while to go."""
    end = deadline(60)
    while info(samples := scrape(collector), ns_type, made) != wanted:
        assert time.monotonic() < end, (info(samples, ns_type, made), wanted)
    return samples


def mount(source: str, target: str) -> None:
    subprocess.run(["mount", "--bind", source, target], check=True)


@pytest.mark.parametrize("ns_type", NS_TYPES)
def test_a_bind_mount_keeps_a_namespace(collector: Collector, bound: str, ns_type: str) -> None:
    with actor() as one:
        made = link(place := one.alone(ns_type))
        mount(place, bound)
    wanted = asked(bound) | {"held_by": "mount", "path": bound, "scope": "other"}
    settles(collector, ns_type, made, wanted)
    subprocess.run(["umount", bound], check=True)
    settles(collector, ns_type, made, {})


@pytest.mark.parametrize("ns_type", NS_TYPES)
def test_an_open_descriptor_keeps_a_namespace(collector: Collector, ns_type: str) -> None:
    with actor() as one:
        place = one.alone(ns_type)
        made, fd = link(place), os.open(place, os.O_RDONLY)
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        wanted = asked(path) | {"held_by": "fd", "path": path, "scope": "other"}
        samples = settles(collector, ns_type, made, wanted)
        assert value(samples, "namespace_processes", ns_type, made) == 0
        name = "namespace_without_process_since_timestamp_seconds"
        since = value(samples, name, ns_type, made)
        assert since is not None
        assert 0 <= time.time() - since < 60
        assert value(scrape(collector), name, ns_type, made) == since
    finally:
        os.close(fd)
    settles(collector, ns_type, made, {})


def test_a_descriptor_outlives_the_bind_mount_that_it_was_opened_by(
    collector: Collector, bound: str
) -> None:
    with actor() as one:
        made = link(place := one.alone("net"))
        mount(place, bound)
    fd = os.open(bound, os.O_RDONLY)
    try:
        subprocess.run(["umount", "--lazy", bound], check=True)
        assert os.readlink(f"/proc/self/fd/{fd}") == "/"
        path = f"/proc/{os.getpid()}/fd/{fd}"
        wanted = asked(path) | {"held_by": "fd", "path": path, "scope": "other"}
        settles(collector, "net", made, wanted)
    finally:
        os.close(fd)


def test_a_mount_in_another_mount_namespace_keeps_one(collector: Collector, bound: str) -> None:
    with actor() as elsewhere:
        elsewhere.unshare("mnt")
        elsewhere.do("os.system('mount --make-rprivate /')")
        with actor() as one:
            made = link(place := one.alone("net"))
            elsewhere.do(f"os.system('mount --bind {place} {bound}')")
            wanted = asked(place) | {"held_by": "mount", "path": bound, "scope": "other"}
        settles(collector, "net", made, wanted)
    settles(collector, "net", made, {})


def test_a_mount_point_that_is_covered_names_a_namespace_still(
    collector: Collector, bound: str, tmp_path: Path
) -> None:
    with actor() as one:
        made = link(place := one.alone("net"))
        mount(place, bound)
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    mount(str(fifo), bound)  # to open it would wait for ever
    own = str(inode(os.getpid(), "user"))
    try:
        shown = info(scrape(collector), "net", made)
        assert (shown["held_by"], shown["path"]) == ("mount", bound)
        # The mount point leads to the FIFO: only listns(2) can tell more.
        assert shown.get("owner_ns_inode", own) == own
    finally:
        subprocess.run(["umount", bound], check=True)


def test_ancestors_without_a_process_are_kept_by_their_child(collector: Collector) -> None:
    with actor() as one:
        chain = [inode(one.pid, "user")]
        for _ in range(4):
            one.unshare("user")
            one.map_root()
            chain.append(inode(one.pid, "user"))
        samples = scrape(collector)
        for depth, (above, made) in enumerate(itertools.pairwise(chain), 1):
            shown = info(samples, "user", made)
            assert shown["held_by"] == ("process" if made == chain[-1] else "child")
            assert shown["parent_ns_inode"] == shown["owner_ns_inode"] == str(above)
            assert value(samples, "namespace_depth", "user", made) == depth
            assert value(samples, "namespace_processes", "user", made) == (made == chain[-1])
        assert value(samples, "namespace_depth", "user", chain[0]) == 0
        # Only of a process can the map be read.
        mapped = [value(samples, "user_namespace_mapped_uids", "user", made) for made in chain]
        assert mapped[1:] == [None, None, None, 1]
    assert all(info(scrape(collector), "user", made) == {} for made in chain[1:])


def test_a_pid_namespace_without_a_process_is_kept_by_one_below_it(collector: Collector) -> None:
    with actor() as one:
        one.unshare("pid")
        # The first process of a PID namespace unshares the next one and dies last.
        one.do(
            "os.fork() or (call('unshare', 0x20000000), os.fork() or signal.pause())"
            " and signal.pause()"
        )
        outer = link(f"/proc/{one.pid}/ns/pid_for_children")
        first = child(one.pid)
        inner = inode(child(first), "pid")
        kept = asked(f"/proc/{first}/ns/pid") | {"held_by": "child", "scope": "other"}
        fd = os.open(f"/proc/{child(first)}/ns/pid", os.O_RDONLY)
    try:
        path = f"/proc/{os.getpid()}/fd/{fd}"
        wanted = asked(path) | {"held_by": "fd", "path": path, "scope": "other"}
        settles(collector, "pid", inner, wanted)
        samples = settles(collector, "pid", outer, kept)
        assert info(samples, "pid", inner)["parent_ns_inode"] == str(outer)
        depth = value(samples, "namespace_depth", "pid", outer)
        assert depth is not None
        assert value(samples, "namespace_depth", "pid", inner) == depth + 1
    finally:
        os.close(fd)


def test_an_owner_without_a_process_is_kept_by_what_it_owns(
    collector: Collector, bound: str
) -> None:
    with actor() as one:
        one.unshare("user")
        one.unshare("net")
        owner = inode(one.pid, "user")
        made = link(place := f"/proc/{one.pid}/ns/net")
        mount(place, bound)
    samples = scrape(collector)
    assert info(samples, "net", made)["owner_ns_inode"] == str(owner)
    assert info(samples, "net", made)["owner_uid"] == str(os.geteuid())
    assert info(samples, "user", owner)["held_by"] == "child"
    assert info(samples, "user", owner)["parent_ns_inode"] == str(inode(os.getpid(), "user"))
