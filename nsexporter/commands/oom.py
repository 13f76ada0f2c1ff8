"""The ledger of OOM kills: who was killed since boot, from kernel log, counters and state file."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from datetime import datetime

from nsexporter.collector import Collector
from nsexporter.config import Config
from nsexporter.views import terminal
from nsexporter.views.overview import Killed, killed, title
from nsexporter.views.terminal import Column
from nsexporter.views.units import size

HELP = "OOM kills of this boot: when, who, how often and because of whose limit"

COLUMNS = (
    Column(title="LAST"),
    Column(title="CONTAINER", flexible=True),
    Column(title="TASK"),
    Column(title="PID", right=True),
    Column(title="RSS", right=True),
    Column(title="KILLS", right=True),
    Column(title="WHY"),
    Column(title="CGROUP", flexible=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0 where something tells of kills here, 1 where nothing does."""
    with contextlib.closing(Collector(config)) as collector:
        snapshot = collector.collect()
    ledger, found = snapshot.oom, killed(snapshot)
    kills = snapshot.host_oom_kills
    if arguments.json:
        shown = {
            "host_kills": kills,
            "unattributed": ledger.unattributed,
            "sources": dict(ledger.sources),
            "cgroups": [as_json(one) for one in found],
        }
        terminal.write([json.dumps(shown, indent=2)])
    else:
        lines = terminal.Terminal.of(sys.stdout).table(COLUMNS, map(row, found))
        told = ", ".join(name for name, tells in sorted(ledger.sources.items()) if tells)
        lines.append("")
        lines.append(
            f"{'-' if kills is None else kills} kills on the host since boot,"
            f" {'-' if ledger.unattributed is None else ledger.unattributed} of them of nobody"
            f" known; told by {told or 'nothing'}."
        )
        terminal.write(lines)
    return 0 if any(ledger.sources.values()) else 1


def row(one: Killed) -> list[str]:
    """One cgroup's kills and its last, for COLUMNS."""
    account, last = one.account, one.account.last
    when = (
        "-" if last.time is None else datetime.fromtimestamp(last.time).strftime("%m-%d %H:%M:%S")
    )
    return [
        when,
        title(account.container) if account.container else "-",
        last.comm or "-",
        "-" if last.pid is None else str(last.pid),
        size(last.sizes.get("anon-rss")),
        str(one.kills),
        ",".join(sorted(account.kills)),
        account.cgroup,
    ]


def as_json(one: Killed) -> dict[str, object]:
    """One cgroup's kills and its last; null is what nothing told."""
    account, last = one.account, one.account.last
    return {
        "cgroup": account.cgroup,
        "alive": one.alive,
        "container_id": account.container.container_id if account.container else None,
        "container_name": account.container.name if account.container else None,
        "pod_name": account.pod_name or None,
        "pod_namespace": account.pod_namespace or None,
        "kills": dict(account.kills),
        "last": {
            "time": last.time,
            "constraint": last.constraint,
            "pid": last.pid,
            "task": last.comm,
            "uid": last.uid,
            "oom_memcg": last.oom_memcg,
            "task_memcg": last.task_memcg,
            "sizes_bytes": dict(last.sizes),
        },
    }
