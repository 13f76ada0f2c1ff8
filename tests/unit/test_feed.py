"""What a kernel log and a watcher tell, in whatever order."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from nsexporter import config
from nsexporter.kernel.cgroup import Found
from nsexporter.kernel.files import Reader
from nsexporter.kernel.procfs import Procfs
from nsexporter.oom.feed import Feed

PID = 4194305  # more than the kernel gives (PID_MAX_LIMIT)


def test_a_line_read_before_its_pid_was_seen_is_placed_by_the_next_pass(tmp_path: Path) -> None:
    log = tmp_path / "kmsg"
    log.write_text(f"3,1,1,-;Memory cgroup out of memory: Killed process {PID} (x) total-vm:1kB\n")
    settings = replace(config.load(None, {}).oom, kmsg=str(log), state_file="none")
    feed = Feed(settings, Procfs(Reader(), "/proc"), follow=False)
    try:
        feed.look([], 0, time.monotonic())
        feed.remember([PID], "/a")
        feed.look([], 1, time.monotonic())
        ledger = feed.publish([], {}, {}, lambda _: True)
    finally:
        feed.close()
    assert {cgroup: account.kills for cgroup, account in ledger.accounts.items()} == {
        "/a": {"memcg": 1}
    }
    assert ledger.unattributed == 0


def test_an_exporter_that_ends_before_its_first_pass_leaves_no_state(tmp_path: Path) -> None:
    file = tmp_path / "oom.json"
    settings = replace(config.load(None, {}).oom, kmsg="none", state_file=str(file))
    feed = Feed(settings, Procfs(Reader(), "/proc"), follow=True)
    feed.close()
    assert not file.exists()
    feed = Feed(settings, Procfs(Reader(), "/proc"), follow=True)
    feed.look([], 0, time.monotonic())
    feed.close()
    assert file.exists()


def test_a_line_from_before_the_start_is_not_of_the_process_that_has_its_pid_now(
    tmp_path: Path,
) -> None:
    log = tmp_path / "kmsg"
    log.write_text(f"3,1,1,-;Out of memory: Killed process {os.getpid()} (x) total-vm:1kB\n")
    settings = replace(config.load(None, {}).oom, kmsg=str(log), state_file="none")
    feed = Feed(settings, Procfs(Reader(), "/proc"), follow=False)
    try:
        feed.look([], 1, time.monotonic())
        ledger = feed.publish([], {}, {}, lambda _: True)
    finally:
        feed.close()
    assert ledger.accounts == {}
    assert ledger.unattributed == 1


def test_a_counter_is_counted_however_its_cgroup_was_read_before(tmp_path: Path) -> None:
    def found(path: str, key: int, kills: int) -> Found:
        text = b"oom_kill_disable 0\nunder_oom 0\noom_kill %d" % kills
        return Found(path, -1, {"memory.oom_control": text}, key, -1)

    settings = replace(config.load(None, {}).oom, kmsg="none", state_file="none")
    feed = Feed(settings, Procfs(Reader(), "/proc"), follow=False)
    quiet, killed, replaced = found("/quiet", 1, 0), found("/a", 2, 1), found("/a", 3, 1)
    try:
        told = []
        # Nothing, one kill, the same again, at another place, of its successor, the first is gone.
        for cgroups in (
            [quiet, found("/a", 2, 0)],
            [quiet, killed],
            [quiet, killed],
            [killed],
            [quiet, replaced],
            [replaced],
        ):
            feed.look(cgroups, None, time.monotonic())
            ledger = feed.publish([], {}, {}, lambda _: True)
            told.append({path: one.kills for path, one in ledger.accounts.items()})
    finally:
        feed.close()
    once, twice = {"/a": {"unknown": 1}}, {"/a": {"unknown": 2}}
    assert told == [{}, once, once, once, twice, twice]
