"""The page of what every metric means, as of this version: also where there is no way out."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from html import escape

from nsexporter.reference import Entry, sections
from nsexporter.web.document import document, links


@cache
def docs(telemetry_path: str, version: str) -> bytes:
    """The whole page; every metric is an anchor of its own name."""
    body = [
        f"<header>\n<h1>What the metrics mean</h1>\n<p>Of nsexporter {escape(version)}. A source"
        " that is absent on a host yields no sample: never 0, -1 or a large number. No limit is"
        f" <code>+Inf</code>.</p>\n{links(('/', 'status'), (telemetry_path, telemetry_path))}"
        "</header>\n<main>\n",
        *(line for title, found in sections() for line in _section(title, found)),
        "</main>\n",
    ]
    return document("nsexporter: what the metrics mean", body)


def _section(title: str, entries: Iterable[Entry]) -> Iterable[str]:
    yield f"<section>\n<h2>{escape(title)}</h2>\n<dl>\n"
    for entry in entries:
        yield from _entry(entry)
    yield "</dl>\n</section>\n"


def _entry(entry: Entry) -> Iterable[str]:
    labels = f" {{{', '.join(entry.labels)}}}" if entry.labels else ""
    yield (
        f'<dt id="{entry.name}"><a href="#{entry.name}">{entry.name}</a>'
        f" <span class=mute>{entry.type}{labels}</span></dt>\n<dd>{escape(entry.help)}</dd>\n"
    )
    if entry.facts:
        yield f"<dd class=mute>{escape('; '.join(entry.facts))}</dd>\n"
