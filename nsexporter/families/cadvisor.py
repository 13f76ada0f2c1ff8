"""Samples with cAdvisor's labels: id, name, image, and the kubelet's container, pod, namespace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from nsexporter.families import labels
from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.labels import Pairs
from nsexporter.families.samples import Table
from nsexporter.model import Cgroup, Container

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


def _texts(columns: Columns, *more: tuple[str, str]) -> Sequence[bytes]:
    """The label text of every cgroup, with `more` labels."""
    return columns.made(
        ("cadvisor", *more),
        lambda _: [labels.text((*_of(cgroup), *more)) for cgroup in columns.cgroups],
        columns.whose,
    )


def column(v1: Source, v2: Source) -> Callable[[Columns], Table]:
    """A value for every cgroup, from the source of the hierarchy that there is."""

    def table(columns: Columns) -> Table:
        source = v1 if columns.snapshot.hierarchy == "v1" else v2
        return _texts(columns), source(columns)

    return table


def with_root(source: Source, *less: bytes) -> Source:
    """A source on v2, and for the root, which has no memory.current, anon and file less `less`.

    So does runc, and with it cAdvisor (rootStatsFromMeminfo of opencontainers/cgroups).
    """

    def column(columns: Columns) -> Column:
        values = source(columns)
        if not columns.cgroups or columns.cgroups[0].path != "/" or values[0] is not None:
            return values
        parts = [columns.stat(key)[0] for key in (b"anon", b"file", *less)]
        if None in parts:
            return values
        anon, file, *rest = (int(part or 0) for part in parts)
        return [b"%d" % max(0, anon + file - sum(rest)), *values[1:]]

    return column


def failures(columns: Columns) -> Table:
    """Page faults by failure_type and scope.

    v1 counts the cgroup's own apart from all below it. v2 counts both together, which is the
    cgroup's own only where nothing is below it.
    """
    v1 = columns.snapshot.hierarchy == "v1"
    parents = {cgroup.parent for cgroup in columns.cgroups}
    texts: list[bytes] = []
    values: list[bytes | None] = []
    for failure in ("pgfault", "pgmajfault"):
        kind = ("failure_type", failure)
        own = columns.stat(failure.encode())
        texts += _texts(columns, kind, ("scope", "container"))
        values += [value if v1 or index not in parents else None for index, value in enumerate(own)]
        texts += _texts(columns, kind, ("scope", "hierarchy"))
        values += columns.stat(f"total_{failure}".encode()) if v1 else own
    return texts, values


def oom_events(columns: Columns) -> Table:
    """OOM kills from the ledger: 0 from the first sample on, kept when the container is gone."""
    ledger = columns.snapshot.oom
    if not any(ledger.sources.values()):
        return (), ()
    left = dict(ledger.accounts)
    texts, values = list(_texts(columns)), []
    for cgroup in columns.cgroups:
        account = left.pop(cgroup.path, None)
        values.append(0 if account is None else sum(account.kills.values()))
    for account in left.values():
        pairs = _labels(account.cgroup, account.container, account.pod_name, account.pod_namespace)
        texts.append(labels.text(pairs))
        values.append(sum(account.kills.values()))
    return texts, [b"%d" % value for value in values]


def last_seen(columns: Columns) -> Table:
    """When the pass was, for every cgroup that it saw."""
    return _texts(columns), [repr(columns.snapshot.timestamp).encode()] * len(columns.cgroups)


def start_time(columns: Columns) -> Table:
    """When a container was made, where its runtime tells."""
    return _texts(columns), [
        None if (one := cgroup.container) is None or one.created is None else b"%r" % one.created
        for cgroup in columns.cgroups
    ]


def machine_memory(columns: Columns) -> Iterable[tuple[Pairs, float]]:
    """MemTotal in bytes, as cAdvisor's machine_memory_bytes."""
    total = columns.snapshot.meminfo.get(b"MemTotal")
    return [] if total is None else [((), total)]
