"""What this host has, what the exporter sees of it, and what would mend the rest."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import pwd
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Mapping, Sequence

from nsexporter import __version__, capability
from nsexporter.capability import Capability
from nsexporter.collector import Collector
from nsexporter.config import Config
from nsexporter.kernel.host import capabilities, machine
from nsexporter.model import Snapshot
from nsexporter.views import terminal
from nsexporter.views.units import printable, size, span

HELP = "what this host has, what cannot be seen and the command that mends it"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0 where all can be seen, 1 where something cannot."""
    with contextlib.closing(Collector(config)) as collector:
        snapshot = collector.collect()
        facts = _facts(config, collector, snapshot)
    checks = capability.told(snapshot)
    errors = {f"{name} {errno}": n for (name, errno), n in sorted(collector.reader.errors.items())}
    failed = sorted(name for name, well in collector.health.success.items() if not well)
    if arguments.json:
        shown = {
            **facts,
            "capabilities": {one.name: holds for one, holds in checks},
            "collectors_failed": failed,
            "read_errors": errors,
        }
        terminal.write([json.dumps(shown, indent=2)])
    else:
        terminal.write(_lines(facts, checks, failed, errors))
    return 0 if all(holds for _, holds in checks) and not failed and not errors else 1


def _facts(config: Config, collector: Collector, snapshot: Snapshot) -> dict[str, str]:
    """What the host is, who looks, and what is seen."""
    host, hierarchies = collector.host, collector.hierarchies
    held = " ".join(capabilities(collector.reader)) or "no capability"
    kernel = f"Linux {host.kernel} {host.machine}"
    words = (host.name, kernel, host.distribution, *_machine(config.path.procfs))
    return {
        "host": ", ".join(filter(None, words)),
        "exporter": f"nsexporter {__version__}, Python {platform.python_version()},"
        f" user {_user()}, {held}",
        "cgroups": "no hierarchy is mounted"
        if hierarchies is None
        else f"{hierarchies.mode}: memory on {snapshot.hierarchy} at {hierarchies.memory},"
        f" pids at {hierarchies.pids}, cgroup2 at {hierarchies.unified}",
        "seen": seen(snapshot),
    }


def _lines(
    facts: Mapping[str, str],
    checks: Sequence[tuple[Capability, bool]],
    failed: Sequence[str],
    errors: Mapping[str, int],
) -> list[str]:
    out = terminal.Terminal.of(sys.stdout)
    width = min(out.width or 100, 100)
    lines = [line for name, text in facts.items() for line in _wrapped(name, text, width, out)]
    lines.append("")
    for one, holds in checks:
        if holds:
            lines.append(f"{out.paint('sees', terminal.GREEN)}      {one.name}")
        else:
            lines.append(f"{out.paint('misses', terminal.RED)}    {one.name}")
            lines += _wrapped("", one.meaning, width, out)
            lines += _wrapped("", f"To mend it: {one.mend}.", width, out)
    what = [f"collector {name}" for name in failed]
    what += [f"{n} reads: {name}" for name, n in errors.items()]
    return lines + [f"{out.paint('failed', terminal.RED)}    {one}" for one in what]


def _wrapped(name: str, text: str, width: int, out: terminal.Terminal) -> Sequence[str]:
    lines = textwrap.wrap(printable(text), width - 10) or [""]
    head = out.paint(f"{name:<10}", terminal.BOLD)
    return [head + lines[0], *(" " * 10 + line for line in lines[1:])]


def seen(snapshot: Snapshot) -> str:
    """What a pass found, in a line."""
    runtimes = Counter(container.runtime or "unknown" for container in snapshot.containers)
    by_runtime = ", ".join(f"{n} {name}" for name, n in runtimes.most_common())
    unread = snapshot.unread_processes
    return (
        f"{len(snapshot.cgroups)} cgroups, {len(snapshot.containers)} containers"
        f"{f' ({by_runtime})' if by_runtime else ''}, {len(snapshot.processes) + unread} processes"
        f"{f' ({unread} whose namespaces may not be read)' if unread else ''},"
        f" {len(snapshot.namespaces)} namespaces, in {snapshot.duration * 1000:.0f} ms"
    )


def _machine(procfs: str) -> Sequence[str]:
    try:
        found = machine(procfs)
    except (OSError, ValueError, IndexError):  # psutil of a procfs that lacks its files
        return ()
    swap = f"{size(found.swap)} of swap" if found.swap else "no swap"
    up = span(time.time() - found.booted)
    return f"{found.cpus} CPUs", f"{size(found.memory)} of memory", swap, f"up {up}"


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
