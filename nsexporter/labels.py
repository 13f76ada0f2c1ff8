"""The labels of a cgroup's samples, and their escaping."""

from __future__ import annotations

from nsexporter.model import Cgroup, Container

Pairs = tuple[tuple[str, str], ...]

CGROUP_LABELS = ("cgroup", "container_id")
"""What every cgroup sample may carry; container_id only on the container's own cgroup."""


def of_cgroup(cgroup: Cgroup) -> Pairs:
    """Label names and values of a cgroup's samples, none of them empty."""
    if cgroup.container is None:
        return (("cgroup", cgroup.path),)
    return of_container(cgroup.container)


def of_container(container: Container) -> Pairs:
    """The same for the container's own cgroup."""
    return (("cgroup", container.cgroup), ("container_id", container.label_id))


def render(pairs: Pairs) -> bytes:
    """`name="value",...` without the braces, escaped as the text format asks.

    >>> render((("cgroup", 'a"b'), ("unit", "")))
    b'cgroup="a\\\\\\\\"b"'
    """
    return ",".join([f'{name}="{escape(value)}"' for name, value in pairs if value]).encode()


def escape(value: str) -> str:
    """A label value with backslash, quote and newline escaped; lone surrogates as \\xNN text."""
    if "\\" in value or '"' in value or "\n" in value:
        value = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value
