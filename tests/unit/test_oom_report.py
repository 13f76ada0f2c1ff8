"""OOM reports of many kernels, line by line."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from nsexporter.kernel import kmsg
from nsexporter.kernel.oom_report import Report, Reports
from nsexporter.model import OomKill

DATA = Path(__file__).parents[1] / "data"

# What dmesg, journald and syslog daemons put before a line of the kernel log.
_PREFIX = re.compile(
    r"(?:(?:"
    r"<\d+>|\w+ *:\w+ *:"  # the priority, raw or as dmesg -x names it
    r"|\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d\S*"  # ISO 8601
    r"|[A-Z][a-z]{2} +\d+ (?:\d{4} )?\d\d:\d\d:\d\d(?:\.\d+)?"  # syslog's time
    r"|\d{10}(?:\.\d+)?(?= )"  # the epoch
    r"|\[ *\d+\.\d+\]|\[[^]]*\d\d:\d\d:\d\d[^]]*\]"  # since boot, or dmesg -T
    r"|\[ *[TC]\d+\]"  # the caller
    r"|(?:\S+ )?kernel:|[\w.-]+(?= \[ *\d+\.\d+\])"  # the host
    r") *)*"
)
_RAW = re.compile(r"\d+,\d+,\d+,[^;]*;")


def messages(text: str) -> Iterable[str]:
    for line in text.split("\n"):
        if _RAW.match(line):
            found = kmsg.record(line.encode())
            if found is not None:
                yield found.text
        else:
            prefix = _PREFIX.match(line)
            yield line[prefix.end() :] if prefix else line


def read(text: str) -> tuple[list[OomKill], list[Report]]:
    """The kills of a text, and the reports whose `Killed process` line is not in it."""
    reports = Reports()
    kills = [kill for line in messages(text) if (kill := reports.line(line, None))]
    return kills, reports.open


def rows() -> list[Any]:
    """Our own logs, and those of $NSEXPORTER_TEST_CORPUS, which may not be copied."""
    corpus = os.environ.get("NSEXPORTER_TEST_CORPUS")
    others = sorted(Path(corpus).glob("oom_logs*.jsonl")) if corpus else []
    return [
        pytest.param(row, id=f"{path.stem}-{number}")
        for path in (DATA / "oom_reports.jsonl", *others)
        for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"))
        if line
        for row in (json.loads(line),)
        if "doubtful" not in row.get("note", "") and not row["expect"].get("doubtful")
    ]


@pytest.mark.parametrize("row", rows())
def test_a_log_gives_the_kills_that_its_row_tells(row: dict[str, Any]) -> None:
    kills, unfinished = read(row["input"])
    told: dict[int | None, dict[str, Any]] = {}
    for kill in kills:
        told.setdefault(kill.pid, shown(kill))  # a group kill prints a PID twice
    for report in unfinished:
        told.setdefault(report.pid, shown(report))
    expected = [event for event in row["expect"]["events"] if not event.get("already_exiting")]
    assert len(told) == row["expect"]["n_kills"] == len(expected)
    for event, own in zip(expected, told.values(), strict=True):
        wanted = {key: value for key, value in event.items() if key in own}
        assert {key: own[key] for key in wanted} == wanted


def test_a_pid_of_a_group_is_printed_and_counted_twice() -> None:
    row = next(row.values[0] for row in rows() if "printed twice" in row.values[0]["note"])
    assert [kill.pid for kill in read(row["input"])[0]] == [5, 5, 7]


def test_a_kill_long_after_a_group_is_not_of_the_group() -> None:
    reports = Reports()
    reports.line("Tasks in /g are going to be killed due to memory.oom.group set", 10.0)
    line = "Memory cgroup out of memory: Killed process 7 (x) total-vm:1kB"
    first, later = reports.line(line, 10.01), reports.line(line, 10.5)
    assert first is not None and later is not None
    assert (first.group, later.group) == ("/g", None)


_SIZES = {"total-vm", "anon-rss", "file-rss", "shmem-rss", "pgtables"}


def shown(kill: OomKill | Report) -> dict[str, Any]:
    """A kill under the corpus's names."""
    values: dict[str, Any] = {
        "victim_pid": kill.pid,
        "victim_comm": kill.comm,
        "oom_memcg": kill.oom_memcg,
        "task_memcg": kill.task_memcg,
        "scope": {"unknown": None, "memcg": "memcg"}.get(kill.constraint, "global"),
    }
    if kill.uid is not None:
        values["uid"] = kill.uid
    if isinstance(kill, OomKill):
        values |= {
            f"{name.replace('-', '_')}_kb": size // 1024
            for name, size in kill.sizes.items()
            if name in _SIZES
        }
        values["oom_score_adj"] = kill.oom_score_adj
        if kill.group:
            values["oom_group"] = kill.group
    else:
        values["candidate_pid"] = kill.candidate
    return values
