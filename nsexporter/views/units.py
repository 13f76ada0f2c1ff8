"""Numbers as a person reads them."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_SPANS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size(count: float | None) -> str:
    """Bytes; - where there is no value, none where there is no limit.

    >>> size(None), size(float("inf")), size(512), size(26633830)
    ('-', 'none', '512B', '25.4MiB')
    """
    if count is None:
        return "-"
    if count == float("inf"):
        return "none"
    value, unit = float(count), 0
    while abs(value) >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{count:.0f}B" if unit == 0 else f"{value:.1f}{_UNITS[unit]}"


def number(value: float | None) -> str:
    """A count; - where there is no value."""
    return "-" if value is None else f"{value:.0f}"


def span(seconds: float) -> str:
    """A length of time in its largest whole unit.

    >>> span(0.4), span(90), span(7200)
    ('0s', '1min', '2h')
    """
    for length, unit in _SPANS:
        if seconds >= length:
            return f"{seconds // length:.0f}{unit}"
    return "0s"


def printable(text: str) -> str:
    r"""`text` without anything that moves a cursor or turns the reading direction.

    >>> printable("a\x1b[2J\u202eb")
    'a\\x1b[2J\\u202eb'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
