"""Settings as rows, from which defaults, file, flags, example and errors are derived."""

from __future__ import annotations

import argparse
import difflib
import json
import math
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import yaml


class ConfigError(ValueError):
    """One printable line: where (file or flag), which key, what is wrong, what is accepted."""

    def __init__(self, text: str) -> None:
        # A value may hold line separators, escapes or lone surrogates: none may reach a terminal.
        super().__init__("".join(c if c.isprintable() else ascii(c)[1:-1] for c in text))


@dataclass(frozen=True, slots=True)
class Path:
    procfs: str
    sysfs: str
    rootfs: str


@dataclass(frozen=True, slots=True)
class Web:
    listen_addresses: tuple[str, ...]
    telemetry_path: str
    max_connections: int


@dataclass(frozen=True, slots=True)
class Log:
    level: str
    format: str


@dataclass(frozen=True, slots=True)
class Collection:
    interval: float
    max_age: float
    max_cgroups: int
    cgroup_allow: tuple[str, ...]
    cgroup_deny: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Switch:
    """A collector without settings of its own."""

    enabled: bool


@dataclass(frozen=True, slots=True)
class Collectors:
    """A collector each; in the file `memory: false` is short for `memory: {enabled: false}`."""

    memory: Switch
    pids: Switch
    pressure: Switch
    namespaces: Switch
    self: Switch


@dataclass(frozen=True, slots=True)
class Metadata:
    sources: tuple[str, ...]
    timeout: float


@dataclass(frozen=True, slots=True)
class Labels:
    container_id_length: int
    allow: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Config:
    """All settings, parsed, a section an attribute."""

    path: Path
    web: Web
    log: Log
    collection: Collection
    collectors: Collectors
    metadata: Metadata
    labels: Labels


def _shown(value: object) -> str:
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
    return _shown(str(value))  # a date, bytes, a set


def _is_not(value: object, accepted: str) -> ValueError:
    return ValueError(f"{_shown(value)} is not {accepted}")


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
        raise _is_not(value, "a duration")
    parts = match.groupdict(default="0")
    return sum(float(parts[unit]) * size for unit, size in _MILLISECONDS.items()) / 1000


def _duration(least: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        parsed = seconds(value)
        if not seconds(least) <= parsed <= _LONGEST:
            raise _is_not(value, f"from {least} to 365d")
        return parsed

    return parse


def _accept(accepted: str, holds: Callable[[Any], bool]) -> Callable[[object], Any]:
    def parse(value: object) -> object:
        if not holds(value):
            raise _is_not(value, accepted)
        return value

    return parse


def _integer(least: int, most: float = math.inf) -> Callable[[object], Any]:
    accepted = f"of {least} or more" if most == math.inf else f"from {least} to {most}"
    return _accept(f"an integer {accepted}", lambda v: type(v) is int and least <= v <= most)


def _string(accepted: str, form: str) -> Callable[[object], Any]:
    return _accept(accepted, lambda v: isinstance(v, str) and re.fullmatch(form, v) is not None)


def _one_of(*names: str) -> Callable[[object], Any]:
    return _string(f"one of {', '.join(names)}", "|".join(names))


_boolean = _accept("true or false", lambda v: isinstance(v, bool))
# Without NUL and the surrogates os.fsencode refuses; the others stand for bytes not UTF-8.
_path = _string("a path", r"[^\0\ud800-\udc7f\udd00-\udfff]+")
_url_path = _string("a URL path that begins with /", r"/[!\"$->@-~]*")
_HOST = r"(?:\[[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?\]|[A-Za-z0-9._-]*)"
_PORT = r"(?:[0-5]?[0-9]{1,4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_address = _string("an address such as :10061, 127.0.0.1:10061 or [::1]:10061", f"{_HOST}:{_PORT}")


_label_pattern = _string("a label's name", r"[^\0]+")


def _regex(value: object) -> str:
    if not isinstance(value, str):
        raise _is_not(value, "a regular expression")
    try:
        re.compile(value)
    except (re.error, OverflowError, RecursionError) as error:
        raise _is_not(value, f"a regular expression: {error}") from None
    return value


def _list(item: Callable[[object], str], least: int = 0) -> Callable[[object], tuple[str, ...]]:
    def parse(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            raise _is_not(value, "a list")
        if len(value) < least:
            raise _is_not(value, f"a list of {least} or more")
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

    def hint(self, *, flag: bool = False) -> str:
        """What to try, as the file or the flag spells it."""
        example = self.default if self.example is None else self.example
        return str(example[0]) if flag and isinstance(example, list) else _yaml_text(example)


def _yaml_text(value: object) -> str:
    plain = isinstance(value, str) and re.fullmatch(r"[\w/]+", value)
    return str(value) if plain else json.dumps(value)


SOURCES = ("docker",)
"""The sources of metadata there are."""

_CGROUPS = ["^/system[.]slice/"]
ROWS = (
    Row(key="path.procfs", parse=_path, default="/proc", flag="--path.procfs",
        why="Where procfs is mounted; in a container, the host's."),
    Row(key="path.sysfs", parse=_path, default="/sys", flag="--path.sysfs",
        why="Where sysfs is mounted; cgroups are looked for below it."),
    Row(key="path.rootfs", parse=_path, default="/", flag="--path.rootfs",
        why="Where the host's root is mounted."),
    Row(key="web.listen_addresses", parse=_list(_address, 1), default=[":10061"],
        flag="--web.listen-address", why="Addresses to serve on; no host means all interfaces."),
    Row(key="web.telemetry_path", parse=_url_path, default="/metrics", flag="--web.telemetry-path",
        why="URL path of the metrics."),
    Row(key="web.max_connections", parse=_integer(1), default=128,
        why="Connections served at once, so that slow clients cannot use up descriptors."),
    Row(key="log.level", parse=_one_of("debug", "info", "warning", "error"), default="info",
        flag="--log.level", why="Least severity logged: debug, info, warning or error."),
    Row(key="log.format", parse=_one_of("logfmt", "json"), default="logfmt", flag="--log.format",
        why="Form of a log line: logfmt or json."),
    Row(key="collection.interval", parse=_duration("100ms"), default="15s",
        flag="--collection.interval", why="Time between two passes over the cgroups."),
    Row(key="collection.max_age", parse=_duration("0s"), default="1s",
        flag="--collection.max-age", why="Age up to which a pass answers another scrape."),
    Row(key="collection.max_cgroups", parse=_integer(0), default=20000,
        why="Cgroups read in a pass at most, to bound memory and cardinality; 0: no cap."),
    Row(key="collection.cgroup_allow", parse=_list(_regex), default=[], example=_CGROUPS,
        why="Regular expressions of the cgroup paths to read; none: all."),
    Row(key="collection.cgroup_deny", parse=_list(_regex), default=[], example=_CGROUPS,
        why="Regular expressions of the cgroup paths to leave out."),
    *(
        Row(key=f"collectors.{name}.enabled", parse=_boolean, default=True, why=why,
            flag=f"--collector.{name}")
        for name, why in (
            ("memory", "Memory of every cgroup: usage, limits, events and statistics."),
            ("pids", "Tasks of every cgroup and their limit."),
            ("pressure", "Pressure stall information (PSI) of every cgroup."),
            ("namespaces", "Which namespaces processes share."),
            ("self", "What the exporter itself uses."),
        )
    ),
    Row(key="metadata.sources", parse=_list(_one_of(*SOURCES)), default=list(SOURCES),
        why="Whose state tells of containers, in the order asked; each only where it is there."),
    Row(key="metadata.timeout", parse=_duration("1ms"), default="200ms",
        why="How long a pass waits for what is told of its new containers, all together."),
    Row(key="labels.container_id_length", parse=_integer(12, 64), default=12,
        why="Digits kept of a container ID, 12 (as docker ps shows) to 64 (all)."),
    Row(key="labels.allow", parse=_list(_label_pattern),
        default=["com.docker.compose.project", "com.docker.compose.service"],
        why="Containers' own labels shown in container_info, * standing for any characters."),
)  # fmt: skip
_ROW = {row.key: row for row in ROWS}


def _tree() -> dict[str, Any]:
    """The keys as nested mappings, a Row at each leaf."""
    tree: dict[str, Any] = {}
    for row in ROWS:
        *sections, leaf = row.key.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = row
    return tree


_TREE = _tree()


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate and merge keys, and locates bad scalars."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key, mark = self.construct_object(key_node, deep=True), key_node.start_mark
            if isinstance(key, Hashable) and key in first:
                text = f"key {_name(key)} is there twice (keep one; the other: line {first[key]})"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)
            if isinstance(key, Hashable):
                first[key] = mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):
            text = f"{_shown(node.value)} is not a {node.tag.rpartition(':')[2]} (try quotes)"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from None


def _name(key: object) -> str:
    return key[:80] if isinstance(key, str) else _shown(key)


def _document(file: str, content: bytes) -> object:
    """What the YAML holds, None if nothing; a ConfigError has the line."""
    loader = None
    try:
        text = content.decode("utf-8-sig")
        loader = _Loader(text)
        return loader.get_single_data()
    except UnicodeDecodeError as error:
        line, problem = content.count(b"\n", 0, error.start), "not UTF-8"
    except yaml.reader.ReaderError as error:
        line, problem = text.count("\n", 0, error.position), "a control character (escape it)"
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, problem = mark.line if mark else 0, error.problem or str(error)
    except (ValueError, OverflowError):  # "\UFFFFFFFF" is not a YAMLError
        line, problem = loader.line if loader else 0, "a character or number out of range"
    except RecursionError:
        line, problem = loader.line if loader else 0, "nested too deeply"
    raise ConfigError(f"{file}: line {line + 1}: {problem[:200]}")


def _unknown(file: str, key: str, siblings: Mapping[str, object]) -> ConfigError:
    """The error for a key no row has, with the nearest key or all those beside it."""
    section, _, leaf = key.rpartition(".")
    near = [known for known in _ROW if known.rpartition(".")[2] == leaf]
    near = near or difflib.get_close_matches(leaf, siblings, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(siblings)}"
    hint = f"write it below {section}:" if key in _ROW else hint
    return ConfigError(f"{file}: {key}: unknown key ({hint})")


def _parse(row: Row, value: object, place: str, hint: str) -> object:
    try:
        return row.parse(value)
    except ValueError as error:
        raise ConfigError(f"{place}: {error} (try {hint})") from None


def _from_file(
    place: str, document: object, tree: Mapping[str, Any] = _TREE, above: str = ""
) -> dict[str, object]:
    """Dotted key → parsed value, of the keys the document has; `place` names it in errors."""
    switch = tree.get("enabled")
    if isinstance(document, bool) and switch is not None:
        return {switch.key: document}
    if not isinstance(document, dict | None):
        accepted = "true, false or a mapping" if switch is not None else "a mapping"
        where = f"{place}: {above[:-1]}" if above else place
        raise ConfigError(
            f"{where}: {_shown(document)} is not {accepted} (known: {', '.join(tree)})"
        )
    values: dict[str, object] = {}
    for name, value in (document or {}).items():
        key = f"{above}{_name(name)}"
        if not isinstance(name, str) or name not in tree:
            raise _unknown(place, key, tree)
        row = tree[name]
        if isinstance(row, Row):
            values[key] = _parse(row, value, f"{place}: {key}", row.hint())
        else:
            values |= _from_file(place, value, row, f"{key}.")
    return values


def load(path: str | None, overrides: Mapping[str, object] = {}) -> Config:
    """The settings of the file (None: defaults) under those of `overrides`; ConfigError if bad."""
    values = {row.key: row.parse(row.default) for row in ROWS}
    if path is not None:
        try:
            with open(path, "rb") as file:
                content = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ConfigError(f"{path}: {reason} (a readable YAML file is needed)") from None
        values |= _from_file(path, _document(path, content))
    for key, value in overrides.items():
        values[_ROW[key].key] = value
    built: Config = _built(Config, _TREE, values)
    return built


def _built(kind: Any, tree: Mapping[str, Any], values: Mapping[str, object]) -> Any:
    """A dataclass of settings, its own sections included."""
    kinds = get_type_hints(kind)
    return kind(
        **{
            name: values[part.key] if isinstance(part, Row) else _built(kinds[name], part, values)
            for name, part in tree.items()
        }
    )


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flag of every row that has one; a flag not given leaves no attribute."""
    for row in ROWS:
        if row.flag is None:
            continue
        options: dict[str, Any] = {"dest": row.key, "default": argparse.SUPPRESS}
        if row.parse is _boolean:
            options["action"] = argparse.BooleanOptionalAction
        else:
            options["action"] = "append" if isinstance(row.default, list) else "store"
            options["metavar"] = row.key.rpartition(".")[2].upper()
        help_text = f"{row.why} Default: {row.hint(flag=True)}."
        parser.add_argument(row.flag, help=help_text.replace("%", "%%"), **options)


def overrides(namespace: argparse.Namespace) -> dict[str, object]:
    """Dotted key → parsed value, of the flags given; a ConfigError names the flag."""
    given = vars(namespace)
    return {
        row.key: _parse(row, given[row.key], row.flag, row.hint(flag=True))
        for row in ROWS
        if row.flag is not None and row.key in given
    }


def example() -> str:
    """The example file: every key, why, and its default."""
    lines = ["# Every key with its default; a key or section left out keeps its default."]
    for section, tree in _TREE.items():
        lines += ["", f"{section}:", *_example(tree, "  ")]
    return "\n".join(lines) + "\n"


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
