"""What is wrong with a setting, as one line for a terminal or a log."""

from __future__ import annotations

import json


class ConfigError(ValueError):
    """One printable line: where (file or flag), which key, what is wrong, what is accepted."""

    def __init__(self, text: str) -> None:
        # A value may hold line separators, escapes or lone surrogates: none may reach a terminal.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


def shown(value: object) -> str:
    """A YAML value as in an error, on one line; a list or mapping by its kind only."""
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    if isinstance(value, str):
        return json.dumps(value if len(value) <= 80 else value[:80] + "…", ensure_ascii=False)
    if isinstance(value, int) and value.bit_length() > 256:
        return "a huge integer"  # str() of more than 4300 digits is a ValueError
    if value is None or isinstance(value, int | float):
        return json.dumps(value)
    return shown(str(value))  # a date, bytes, a set


def name_of(key: object) -> str:
    """A key as in an error."""
    return key[:80] if isinstance(key, str) else shown(key)
