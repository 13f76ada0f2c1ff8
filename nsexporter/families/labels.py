"""The labels of a cgroup's samples, and their escaping."""

from __future__ import annotations

import re

from nsexporter.model import Cgroup, Container, OomAccount

_FOREIGN = re.compile(r"[^a-zA-Z0-9_]")

Pairs = tuple[tuple[str, str], ...]

CGROUP_LABELS = ("cgroup", "container_id", "container_name", "pod_name", "pod_namespace")
"""What every cgroup sample may carry: the container's only on its own cgroup, the pod's on the
pod's and all below it."""


def of_cgroup(cgroup: Cgroup) -> Pairs:
    """Label names and values of a cgroup's samples, none of them empty."""
    return of(cgroup.path, cgroup.container, cgroup.pod_name, cgroup.pod_namespace)


def of(path: str, container: Container | None, pod_name: str, pod_namespace: str) -> Pairs:
    """The same of the cgroup at a path, by what else they tell."""
    if container is not None:
        return of_container(container)
    if not pod_name:
        return (("cgroup", path),)
    return _without_empty((path, "", "", pod_name, pod_namespace))


def of_account(account: OomAccount) -> Pairs:
    """What `of_cgroup` gave for the account's cgroup, which may be gone."""
    return of(account.cgroup, account.container, account.pod_name, account.pod_namespace)


def of_container(container: Container) -> Pairs:
    """The same for the container's own cgroup."""
    return _without_empty(
        (
            container.cgroup,
            container.label_id,
            container.name,
            container.pod_name,
            container.pod_namespace,
        )
    )


def of_runtime(container: Container) -> Pairs:
    """The runtime's own labels that are allowed, as `label_NAME`.

    Characters that Prometheus has not in names become `_`; of two that are the same then, the
    first by name is kept.

    >>> _label_name("com.docker.compose.project")
    'label_com_docker_compose_project'
    """
    pairs: dict[str, str] = {}
    for name, value in container.labels:
        pairs.setdefault(_label_name(name), value)
    return tuple(pairs.items())


def _label_name(name: str) -> str:
    return "label_" + _FOREIGN.sub("_", name)


def _without_empty(values: tuple[str, ...]) -> Pairs:
    return tuple(pair for pair in zip(CGROUP_LABELS, values, strict=True) if pair[1])


def render(pairs: Pairs) -> bytes:
    """`name="value",...` without the braces, escaped as the text format asks.

    >>> render((("cgroup", 'a"b'), ("unit", "")))
    b'cgroup="a\\\\"b"'
    """
    return ",".join([f'{name}="{escape(value)}"' for name, value in pairs if value]).encode()


def text(pairs: Pairs) -> bytes:
    """What stands between a sample's name and its value, the opening brace left out.

    >>> text((("cgroup", "/"),)), text(())
    (b'cgroup="/"} ', b' ')
    """
    return render(pairs) + b"} " if pairs else b" "


def leading(pairs: Pairs) -> bytes:
    """The same where other labels follow.

    >>> leading((("kind", "slice"),)), leading((("unit", ""),))
    (b'kind="slice",', b'')
    """
    rendered = render(pairs)
    return rendered + b"," if rendered else b""


def escape(value: str) -> str:
    """A label value with backslash, quote and newline escaped; lone surrogates as \\xNN text."""
    if "\\" in value or '"' in value or "\n" in value:
        value = value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
    if not value.isascii():
        value = value.encode("utf-8", "backslashreplace").decode()
    return value
