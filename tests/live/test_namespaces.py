"""Namespaces against lsns(8) and a scan of /proc, with processes in namespaces of their own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.collector import Collector
from nsexporter.model import NS_TYPES
from tests.conftest import Need
from tests.live import lab
from tests.live.actor import actor
from tests.samples import Samples, of, scrape

FLAGS = {
    "mnt": "--mount",
    "pid": "--pid",
    "net": "--net",
    "ipc": "--ipc",
    "uts": "--uts",
    "user": "--user",
    "cgroup": "--cgroup",
    "time": "--time",
}


@pytest.fixture
def collector(need: Need) -> Iterator[Collector]:
    need("live", os.geteuid() == 0 and shutil.which("unshare") is not None, "root and unshare(1)")
    made = Collector(config.load(None, {}))
    yield made
    made.close()


def inode(pid: int, ns_type: str) -> int:
    return int(os.readlink(f"/proc/{pid}/ns/{ns_type}").split("[")[1][:-1])


@pytest.mark.parametrize("ns_type", NS_TYPES)
def test_a_process_in_a_namespace_of_its_own_is_counted(collector: Collector, ns_type: str) -> None:
    flags = (FLAGS[ns_type], *(("--fork",) if ns_type in ("pid", "time") else ()))
    with lab.process(None, unshare=flags) as started:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        pid = int(children[0]) if children else started.pid
        samples = scrape(collector)
        made = str(inode(pid, ns_type))
        assert of(samples, "nsexporter_namespace_processes", ns_type=ns_type, ns_inode=made) == 1
        if ns_type in ("pid", "time"):
            # unshare(1) itself stays outside; only its children are in it.
            name = "nsexporter_namespace_for_children_processes"
            assert of(samples, name, ns_type=ns_type, ns_inode=made) == 1


def test_counts_equal_those_of_lsns(collector: Collector) -> None:
    every = (*FLAGS.values(), "--fork")
    with contextlib.ExitStack() as stack:
        for flags in (every, every, ("--net", "--ipc"), ("--uts",)):
            stack.enter_context(lab.process(None, unshare=flags))
        deadline = time.monotonic() + 60
        while True:  # other processes of the machine come and go meanwhile
            before, samples, after = lsns(), scrape(collector), lsns()
            shown = {
                (dict(labels)["ns_type"], dict(labels)["ns_inode"]): int(value)
                for (name, labels), value in samples.items()
                if name == "nsexporter_namespace_processes" and value
            }
            stood = {key: count for key, count in before.items() if after.get(key) == count}
            missed = stood.items() - shown.items()
            if not missed and shown.keys() <= before.keys() | after.keys():
                break
            assert time.monotonic() < deadline, missed
        for ns_type, count in Counter(ns_type for ns_type, _ in shown).items():
            assert of(samples, "nsexporter_namespaces", ns_type=ns_type) == count


def info(samples: Samples, ns_type: str, ns_inode: int) -> dict[str, str]:
    """The labels of nsexporter_namespace_info but the first two, empty where it is not there."""
    wanted = {("ns_type", ns_type), ("ns_inode", str(ns_inode))}
    for name, labels in samples:
        if name == "nsexporter_namespace_info" and wanted <= labels:
            return dict(labels - wanted)
    return {}


def lsns() -> dict[tuple[str, str], int]:
    command = ["lsns", "--json", "--output", "NS,TYPE,NPROCS"]
    while (told := subprocess.run(command, capture_output=True)).returncode:
        continue  # it fails where a process goes while it looks
    # lsns itself is in every namespace of ours: one process less.
    own = {str(inode(os.getpid(), ns_type)) for ns_type in NS_TYPES}
    return {
        (row["type"], str(row["ns"])): int(row["nprocs"]) - (str(row["ns"]) in own)
        for row in json.loads(told.stdout)["namespaces"]
    }


def test_a_zombie_is_in_no_namespace(collector: Collector) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        while "Z (zombie)" not in Path(f"/proc/{pid}/status").read_text():
            continue
        snapshot = collector.collect()
        assert pid not in {process.pid for process in snapshot.processes}
        assert os.getpid() in {process.pid for process in snapshot.processes}
    finally:
        os.waitpid(pid, 0)


def test_containers_that_share_a_namespace_are_peers(collector: Collector, need: Need) -> None:
    root = lab.memory_root()
    need("live", root is not None, "no memory hierarchy to make cgroups in")
    assert root is not None
    ids = [f"{digit:x}" * 64 for digit in (1, 2, 3)]
    with lab.tree(root) as top, contextlib.ExitStack() as stack:
        paths = []
        for container_id in ids:
            cgroup = top / "docker" / container_id
            cgroup.mkdir(parents=True)
            paths.append(cgroup)
        if lab.version() == "v2":
            (top / "docker" / "cgroup.subtree_control").write_text("+memory")
        first = stack.enter_context(lab.process(paths[0], unshare=("--net", "--uts")))
        stack.enter_context(
            lab.process(
                paths[1],
                *("nsenter", f"--net=/proc/{first.pid}/ns/net", "sleep", "600"),
                becomes="sleep",
            )
        )
        stack.enter_context(lab.process(paths[2], unshare=("--net",)))
        samples = scrape(collector)

        def told(name: str, position: int, ns_type: str) -> float | None:
            return of(
                samples,
                name,
                cgroup="/" + str(paths[position].relative_to(root)),
                container_id=ids[position][:12],
                ns_type=ns_type,
            )

        assert [told("nsexporter_container_namespace_peers", i, "net") for i in range(3)] == [
            1,
            1,
            0,
        ]
        host = [told("nsexporter_container_host_namespace", i, "net") for i in range(3)]
        assert host == [0, 0, 0]
        assert [told("nsexporter_container_host_namespace", i, "uts") for i in range(3)] == [
            0,
            1,
            1,
        ]
        net = str(inode(first.pid, "net"))
        assert of(samples, "nsexporter_namespace_containers", ns_type="net", ns_inode=net) == 2
        assert info(samples, "net", int(net))["scope"] == "shared"


@pytest.fixture
def bound(need: Need, tmp_path: Path) -> Iterator[Path]:
    """A file to bind mount on; what is mounted there is unmounted in the end."""
    need("live", os.geteuid() == 0, "root")
    place = tmp_path / "bound"
    place.touch()
    yield place
    subprocess.run(["umount", "--lazy", place], check=False, stderr=subprocess.DEVNULL)


# A mount namespace cannot be mounted in itself or a later one, a user namespace never (in a
# namespace's file system, fs/namespace.c wants the mount's own one).
@pytest.mark.parametrize("ns_type", [t for t in NS_TYPES if t != "user"])
def test_a_bind_mount_keeps_a_namespace(collector: Collector, bound: Path, ns_type: str) -> None:
    with actor() as one:
        one.unshare(ns_type)
        link = f"{ns_type}_for_children" if ns_type in ("pid", "time") else ns_type
        if ns_type == "pid":  # it exists once it has a first process
            one.do("os.fork() or os._exit(0)")
        made = int(os.readlink(f"/proc/{one.pid}/ns/{link}").split("[")[1][:-1])
        subprocess.run(["mount", "--bind", f"/proc/{one.pid}/ns/{link}", bound], check=True)
    shown = info(scrape(collector), ns_type, made)
    assert shown["held_by"] == "mount"
    assert shown["path"] == str(bound)
    assert shown["scope"] == "other"
    assert shown["owner_ns_inode"] == str(inode(os.getpid(), "user"))
    subprocess.run(["umount", bound], check=True)
    assert info(scrape(collector), ns_type, made) == {}
