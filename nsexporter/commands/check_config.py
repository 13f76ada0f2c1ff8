"""Whether a configuration file is right, without starting anything."""

from __future__ import annotations

import argparse
import sys

from nsexporter import config as configuration
from nsexporter.config import Config, ConfigError
from nsexporter.views import terminal
from nsexporter.views.units import printable

HELP = "check a configuration file and end"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument("file", metavar="FILE", help="the YAML file")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0 where the file is right, 2 where it is not."""
    try:
        configuration.load(arguments.file)
    except ConfigError as error:
        print(f"nsexporter: {error}", file=sys.stderr)
        return 2
    terminal.write([f"{printable(arguments.file)}: right"])
    return 0
