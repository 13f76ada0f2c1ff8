"""The dashboards as JSON: `python -m grafana.build [--check]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from grafana.board import slug
from grafana.container import container
from grafana.exporter import exporter
from grafana.fleet import fleet
from grafana.host import host
from grafana.namespaces import namespaces
from grafana.panels import Json

DIRECTORY = Path(__file__).with_name("dashboards")
DASHBOARDS = (host, container, namespaces, fleet, exporter)


def text(dashboard: Json) -> str:
    """A dashboard as its file has it."""
    return json.dumps(dashboard, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[str, str]:
    """Name of each file to its text."""
    made = [build() for build in DASHBOARDS]
    return {f"{slug(one['title'])}.json": text(one) for one in made}


def main() -> int:
    """Write the files, or with --check say which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing, tell what is stale")
    check = parser.parse_args().check
    wanted = files()
    there = {path.name: path.read_text("utf-8") for path in DIRECTORY.glob("*.json")}
    stale = sorted(
        name for name in wanted.keys() | there.keys() if wanted.get(name) != there.get(name)
    )
    for name in stale:
        if check:
            print(f"{DIRECTORY / name} is stale: run make docs", file=sys.stderr)
        elif name in wanted:
            DIRECTORY.mkdir(exist_ok=True)
            (DIRECTORY / name).write_text(wanted[name], "utf-8")
        else:
            (DIRECTORY / name).unlink()
    return int(check and bool(stale))


if __name__ == "__main__":
    raise SystemExit(main())
