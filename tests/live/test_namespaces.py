"""Namespaces against lsns(8) and a scan of /proc, with processes in namespaces of their own."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from nsexporter import config
from nsexporter.capability import CAPABILITIES
from nsexporter.collector import Collector
from nsexporter.kernel.files import Reader
from nsexporter.kernel.nsfs import Nsfs
from nsexporter.kernel.processes import Processes
from nsexporter.kernel.procfs import Procfs
from nsexporter.model import NS_TYPES, Namespace
from nsexporter.namespaces import Namespaces
from tests.conftest import Need
from tests.live import lab
from tests.live.nslab import CLONE, SCOPE, actor, asked, child, info, inode, link, value
from tests.samples import of, scrape
from tests.waiting import SLOWNESS, deadline, until

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
        end = deadline(60)
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
            assert time.monotonic() < end, missed
        for ns_type, count in Counter(ns_type for ns_type, _ in shown).items():
            assert of(samples, "nsexporter_namespaces", ns_type=ns_type) == count


def lsns() -> dict[tuple[str, str], int]:
    command = ["lsns", "--json", "--output", "NS,TYPE,NPROCS"]

    def told() -> bytes | None:  # it fails where a process goes while it looks
        done = subprocess.run(command, capture_output=True)
        return None if done.returncode else done.stdout

    # lsns itself is in every namespace of ours: one process less.
    own = {str(inode(os.getpid(), ns_type)) for ns_type in NS_TYPES}
    return {
        (row["type"], str(row["ns"])): int(row["nprocs"]) - (str(row["ns"]) in own)
        for row in json.loads(until(told))["namespaces"]
    }


def test_a_zombie_is_in_no_namespace(collector: Collector) -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    try:
        until(lambda: "Z (zombie)" in Path(f"/proc/{pid}/status").read_text())
        snapshot = collector.collect()
        assert pid not in snapshot.processes
        assert os.getpid() in snapshot.processes
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


def collector_with(**settings: object) -> contextlib.closing[Collector]:
    """A collector with other settings of collectors.namespaces."""
    overrides = {f"collectors.namespaces.{key}": value for key, value in settings.items()}
    return contextlib.closing(Collector(config.load(None, overrides)))


def test_every_type_together_is_what_the_kernel_says(collector: Collector) -> None:
    flags = (*FLAGS.values(), "--fork", "--map-root-user")
    with lab.process(None, unshare=flags) as started:
        children = Path(f"/proc/{started.pid}/task/{started.pid}/children").read_text().split()
        samples = scrape(collector)
        for ns_type in NS_TYPES:
            wanted = asked(f"/proc/{children[0]}/ns/{ns_type}")
            made = int(wanted["ns_inode"])
            assert info(samples, ns_type, made) == wanted | {"held_by": "process", "scope": SCOPE}
            assert value(samples, "namespace_processes", ns_type, made) == (
                1 if ns_type in ("pid", "time") else 2
            )
        made = inode(int(children[0]), "user")
        assert value(samples, "user_namespace_mapped_uids", "user", made) == 1


def test_pid_namespaces_four_deep_have_their_depth_and_parent(collector: Collector) -> None:
    with actor() as one:
        one.unshare("pid")
        # Each process of the chain waits for the next; the last one for ever.
        one.do(
            "os.fork() or [call('unshare', 0x20000000) or os.fork() and signal.pause()"
            " for _ in range(3)] and signal.pause()"
        )
        pid, outer = one.pid, inode(one.pid, "pid")
        chain = [pid := child(pid) for _ in range(4)]
        samples = scrape(collector)
        for depth, pid in enumerate(chain, 1):
            made = inode(pid, "pid")
            assert info(samples, "pid", made)["parent_ns_inode"] == str(outer)
            assert value(samples, "namespace_depth", "pid", made) == depth
            assert value(samples, "namespace_processes", "pid", made) == 1
            outer = made


def test_a_thread_in_another_namespace_is_found_with_threads_on(need: Need) -> None:
    need("live", os.geteuid() == 0, "root")
    with actor() as one, collector_with(threads=True, max_threads=2) as collector:
        thread = int(one.do(f"thread(lambda: call('unshare', {CLONE['net'] | CLONE['uts']}))"))
        made = link(f"/proc/{one.pid}/task/{thread}/ns/net")
        samples = scrape(collector)
        wanted = asked(f"/proc/{one.pid}/task/{thread}/ns/net")
        assert info(samples, "net", made) == wanted | {"held_by": "process", "scope": SCOPE}
        assert value(samples, "namespace_threads", "net", made) == 1
        assert value(samples, "namespace_processes", "net", made) == 0
        assert value(samples, "namespace_without_process_since_timestamp_seconds", "net", made) is (
            None
        )
    with collector_with() as collector:
        assert info(scrape(collector), "net", made) == {}


def test_threads_beyond_the_bound_are_counted(need: Need) -> None:
    need("live", os.geteuid() == 0, "root")
    with collector_with(threads=True, max_threads=1000) as collector:
        before = of(scrape(collector), "nsexporter_namespace_unread_threads")
        with actor() as one:
            one.do("[thread(lambda: None) for _ in range(1003)] and None")
            assert before is not None
            assert of(scrape(collector), "nsexporter_namespace_unread_threads") == before + 3


def test_setns_shows_within_the_passes_of_refresh(need: Need) -> None:
    need("live", os.geteuid() == 0, "root")
    with collector_with(refresh=5) as collector, actor() as one, actor() as other:
        other.unshare("net")
        there = inode(other.pid, "net")
        samples = scrape(collector)
        assert value(samples, "namespace_processes", "net", there) == 1
        scrape(collector)  # new processes are read a second time in the next pass
        one.setns(f"/proc/{other.pid}/ns/net")
        counts = [value(scrape(collector), "namespace_processes", "net", there) for _ in range(5)]
        assert counts[-1] == 2
        assert set(counts) <= {1, 2}
    with collector_with(refresh=1) as collector, actor() as one, actor() as other:
        other.unshare("net")
        scrape(collector)
        scrape(collector)
        one.setns(f"/proc/{other.pid}/ns/net")
        there = inode(other.pid, "net")
        assert value(scrape(collector), "namespace_processes", "net", there) == 2


def test_what_passes_followed_is_what_a_first_pass_sees(need: Need) -> None:
    need("live", lab.memory_root() is not None, "no memory hierarchy")
    root = lab.memory_root()
    assert root is not None

    with contextlib.ExitStack() as stack:
        top = stack.enter_context(lab.tree(root))
        cgroups = [top / "docker" / (digit * 64) for digit in "12"]
        for cgroup in cgroups:
            cgroup.mkdir(parents=True)
        if lab.version() == "v2":
            (top / "docker" / "cgroup.subtree_control").write_text("+memory")
        followed = stack.enter_context(collector_with(refresh=1, max_fds=0))
        ours = set[tuple[str, int]]()

        def seen(by: Collector) -> dict[tuple[str, int], Namespace]:
            """Those that are of our own processes alone."""
            return {
                (one.ns_type, one.inode): replace(one, without_process_since=None)
                for one in by.collect().namespaces
                if (one.ns_type, one.inode) in ours
            }

        def compare() -> None:
            with collector_with(refresh=1, max_fds=0) as first:
                assert seen(followed) == seen(first)

        one = stack.enter_context(actor(cgroups[0]))
        for ns_type in ("net", "uts", "mnt"):
            one.unshare(ns_type)
            ours.add((ns_type, inode(one.pid, ns_type)))
        compare()
        other = stack.enter_context(actor(cgroups[1]))
        other.setns(f"/proc/{one.pid}/ns/net")
        compare()
        (cgroups[0] / "cgroup.procs").write_text(str(other.pid))
        compare()
        pid = int(one.do("os.fork() or signal.pause()"))
        compare()
        one.do(f"os.kill({pid}, 9) or os.waitpid({pid}, 0)")
        compare()
        one.unshare("net")  # the first one is left to the other process
        ours.add(("net", inode(one.pid, "net")))
        compare()
        other.setns(f"/proc/{one.pid}/ns/net")  # and now to nobody
        compare()
        assert len(seen(followed)) == 3


def test_what_a_pass_that_failed_has_seen_the_next_one_tells(need: Need) -> None:
    need("live", os.geteuid() == 0, "root")

    def clock() -> float:
        if fails:
            raise OSError("no time")
        return 0.0

    fails = False
    reader = Reader()
    settings = config.load(None, {"collectors.namespaces.max_fds": 0}).collectors.namespaces
    namespaces = Namespaces(
        Procfs(reader, "/proc"),
        Processes(reader, "/proc", refresh=1000),
        Nsfs(reader, "/proc"),
        settings,
        clock,
    )
    with actor() as one:
        one.unshare("net", "uts")
        first = namespaces.read({}, [])
        with actor() as other:
            other.setns(f"/proc/{one.pid}/ns/net")
            other.unshare("ipc")
            fails = True
            for _ in range(2):  # both passes in which a new process is read
                with pytest.raises(OSError, match="no time"):
                    namespaces.read({}, [])
            fails = False
            second = namespaces.read({}, [])
            counts = {(n.ns_type, n.inode): n.processes for n in second.namespaces}
            assert counts["net", inode(one.pid, "net")] == 2
            assert counts["uts", inode(one.pid, "uts")] == 1
            assert counts["ipc", made := inode(other.pid, "ipc")] == 1
            assert other.pid in second.processes
            # What has not changed is the same object.
            kept = {id(n) for n in first.namespaces} & {id(n) for n in second.namespaces}
            assert any(
                id(n) in kept and n.inode == inode(one.pid, "uts") for n in second.namespaces
            )
    fails = True
    with pytest.raises(OSError, match="no time"):
        namespaces.read({}, [])
    fails = False
    assert made not in {n.inode for n in namespaces.read({}, []).namespaces if n.ns_type == "ipc"}


def test_a_process_that_became_a_zombie_is_left_out_at_once(need: Need) -> None:
    need("live", lab.memory_root() is not None, "no memory hierarchy")
    with collector_with(refresh=1000) as collector, actor() as one:
        pid = int(one.do("os.fork() or signal.pause()"))
        for _ in range(2):
            assert pid in collector.collect().processes
        os.kill(pid, signal.SIGKILL)
        until(lambda: "Z (zombie)" in Path(f"/proc/{pid}/status").read_text())
        assert pid not in collector.collect().processes


def test_processes_that_come_and_go_during_the_scan_are_no_errors(collector: Collector) -> None:
    unread = collector.collect().unread_processes  # PID 1, on some machines, even for root
    with actor() as one:
        one.do("os.fork() or [os.waitpid(os.fork() or os._exit(0), 0) for _ in range(1 << 30)]")
        for _ in range(100):
            snapshot = collector.collect()
            assert snapshot.unread_processes == unread
            assert all(one.keys() >= set(NS_TYPES) for one in snapshot.processes.values())
        assert collector.health.success["namespaces"]
        assert not {key for key in collector.reader.errors if key[0] == "namespaces"}


def as_nobody(procfs: str) -> tuple[int, int, dict[str, bool]]:
    """Processes read, processes unread and capabilities of a pass without privileges."""
    receiving, sending = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
        with contextlib.closing(Collector(config.load(None, {"path.procfs": procfs}))) as collector:
            snapshot = collector.collect()
        holds = {one.name: one.holds(snapshot) for one in CAPABILITIES}
        answer = (len(snapshot.processes), snapshot.unread_processes, holds)
        os.write(sending, json.dumps(answer).encode())
        os._exit(0)
    os.close(sending)
    with open(receiving, encoding="utf-8") as pipe:
        read, unread, holds = json.loads(pipe.read())
    os.waitpid(pid, 0)
    return read, unread, holds


def test_without_privileges_the_unread_processes_are_counted(need: Need) -> None:
    need("live", lab.memory_root() is not None, "no memory hierarchy")
    read, unread, holds = as_nobody("/proc")
    assert read >= 1  # itself
    assert unread > 5
    assert not holds["ns_read"]
    assert holds["memory"]
    with tempfile.TemporaryDirectory() as hidden:
        os.chmod(hidden, 0o755)
        subprocess.run(["mount", "-t", "proc", "-o", "hidepid=2", "proc", hidden], check=True)
        try:
            read, unread, holds = as_nobody(hidden)
        finally:
            subprocess.run(["umount", hidden], check=True)
    assert read >= 1
    assert unread > 5
    assert not holds["ns_read"]


def cpu(who: int) -> float:
    used = resource.getrusage(who)
    return used.ru_utime + used.ru_stime


def test_the_scan_costs_a_fraction_of_what_lsns_does(need: Need) -> None:
    """Bounds far from what is measured (a quarter and a fifteenth hold): others use the machine."""
    need("live", os.geteuid() == 0 and shutil.which("lsns") is not None, "root and lsns(8)")
    costs: dict[str, float] = {}
    with actor() as one:
        one.do("[os.fork() or signal.pause() for _ in range(1000)] and None")
        for _ in range(3):
            before = cpu(resource.RUSAGE_CHILDREN)
            lsns()
            used = cpu(resource.RUSAGE_CHILDREN) - before
            costs["lsns"] = min(costs.get("lsns", used), used)
        for refresh in (1, 8):
            settings = config.load(None, {"collectors.namespaces.refresh": refresh})
            reader = Reader()
            namespaces = Namespaces(
                Procfs(reader, "/proc"),
                Processes(reader, "/proc", refresh=refresh),
                Nsfs(reader, "/proc"),
                settings.collectors.namespaces,
                time.time,
            )
            for number in range(10):
                before = cpu(resource.RUSAGE_THREAD)
                namespaces.read({}, ())
                used = cpu(resource.RUSAGE_THREAD) - before
                if number >= 2:  # all processes are read twice when they are new
                    costs[f"{refresh}"] = min(costs.get(f"{refresh}", used), used)
    assert 3 * costs["1"] < costs["lsns"]
    # Python costs more of an emulated processor than lsns does: 7.8 times was seen there.
    assert (8 if SLOWNESS == 1 else 4) * costs["8"] < costs["lsns"]
