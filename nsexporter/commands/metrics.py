"""The reference of every metric, in the terminal."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap

from nsexporter.config import Config
from nsexporter.reference import Entry, entries
from nsexporter.views import terminal
from nsexporter.views.units import printable

HELP = "what every metric means and where it comes from"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "words", nargs="*", metavar="WORD", help="only metrics whose name or meaning has all words"
    )
    parser.add_argument("--json", action="store_true", help="as JSON")


def run(config: Config, arguments: argparse.Namespace) -> int:
    """0, or 1 where no metric has the words."""
    words = [word.lower() for word in arguments.words]
    found = [
        entry
        for entry in entries()
        if all(word in f"{entry.name} {entry.help}".lower() for word in words)
    ]
    if arguments.json:
        terminal.write([json.dumps([entry.as_json() for entry in found], indent=2)])
        return 0 if found else 1
    if not found:
        print(f"nsexporter: no metric has {printable(' '.join(words))}", file=sys.stderr)
        return 1
    out = terminal.Terminal.of(sys.stdout)
    terminal.write(line for entry in found for line in _lines(entry, out))
    return 0


def _lines(entry: Entry, out: terminal.Terminal) -> list[str]:
    width = min(out.width or 100, 100)
    labels = f"{{{', '.join(entry.labels)}}}" if entry.labels else ""
    lines = [f"{out.paint(entry.name, terminal.BOLD)} {entry.type} {labels}".rstrip()]
    for text in (entry.help, *entry.facts):
        lines += textwrap.wrap(text, width, initial_indent="    ", subsequent_indent="    ")
    return [*lines, ""]
