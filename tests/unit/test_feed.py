"""What a kernel log and a watcher tell, in whatever order."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

from nsexporter import config
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
