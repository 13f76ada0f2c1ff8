"""Settings as rows, from which files, flags, errors and the example are derived."""

from __future__ import annotations

import argparse
import json
import math
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_type_hints

from nsexporter.config.errors import ConfigError, name_of, shown


def is_not(value: object, accepted: str) -> ValueError:
    """The error of a value that is not what is accepted."""
    return ValueError(f"{shown(value)} is not {accepted}")


_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_DURATION = re.compile("".join(f"(?:(?P<{u}>{_NUMBER}){u})?" for u in ("d", "h", "m", "s", "ms")))
_MILLISECONDS = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
_LONGEST = 365 * 86_400.0  # well below what a lock or a selector accepts as a timeout


def seconds(value: object) -> float:
    """Seconds of a duration, largest unit first.

    >>> seconds("15s"), seconds("1m30s"), seconds("1.5h"), seconds("100ms")
    (15.0, 90.0, 5400.0, 0.1)
    """
    match = _DURATION.fullmatch(value) if isinstance(value, str) and value else None
    if match is None:
        raise is_not(value, "a duration")
    parts = match.groupdict(default="0")
    return sum(float(parts[unit]) * size for unit, size in _MILLISECONDS.items()) / 1000


def duration(least: str) -> Callable[[object], float]:
    """Parses a duration of at least so much."""

    def parse(value: object) -> float:
        parsed = seconds(value)
        if not seconds(least) <= parsed <= _LONGEST:
            raise is_not(value, f"from {least} to 365d")
        return parsed

    return parse


def accept(accepted: str, holds: Callable[[Any], bool]) -> Callable[[object], Any]:
    """Takes a value of which `holds` is true as it is; `accepted` says in words which that are."""

    def parse(value: object) -> object:
        if not holds(value):
            raise is_not(value, accepted)
        return value

    return parse


def integer(least: int, most: float = math.inf) -> Callable[[object], Any]:
    """Takes an integer from `least` to `most`."""
    accepted = f"of {least} or more" if most == math.inf else f"from {least} to {most}"
    return accept(f"an integer {accepted}", lambda v: type(v) is int and least <= v <= most)


def string(accepted: str, form: str) -> Callable[[object], Any]:
    """Takes a string that the regular expression `form` matches whole."""
    return accept(accepted, lambda v: isinstance(v, str) and re.fullmatch(form, v) is not None)


def one_of(*names: str) -> Callable[[object], Any]:
    """Takes one of some strings, which are letters only."""
    parse = string(f"one of {', '.join(names)}", "|".join(names))
    # In YAML 1.1 a bare on or off is a boolean.
    words = {True: "on", False: "off"} if "on" in names else {}
    return lambda value: parse(words.get(value, value) if isinstance(value, bool) else value)


boolean = accept("true or false", lambda v: isinstance(v, bool))
# Without NUL and the surrogates os.fsencode refuses; the others stand for bytes not UTF-8.
path = string("a path", r"[^\0\ud800-\udc7f\udd00-\udfff]+")


def regex(value: object) -> str:
    """A regular expression as it is written, if it is one."""
    if not isinstance(value, str):
        raise is_not(value, "a regular expression")
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise is_not(value, f"a regular expression: {error}") from None
    return value


def optional(parse: Callable[[object], Any]) -> Callable[[object], Any]:
    """None, or what `parse` accepts."""
    return lambda value: None if value is None else parse(value)


def list_of(item: Callable[[object], str], least: int = 0) -> Callable[[object], tuple[str, ...]]:
    """Parses a list of at least so many items."""

    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise is_not(value, "a list")
        if len(value) < least:
            raise is_not(value, f"a list of {least} or more")
        return tuple(item(element) for element in value)

    return parse


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One key; `default` and `example` (what an error says to try) are as YAML loads them."""

    key: str
    parse: Callable[[object], object]
    default: object
    why: str
    flag: str | None = None
    example: object = None

    def default_text(self) -> str:
        """The default as the file spells it."""
        return _yaml_text(self.default)

    def hint(self, *, flag: bool = False) -> str:
        """What to try, as the file or the flag spells it."""
        example = self.default if self.example is None else self.example
        return str(example[0]) if flag and isinstance(example, list) else _yaml_text(example)


def _yaml_text(value: object) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[\w/]+", value)
    return str(value) if plain else json.dumps(value)


class Schema:
    """Rows as a tree of sections: read from a file, set by flags, shown as an example."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self.tree: dict[str, Any] = {}  # the keys as nested mappings, a Row at each leaf
        self._row = {row.key: row for row in rows}
        for row in rows:
            *sections, leaf = row.key.split(".")
            place = self.tree
            for section in sections:
                place = place.setdefault(section, {})
            place[leaf] = row

    def load(self, path: str | None, overrides: Mapping[str, object] = {}) -> dict[str, object]:
        """Dotted key → parsed value of every row: of overrides, else of the file, else default.

        ConfigError where the file cannot be read or says what no row accepts.
        """
        values: dict[str, object] = {row.key: row.parse(row.default) for row in self.rows}
        if path is not None:
            from nsexporter.config.yamlfile import document  # 0.9 MB, which defaults need not pay

            values |= self._of_document(path, document(path), self.tree)
        return {**values, **overrides}

    def _of_document(
        self, place: str, part: object, tree: Mapping[str, Any], above: str = ""
    ) -> dict[str, object]:
        """Dotted key → parsed value, of the keys that are there; `place` names it in errors."""
        switch = tree.get("enabled")
        if isinstance(part, bool) and switch is not None:
            return {switch.key: part}
        if not isinstance(part, dict | None):
            accepted = "true, false or a mapping" if switch is not None else "a mapping"
            where = f"{place}: {above[:-1]}" if above else place
            raise ConfigError(
                f"{where}: {shown(part)} is not {accepted} (known: {', '.join(tree)})"
            )
        values: dict[str, object] = {}
        for name, value in (part or {}).items():
            key = f"{above}{name_of(name)}"
            if not isinstance(name, str) or name not in tree:
                raise self._unknown(place, key, tree)
            row = tree[name]
            if isinstance(row, Row):
                values[key] = _parse(row, value, f"{place}: {key}", row.hint())
            else:
                values |= self._of_document(place, value, row, f"{key}.")
        return values

    def _unknown(self, file: str, key: str, siblings: Mapping[str, object]) -> ConfigError:
        """The error for a key no row has, with the nearest key or all those beside it."""
        section, _, leaf = key.rpartition(".")
        near = [known for known in self._row if known.rpartition(".")[2] == leaf]
        if not near:
            import difflib  # needed here alone

            near = difflib.get_close_matches(leaf, siblings, 1)
        hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(siblings)}"
        hint = f"write it below {section}:" if key in self._row else hint
        return ConfigError(f"{file}: {key}: unknown key ({hint})")

    def add_flags(self, parser: argparse.ArgumentParser, *, without: Collection[str] = ()) -> None:
        """Add the flag of every row that has one, but for those of the sections `without`.

        A flag that is not given leaves no attribute.
        """
        settings = parser.add_argument_group("settings")
        for row in self.rows:
            if row.flag is None or row.key.partition(".")[0] in without:
                continue
            options: dict[str, Any] = {"dest": row.key, "default": argparse.SUPPRESS}
            if row.parse is boolean:
                options["action"] = argparse.BooleanOptionalAction
            else:
                options["action"] = "append" if isinstance(row.default, list) else "store"
                options["metavar"] = row.key.rpartition(".")[2].upper()
            default = "none" if row.default is None else row.hint(flag=True)
            help_text = f"{row.why} Default: {default}."
            settings.add_argument(row.flag, help=help_text.replace("%", "%%"), **options)

    def overrides(self, namespace: argparse.Namespace) -> dict[str, object]:
        """Dotted key → parsed value, of the flags given; a ConfigError names the flag."""
        given = vars(namespace)
        return {
            row.key: _parse(row, given[row.key], row.flag, row.hint(flag=True))
            for row in self.rows
            if row.flag is not None and row.key in given
        }

    def example(self) -> str:
        """The example file: every key, why, and its default."""
        lines = ["# Every key with its default; a key or section left out keeps its default."]
        for section, tree in self.tree.items():
            lines += ["", f"{section}:", *_example(tree, "  ")]
        return "\n".join(lines) + "\n"


def _parse(row: Row, value: object, place: str, hint: str) -> object:
    try:
        return row.parse(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error} (try {hint})") from None


def _example(tree: Mapping[str, Any], indent: str) -> list[str]:
    lines = []
    for name, part in tree.items():
        if isinstance(part, Row):
            lines += [f"{indent}# {part.why}", f"{indent}{name}: {_yaml_text(part.default)}"]
        elif list(part) == ["enabled"]:
            row = part["enabled"]
            lines += [f"{indent}# {row.why}", f"{indent}{name}: {_yaml_text(row.default)}"]
        else:
            lines += [f"{indent}{name}:", *_example(part, indent + "  ")]
    return lines


def built(kind: Any, tree: Mapping[str, Any], values: Mapping[str, object]) -> Any:
    """A dataclass of settings, its own sections included, from a Schema's tree and values."""
    kinds = get_type_hints(kind)
    return kind(
        **{
            name: values[part.key] if isinstance(part, Row) else built(kinds[name], part, values)
            for name, part in tree.items()
        }
    )
