"""A YAML file as plain values; an error is one line that names file and line."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import yaml

from nsexporter.config.errors import ConfigError, name_of, shown


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses duplicate and merge keys, and locates bad scalars."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        first: dict[Hashable, int] = {}
        for key_node, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            key, mark = self.construct_object(key_node, deep=True), key_node.start_mark
            if isinstance(key, Hashable) and key in first:
                text = f"key {name_of(key)} is there twice (keep one; the other: line {first[key]})"
                raise yaml.MarkedYAMLError(problem=text, problem_mark=mark)
            if isinstance(key, Hashable):
                first[key] = mark.line + 1
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, TypeError):
            text = f"{shown(node.value)} is not a {node.tag.rpartition(':')[2]} (try quotes)"
            raise yaml.constructor.ConstructorError(None, None, text, node.start_mark) from None


def document(path: str) -> object:
    """What the YAML file holds, None if nothing; a ConfigError names the line."""
    try:
        with open(path, "rb") as file:
            return parsed(path, file.read())
    except (OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"{path}: {reason} (a readable YAML file is needed)") from None


def parsed(file: str, content: bytes) -> object:
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
