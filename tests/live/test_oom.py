"""Real OOM kills: counted once, with their cgroup, whatever has become of it."""

from __future__ import annotations

import json
import signal
import time
import uuid
from pathlib import Path

import pytest

from tests.live import kills, lab
from tests.live.exporter import Exporter, running
from tests.samples import Samples, of
from tests.waiting import until


def settings(tmp_path: Path, **oom: object) -> str:
    """The flag of a configuration file with these settings of the section `oom`."""
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"oom": oom, "collectors": {"namespaces": False}}))
    return f"--config.file={file}"


def told(exporter: Exporter, top: Path, count: int) -> dict[str, int]:
    """Kills below `top`, as soon as the exporter tells of so many."""
    below = lab.path_of(top) + "/"
    samples = kills.wait_for(
        exporter, lambda now: sum(kills.by_cgroup(now, below).values()) >= count
    )
    return kills.by_cgroup(samples, below)


def counted(samples: Samples) -> int:
    """All kills of the host that are told of."""
    return sum(kills.by_cgroup(samples, "/").values()) + kills.unattributed(samples)


def test_a_cgroup_killed_and_removed_at_once_is_named_with_its_victim(
    top: Path, tmp_path: Path
) -> None:
    with running(settings(tmp_path)) as exporter:
        assert kills.by_cgroup(kills.scrape(exporter), lab.path_of(top)) == {}
        (name,) = kills.storm(top, range(1))
        before = time.time()
        assert told(exporter, top, 1) == {name: 1}
        samples = kills.scrape(exporter)
        assert of(samples, "nsexporter_oom_kills_total", cgroup=name, constraint="memcg") == 1
        assert of(samples, "nsexporter_oom_last_kill_info", cgroup=name, task="dd") == 1
        last = of(samples, "nsexporter_oom_last_kill_timestamp_seconds", cgroup=name)
        assert last is not None and before - 5 < last < before + 1
        lines = until(lambda: [line for line in exporter.log if f"cgroup={name} " in line])
        assert len(lines) == 1 and "task=dd" in lines[0] and "constraint=memcg" in lines[0]


def test_a_living_cgroup_shows_0_and_then_every_kill(top: Path, tmp_path: Path) -> None:
    cgroup = kills.limited(top, "alive")
    name = lab.path_of(cgroup)
    with running(settings(tmp_path)) as exporter:
        samples = kills.scrape(exporter)
        assert of(samples, "nsexporter_oom_kills_total", cgroup=name, constraint="memcg") == 0
        for count in (1, 2, 3):
            kills.kill(cgroup)
            assert told(exporter, top, count) == {name: count}
        kills.later(exporter)
        assert told(exporter, top, 3) == {name: 3}


def test_a_kill_in_a_child_counts_for_the_container(top: Path, tmp_path: Path) -> None:
    container_id = uuid.uuid4().hex * 2
    container = kills.limited(top, container_id)
    if lab.version() == "v2":
        (container / "cgroup.subtree_control").write_text("+memory")
    child = container / "child"
    child.mkdir()
    name = lab.path_of(container)
    with running(settings(tmp_path)) as exporter:
        samples = kills.scrape(exporter)
        labels = {"cgroup": name, "container_id": container_id[:12], "constraint": "memcg"}
        assert of(samples, "nsexporter_oom_kills_total", **labels) == 0
        kills.kill(child)
        assert told(exporter, top, 1) == {name: 1}
        lab.remove(container)
        samples = kills.later(exporter)
        assert of(samples, "nsexporter_oom_kills_total", **labels) == 1


def test_without_the_kernel_log_the_counters_tell(top: Path, tmp_path: Path) -> None:
    cgroup = kills.limited(top, "alive")
    name = lab.path_of(cgroup)
    with running(settings(tmp_path, kmsg="none")) as exporter:
        samples = kills.scrape(exporter)
        assert of(samples, "nsexporter_oom_event_sources", source="kmsg") == 0
        assert of(samples, "nsexporter_oom_kills_total", cgroup=name, constraint="unknown") == 0
        kills.kill(cgroup)
        assert told(exporter, top, 1) == {name: 1}


def test_a_restart_neither_loses_a_kill_nor_counts_one_twice(top: Path, tmp_path: Path) -> None:
    state = tmp_path / "oom.json"
    flag = settings(tmp_path, state_file=str(state))
    alive = kills.limited(top, "alive")
    expected: dict[str, int] = {}
    with running(flag) as exporter:
        kills.scrape(exporter)
        expected |= dict.fromkeys(kills.storm(top, range(3)), 1)
        kills.kill(alive)
        expected[lab.path_of(alive)] = 1
        assert told(exporter, top, 4) == expected
        exporter.process.send_signal(signal.SIGKILL)
        exporter.process.wait()
    expected |= dict.fromkeys(kills.storm(top, range(3, 6)), 1)
    kills.kill(alive)
    expected[lab.path_of(alive)] = 2
    with running(flag) as exporter:
        assert told(exporter, top, 8) == expected
        kills.later(exporter)
        assert told(exporter, top, 8) == expected
    state.write_text("rubbish")
    with running(flag) as exporter:
        kills.scrape(exporter)
        assert any(str(state) in line and "is ignored" in line for line in exporter.log)


@pytest.mark.skipif(lab.version() == "v1", reason="on v1 every cgroup has the controller")
def test_a_kill_in_a_cgroup_without_the_controller_is_that_of_the_one_above(
    top: Path, tmp_path: Path
) -> None:
    parent = kills.limited(top, "parent")
    with running(settings(tmp_path)) as exporter:
        before, total = counted(kills.scrape(exporter)), kills.vmstat()
        for number in range(30):  # more than the kernel names in its log
            child = parent / f"child{number}"
            child.mkdir()
            kills.kill(child)
            lab.remove(child)
        samples = kills.wait_for(exporter, lambda now: counted(now) - before >= 30)
        assert 30 <= counted(samples) - before <= kills.vmstat() - total
        assert kills.by_cgroup(samples, lab.path_of(top)) == {lab.path_of(parent): 30}


def test_in_a_cgroup_namespace_of_its_own_no_kill_counts_twice(top: Path, tmp_path: Path) -> None:
    inside = top / "exporter"
    inside.mkdir()
    enter = 'echo 0 >"$0/cgroup.procs" && exec unshare --cgroup "$@"'
    with running(settings(tmp_path), by=("sh", "-c", enter, str(inside))) as exporter:
        before, total = counted(kills.scrape(exporter)), kills.vmstat()
        # More than the kernel names in its log: of the others /proc/PID/cgroup tells.
        names = kills.storm(top, range(30))
        rise = kills.vmstat() - total
        samples = kills.wait_for(exporter, lambda now: counted(now) - before >= rise)
        assert rise <= counted(samples) - before <= kills.vmstat() - total
        named = kills.by_cgroup(samples, "/")
        assert not [cgroup for cgroup in named if cgroup.startswith("/..")]
        assert {named[name] for name in names if name in named} == {1}


def test_a_kernel_log_that_may_be_read_from_now_on_has_no_new_kills(
    top: Path, tmp_path: Path
) -> None:
    alive = kills.limited(top, "alive")
    name = lab.path_of(alive)
    state = str(tmp_path / "oom.json")
    with running(settings(tmp_path, state_file=state, kmsg="none")) as exporter:
        kills.scrape(exporter)
        kills.kill(alive)
        gone = kills.storm(top, range(2))
        total = kills.vmstat()
        samples = kills.wait_for(exporter, lambda now: counted(now) >= total)
        exporter.process.terminate()
        exporter.process.wait()
    before = kills.by_cgroup(samples, "/")
    kills.kill(alive)
    with running(settings(tmp_path, state_file=state)) as exporter:
        assert told(exporter, top, before[name] + 1)[name] == 2
        samples = kills.later(exporter)
        assert total < counted(samples) <= kills.vmstat()
        after = kills.by_cgroup(samples, "/")
        assert {one: after.get(one) for one in gone} == {one: before.get(one) for one in gone}


@pytest.mark.skipif(lab.version() == "v2", reason="v2 renames no cgroup")
def test_a_renamed_cgroup_has_no_new_kill(top: Path, tmp_path: Path) -> None:
    parent = kills.limited(top, "before")
    child = parent / "child"
    child.mkdir()
    with running(settings(tmp_path)) as exporter:
        kills.scrape(exporter)
        kills.kill(parent)
        kills.kill(child)
        name = lab.path_of(parent)
        expected = {name: 1, f"{name}/child": 1}
        assert told(exporter, top, 2) == expected
        parent.rename(top / "after")
        kills.later(exporter)
        assert told(exporter, top, 2) == expected
        kills.kill(top / "after")
        assert told(exporter, top, 3) == {**expected, lab.path_of(top / "after"): 1}


def test_a_group_kill_counts_as_the_kernel_counts_it(top: Path, tmp_path: Path) -> None:
    if lab.version() != "v2":
        pytest.skip("v1 has no memory.oom.group")
    cgroup = kills.limited(top, "group")
    (cgroup / "memory.oom.group").write_text("1")
    with running(settings(tmp_path)) as exporter:
        kills.scrape(exporter)
        with lab.process(cgroup), lab.process(cgroup), lab.process(cgroup):
            kills.kill(cgroup)
            text = (cgroup / "memory.events.local").read_text()
            counted = int(text.split("\noom_kill ")[1].split()[0])
        assert counted >= 4
        assert told(exporter, top, counted) == {lab.path_of(cgroup): counted}


@pytest.mark.parametrize("levels", [1, 2])
def test_a_child_of_a_limited_parent_has_the_kill(top: Path, tmp_path: Path, levels: int) -> None:
    parent = kills.limited(top, "parent")
    child = parent
    for level in range(levels):
        if lab.version() == "v2":
            (child / "cgroup.subtree_control").write_text("+memory")
        child = child / f"child{level}"
        child.mkdir()
    name = lab.path_of(child)
    with running(settings(tmp_path)) as exporter:
        kills.scrape(exporter)
        kills.kill(child)
        lab.remove(child)
        assert told(exporter, top, 1) == {name: 1}
