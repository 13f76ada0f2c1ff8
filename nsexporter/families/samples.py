"""Samples with label values of their own: what a cgroup or a container is, the host's totals."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence

from nsexporter.families import derived, labels
from nsexporter.families.columns import Columns, Whose, seconds
from nsexporter.families.labels import Pairs

Samples = Iterable[tuple[Pairs, float | bytes]]
"""Label names and values, and a number (or the kernel's digits)."""

Table = tuple[Sequence[bytes | None], ...]
"""Label texts in one or more parts, of which the last is of `labels.text` and those before of
`labels.leading`, and a value for each; None is absent."""


def cgroup_info(columns: Columns) -> Table:
    """kind, hierarchy and unit of every cgroup; a container's other cgroups name it here."""
    hierarchy = columns.snapshot.hierarchy
    label_ids = columns.same("label_ids", columns.snapshot.label_ids)
    ids = columns.made("container ids", _container_ids, columns.whose, label_ids)
    texts = functools.partial(_cgroup_infos, hierarchy)
    rest = columns.by_row(("cgroup_info", hierarchy), texts, columns.whose, ids)
    return rest, columns.labels, columns.ones("cgroup_info", rest)


def _container_ids(every: Sequence[Whose], label_ids: Mapping[str, str]) -> list[str]:
    """Of which container each is another cgroup than its own, whose labels name it."""
    return [
        label_ids[identity.container_id] if identity.container_id and container is None else ""
        for _, container, _, _, identity, _ in every
    ]


def _cgroup_infos(hierarchy: str, every: Sequence[Whose], ids: Sequence[str]) -> list[bytes]:
    leading = functools.cache(labels.leading)
    return [
        leading(
            (
                ("container_id", container_id),
                ("kind", identity.kind),
                ("hierarchy", hierarchy),
                ("unit", identity.user_unit or identity.unit or ""),
                ("invocation_id", invocation),
            )
        )
        for (_, _, _, _, identity, invocation), container_id in zip(every, ids, strict=True)
    ]


def limited_by_info(columns: Columns) -> Samples:
    """The cgroup whose limit is the smallest on the way up, where there is a limit at all."""
    for cgroup, found in zip(columns.cgroups, derived.effective_limits(columns), strict=True):
        if found is not None and found[0] != float("inf"):
            limiting = columns.whole.cgroups[found[1]].path
            yield (*labels.of_cgroup(cgroup), ("limiting_cgroup", limiting)), 1


def limits(columns: Columns) -> tuple[object, ...]:
    """What `limited_by_info` is made of."""
    return columns.whose, derived.effective_limits(columns)


def container_info(columns: Columns) -> Samples:
    """id (runtime://full id), runtime, image, pod, quality of service and allowed labels."""
    for container in columns.snapshot.containers:
        yield (
            (
                *labels.of_container(container),
                ("id", f"{container.runtime or 'unknown'}://{container.container_id}"),
                ("runtime", container.runtime),
                ("image", container.image),
                ("image_id", container.image_id),
                ("pod_uid", container.pod_uid),
                ("qos", container.qos),
                ("guess", container.guess),
                *labels.of_runtime(container),
            ),
            1,
        )


def container_created(columns: Columns) -> Samples:
    """When every container was made, where its runtime tells."""
    for container in columns.snapshot.containers:
        if container.created is not None:
            yield labels.of_container(container), container.created


def container_restarts(columns: Columns) -> Samples:
    """How often every container was started again, where its runtime tells."""
    for container in columns.snapshot.containers:
        if container.restarts is not None:
            yield labels.of_container(container), container.restarts


def host_oom_kills(columns: Columns) -> Samples:
    """vmstat's oom_kill."""
    kills = columns.snapshot.vmstat.get(b"oom_kill")
    return [] if kills is None else [((), kills)]


def meminfo(name: bytes) -> Callable[[Columns], Samples]:
    """One amount of /proc/meminfo, in bytes."""

    def samples(columns: Columns) -> Samples:
        amount = columns.snapshot.meminfo.get(name)
        return [] if amount is None else [((), amount)]

    return samples


def host_pressure(kind: bytes) -> Callable[[Columns], Samples]:
    """The host's stall time of one kind, in seconds."""

    def samples(columns: Columns) -> Samples:
        total = columns.snapshot.pressure.get(kind)
        return [] if total is None else [((), seconds(total))]

    return samples


def soft_limit_rounds(index: int) -> Callable[[Columns], Samples]:
    """The host's rounds of soft limit reclaim (0) or their pages (1), where they are traced."""

    def samples(columns: Columns) -> Samples:
        rounds = columns.snapshot.soft_limit_rounds
        return [] if rounds is None else [((), rounds[index])]

    return samples
