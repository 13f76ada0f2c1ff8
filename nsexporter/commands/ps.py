"""Containers of all runtimes now, the one nearest to its limit first."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable

from nsexporter.collector import Collector
from nsexporter.config import Config
from nsexporter.families.columns import Columns
from nsexporter.views import terminal
from nsexporter.views.overview import Use, uses
from nsexporter.views.terminal import Cell, Column
from nsexporter.views.units import number, size

HELP = "containers now: usage, limit, headroom and OOM kills, for all runtimes at once"

_SORTS: dict[str, Callable[[Use], float | str]] = {
    "danger": lambda use: -use.fullness,
    "usage": lambda use: -(use.usage or 0),
    "limit": lambda use: math.inf if use.limit is None else use.limit,
    "headroom": lambda use: math.inf if use.headroom is None else use.headroom,
    "failcnt": lambda use: -(use.failcnt or 0),
    "kills": lambda use: -(use.oom_kills or 0),
    "name": lambda use: use.container.name or use.container.label_id,
}
_CLEAR = "\x1b[H\x1b[2J"
_COLUMNS = (
    Column(title="CONTAINER"),
    Column(title="NAME", flexible=True),
    Column(title="RUNTIME", spare=True),
    Column(title="POD", flexible=True, rare=True),
    Column(title="USAGE", right=True),
    Column(title="LIMIT", right=True),
    Column(title="FULL", right=True),
    Column(title="HEADROOM", right=True, spare=True),
    Column(title="FAILCNT", right=True),
    Column(title="KILLS", right=True),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("--sort", choices=_SORTS, default="danger", help="default: danger")
    parser.add_argument(
        "--watch",
        type=_interval,
        nargs="?",
        const=2.0,
        metavar="SECONDS",
        help="show it again every SECONDS (default 2) until Ctrl-C",
    )
    parser.add_argument("--json", action="store_true", help="as JSON, one list")


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not from 0.1 to 3600 seconds")
    return seconds


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0, or 1 where not all could be read; Ctrl-C ends --watch well."""
    collector = Collector(config)
    try:
        while True:
            out = terminal.Terminal.of(sys.stdout)  # it may have been resized
            found = sorted(uses(Columns(collector.collect())), key=_SORTS[arguments.sort])
            if arguments.json:
                lines = [json.dumps([as_json(use) for use in found], indent=2)]
            else:
                lines = out.table(_COLUMNS, map(_row, found))
            if arguments.watch is None:
                return 0 if terminal.write(lines) and all(collector.health.success.values()) else 1
            if out.height is not None:
                # The first line and the fullest stay in sight; the cursor takes a line too.
                lines = [_CLEAR + lines[0], *lines[1 : out.height - 1]]
            if not terminal.write(lines):
                return 0
            time.sleep(arguments.watch)
    except KeyboardInterrupt:
        return 0
    finally:
        collector.close()


def _row(use: Use) -> list[Cell | str]:
    limited = use.limit not in (None, math.inf)
    full = f"{use.fullness:.0%}" if limited else "-"
    colour = terminal.RED if use.fullness >= 0.9 else terminal.YELLOW if use.fullness >= 0.7 else ""
    return [
        use.container.label_id,
        use.container.name or "-",
        use.container.runtime or "-",
        use.container.pod_name or "-",
        size(use.usage),
        size(use.limit),
        Cell(full, colour),
        size(use.headroom) if limited else "-",
        number(use.failcnt),
        Cell(number(use.oom_kills), terminal.RED if use.oom_kills else ""),
    ]


def as_json(use: Use) -> dict[str, object]:
    """One container; null is absent, and so is a limit where there is none."""
    container = use.container
    limited = use.limit not in (None, math.inf)
    return {
        "id": container.container_id,
        "name": container.name,
        "runtime": container.runtime,
        "image": container.image,
        "pod_name": container.pod_name,
        "pod_namespace": container.pod_namespace,
        "cgroup": container.cgroup,
        "usage_bytes": use.usage,
        "working_set_bytes": use.working_set,
        "effective_limit_bytes": use.limit if limited else None,
        "limiting_cgroup": use.limiting or None,
        "headroom_bytes": use.headroom if limited else None,
        "failcnt": use.failcnt,
        "oom_kills": use.oom_kills,
        "stalled_seconds": use.stalled,
    }
