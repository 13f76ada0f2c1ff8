"""Samples with cAdvisor's labels: id, name, image, and the kubelet's container, pod, namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from nsexporter.columns import Columns
from nsexporter.derived import Column
from nsexporter.labels import Pairs
from nsexporter.model import Cgroup, Container
from nsexporter.samples import Samples

Source = Callable[[Columns], Column]


def _labels(
    cgroup: str, container: Container | None, pod: str, namespace: str, *, sandbox: bool = False
) -> Pairs:
    """As the kubelet sets them: in a pod `name` is the full id and `container` the name.

    A pod's sandbox has no `container`, so that sums over named containers leave it out.
    """
    pairs: list[tuple[str, str]] = []
    if container is None:
        pairs.append(("id", cgroup))
    elif pod:
        if not sandbox:
            pairs.append(("container", container.name))
        pairs += [
            ("id", cgroup),
            ("image", container.image),
            ("name", container.container_id),
        ]
    else:
        pairs += [
            ("id", cgroup),
            ("image", container.image),
            ("name", container.name or container.container_id),
        ]
    if pod:
        pairs += [("namespace", namespace), ("pod", pod)]
    return tuple(pair for pair in pairs if pair[1])


def _of(cgroup: Cgroup) -> Pairs:
    return _labels(
        cgroup.path,
        cgroup.container,
        cgroup.pod_name,
        cgroup.pod_namespace,
        sandbox=cgroup.identity.kind == "sandbox",
    )


def column(v1: Source, v2: Source) -> Callable[[Columns], Samples]:
    """A sample for every cgroup, from the source of the hierarchy that there is."""

    def samples(columns: Columns) -> Samples:
        source = v1 if columns.snapshot.hierarchy == "v1" else v2
        for cgroup, value in zip(columns.cgroups, source(columns), strict=True):
            if value is not None:
                yield _of(cgroup), value

    return samples


def failures(columns: Columns) -> Samples:
    """Page faults by failure_type and scope.

    v1 counts the cgroup's own apart from all below it. v2 counts both together, which is the
    cgroup's own only where nothing is below it.
    """
    v1 = columns.snapshot.hierarchy == "v1"
    parents = {cgroup.parent for cgroup in columns.cgroups}
    for failure in ("pgfault", "pgmajfault"):
        own = columns.stat(failure.encode())
        all_below = columns.stat(f"total_{failure}".encode()) if v1 else own
        for index, cgroup in enumerate(columns.cgroups):
            pairs = _of(cgroup)
            values = (
                ("container", own[index] if v1 or index not in parents else None),
                ("hierarchy", all_below[index]),
            )
            for scope, value in values:
                if value is not None:
                    yield (*pairs, ("failure_type", failure), ("scope", scope)), value


def oom_events(columns: Columns) -> Samples:
    """OOM kills from the ledger: 0 from the first sample on, kept when the container is gone."""
    ledger = columns.snapshot.oom
    if not any(ledger.sources.values()):
        return
    left = dict(ledger.accounts)
    for cgroup in columns.cgroups:
        account = left.pop(cgroup.path, None)
        yield _of(cgroup), 0 if account is None else sum(account.kills.values())
    for account in left.values():
        pairs = _labels(account.cgroup, account.container, account.pod_name, account.pod_namespace)
        yield pairs, sum(account.kills.values())


def last_seen(columns: Columns) -> Samples:
    """When the pass was, for every cgroup that it saw."""
    seen = columns.snapshot.timestamp
    return ((_of(cgroup), seen) for cgroup in columns.cgroups)


def start_time(columns: Columns) -> Samples:
    """When a container was made, where its runtime tells."""
    return (
        (_of(cgroup), cgroup.container.created)
        for cgroup in columns.cgroups
        if cgroup.container is not None and cgroup.container.created is not None
    )


def machine_memory(columns: Columns) -> Iterable[tuple[Pairs, float]]:
    """MemTotal in bytes, as cAdvisor's machine_memory_bytes."""
    total = columns.snapshot.meminfo.get(b"MemTotal")
    return [] if total is None else [((), total)]
