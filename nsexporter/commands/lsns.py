"""Namespaces with their processes and containers: who shares what with whom."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys

from nsexporter.collector import Collector
from nsexporter.config import Config
from nsexporter.model import NS_TYPES
from nsexporter.views import terminal
from nsexporter.views.overview import Shared, namespaces, title
from nsexporter.views.terminal import Cell, Column

HELP = "namespaces with the containers in them"

_COLUMNS = (
    Column(title="NS"),
    Column(title="TYPE"),
    Column(title="PROCS", right=True),
    Column(title="SCOPE"),
    Column(title="HELD BY"),
    Column(title="PATH", flexible=True, rare=True),
    Column(title="CONTAINERS"),  # never cut: it is what is asked for
)

_NAMES = 8  # containers named in a row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--type", choices=NS_TYPES, action="append", help="only of this type (repeatable)"
    )
    parser.add_argument(
        "--shared", action="store_true", help="only those of two containers or more"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, one list")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0 where it was shown, 1 where not all could be read."""
    with contextlib.closing(Collector(config)) as collector:
        snapshot = collector.collect()
    found = [
        one
        for one in namespaces(snapshot)
        if not arguments.type or one.namespace.ns_type in arguments.type
        if not arguments.shared or len(one.containers) > 1
    ]
    if arguments.json:
        lines = [json.dumps([as_json(one) for one in found], indent=2)]
    else:
        lines = terminal.Terminal.of(sys.stdout).table(_COLUMNS, map(_row, found))
        if snapshot.unread_processes:
            lines.append(
                f"Not shown are processes whose namespaces may not be read:"
                f" {snapshot.unread_processes} (nsexporter doctor tells what would mend it)."
            )
    return 0 if terminal.write(lines) and all(collector.health.success.values()) else 1


def _row(one: Shared) -> list[Cell | str]:
    names = ", ".join(title(container) for container in one.containers[:_NAMES])
    if len(one.containers) > _NAMES:
        names += f" and {len(one.containers) - _NAMES} more"
    return [
        str(one.namespace.inode),
        one.namespace.ns_type,
        str(one.namespace.processes),
        Cell(one.scope, terminal.YELLOW if one.scope == "host" and one.containers else ""),
        one.namespace.held_by or "-",
        one.namespace.path or "-",
        names,
    ]


def as_json(one: Shared) -> dict[str, object]:
    """One namespace; the keys that lsns(8) has too are called as there."""
    return {
        "ns": one.namespace.inode,
        "type": one.namespace.ns_type,
        "nprocs": one.namespace.processes,
        "scope": one.scope,
        "held_by": one.namespace.held_by,
        "path": one.namespace.path or None,
        "owner_ns": one.namespace.owner,
        "parent_ns": one.namespace.parent,
        "containers": [
            {
                "id": container.container_id,
                "name": container.name,
                "runtime": container.runtime,
                "pod_name": container.pod_name,
            }
            for container in one.containers
        ],
    }
