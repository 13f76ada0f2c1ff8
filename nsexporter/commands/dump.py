"""One pass, printed or written to a file."""

from __future__ import annotations

import argparse
import contextlib
import logging
from dataclasses import replace
from pathlib import Path

from nsexporter.collector import Collector
from nsexporter.config import Config, Switch
from nsexporter.loop import Loop
from nsexporter.publication import Publication
from nsexporter.storage import write_atomically
from nsexporter.views import terminal

log = logging.getLogger("nsexporter")

HELP = "make one pass, print the exposition and end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--output",
        metavar="FILE",
        default="-",
        help="write it atomically to FILE (for node_exporter's textfile collector)",
    )
    parser.add_argument("--openmetrics", action="store_true", help="OpenMetrics instead of text")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0 where it was written, 1 where the pass or the writing failed."""
    with contextlib.closing(Collector(config)) as collector:
        loop = Loop(collector)
        published = loop.once()
    if published is None:
        return 1
    # Without process_* and python_*: this process ends now, and node_exporter has its own.
    collectors = replace(config.collectors, self=Switch(enabled=False))
    publication = Publication(loop, collector, replace(config, collectors=collectors))
    parts = publication.parts(published, openmetrics=arguments.openmetrics)
    chunks = map(bytes, parts)
    output: str = arguments.output
    if output == "-":
        terminal.write_bytes(chunks)
        return 0
    try:
        write_atomically(Path(output), chunks)
    except OSError as error:
        log.error("cannot write %s: %s", output, error)
        return 1
    return 0
