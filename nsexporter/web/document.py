"""What every page has in common: frame, style, policy, tables. Pure; HTML5, UTF-8."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib.resources import files

from nsexporter.views.units import printable

_ALIGNED = {">": " class=n", "|": " class=ns"}  # by the first character of a column's head


@cache
def _static(name: str) -> str:
    return files("nsexporter.web").joinpath("static", name).read_text(encoding="utf-8")


@cache
def policy() -> str:
    """The Content-Security-Policy: only the pages' own style and script, and nothing else."""

    def digest(name: str) -> str:
        found = hashlib.sha256(_static(name).encode()).digest()
        return f"'sha256-{base64.b64encode(found).decode()}'"

    return (
        f"default-src 'none'; style-src {digest('status.css')}; script-src {digest('status.js')};"
        " img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none';"
        " frame-ancestors 'none'"
    )


def document(title: str, body: Iterable[str], *, refreshed: bool = False) -> bytes:
    """A whole page; `title` is escaped here, `body` is HTML. One that is refreshed has a script."""
    parts = [
        "<!DOCTYPE html>\n<html lang=en>\n<head>\n<meta charset=utf-8>\n"
        '<meta name=viewport content="width=device-width,initial-scale=1">\n'
        '<link rel=icon href="data:,">\n'
        f"<title>{escape(printable(title))}</title>\n"
        f"<style>{_static('status.css')}</style>\n</head>\n<body>\n",
        *body,
        f"<script>{_static('status.js')}</script>\n" if refreshed else "",
        "</body>\n</html>\n",
    ]
    return "".join(parts).encode("utf-8", "backslashreplace")


def links(*pages: tuple[str, str]) -> str:
    """Links to other pages: path and what it is called."""
    found = "".join(f'<a href="{escape(path)}">{escape(name)}</a>' for path, name in pages)
    return f"<nav aria-label=Pages>{found}</nav>\n"


def text(value: str) -> str:
    """A name of the host in HTML; `bdi` keeps its letters from turning what is around it."""
    shown = escape(printable(value))
    return shown if value.isascii() else f"<bdi>{shown}</bdi>"


def clip(value: str) -> str:
    """The same where it may be long: it shows as much as fits, and 512 characters at a touch."""
    if len(value) <= 24:
        return text(value)
    whole = escape(printable(value[:512]))
    return f'<span class=clip title="{whole}">{text(value[:512])}</span>'


def table(name: str, label: str, head: Sequence[str], rows: Iterable[str]) -> Iterable[str]:
    """A table that scrolls sideways on a narrow screen, by keyboard too.

    A head that begins with > is of a column of figures, with | of a centred one.
    """
    yield (
        f"<div class=scroll id={name} tabindex=0 role=region aria-label='{label}'>"
        "<table>\n<thead><tr>"
    )
    for title in head:
        kind = _ALIGNED.get(title[0], "")
        yield f"<th scope=col{kind}>{title.lstrip('>|')}</th>"
    yield "</tr></thead>\n<tbody>\n"
    yield from rows
    yield "</tbody></table></div>\n"
