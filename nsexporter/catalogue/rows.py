"""What a row of the catalogue is, and short ways to write one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nsexporter.families.columns import Columns
from nsexporter.families.derived import Column
from nsexporter.families.samples import Samples, Table
from nsexporter.kernel import interface_files

Of = Callable[[Columns], tuple[object, ...]]
"""What samples are made of."""


def anything(columns: Columns) -> tuple[object, ...]:
    """The whole snapshot: made anew in every pass."""
    return (columns.snapshot,)


def containers(columns: Columns) -> tuple[object, ...]:
    """The containers alone, which seldom change."""
    return (columns.containers,)


@dataclass(frozen=True, slots=True)
class Source:
    """Where a value comes from, in words, and how its column is made."""

    text: str
    column: Callable[[Columns], Column]
    file: str = ""  # where it is the value of one


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One sample for every cgroup: the value of the row's own label, and its two sources."""

    label_value: str | None = None
    v1: Source | None = None
    v2: Source | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One metric family.

    `series` (for every cgroup, with the cgroup's labels and `label`), or `table` (columns of any
    other label texts and their values), or `samples` (label values, in the order of `labels`, and
    values one by one); their samples follow each other. Samples are not asked for again where all
    that they are made `of` is what it was in the pass before. `help` is one sentence that ends
    with a full stop.
    """

    name: str
    type: str  # gauge, counter, info
    help: str
    group: str  # the collector it belongs to
    unit: str = ""
    label: str | None = None
    series: tuple[Series, ...] = ()
    labels: tuple[str, ...] = ()
    table: Callable[[Columns], Table] | None = None
    samples: Callable[[Columns], Samples] | None = None
    of: Of = anything
    sources: tuple[str, str] = ("", "")  # v1, v2 in words, for rows without `series`
    since: str = ""  # the kernel that first tells it, where that is after 3.10


def number(name: str) -> Source:
    """A file with one number."""
    return Source(name, lambda columns: columns.number(name), name)


def limit(name: str) -> Source:
    """A file with a limit; +Inf where there is none."""
    return Source(name, lambda columns: columns.limit(name), name)


def stat(key: str) -> Source:
    """A key of memory.stat."""
    return Source(f"memory.stat {key}", lambda columns: columns.stat(key.encode()))


def key(name: str, word: str) -> Source:
    """A key of any other flat keyed file."""
    return Source(f"{name} {word}", lambda columns: columns.key(name, word.encode()), name)


def local_event(word: str) -> Source:
    """memory.events.local, or memory.events on kernels before 5.2."""

    def column(columns: Columns) -> Column:
        local = columns.key("memory.events.local", word.encode())
        if any(value is not None for value in local):
            return local
        return columns.key("memory.events", word.encode())

    return Source(f"memory.events.local {word}", column)


def pressure(kind: str) -> Source:
    """The total of a line, some or full, of memory.pressure."""
    return Source(
        f"memory.pressure {kind} total",
        lambda columns: columns.pressure("memory.pressure", kind.encode()),
        "memory.pressure",
    )


def derive(text: str, column: Callable[[Columns], Column]) -> Source:
    """What is made of several files, or is not a file's value as it is."""
    return Source(text, column)


def cgroup(
    name: str,
    help_: str,
    v1: Source | None = None,
    v2: Source | None = None,
    *,
    since: str = "",
    group: str = "memory",
) -> Metric:
    """A row for every cgroup; type and unit follow from the name."""
    files = {source.file for source in (v1, v2) if source is not None}
    if files & interface_files.IN_TURN:
        help_ = f"{help_[:-1]} (at most {interface_files.REFRESH} passes old)."
    return Metric(
        name=f"nsexporter_cgroup_{name}",
        type="counter" if name.endswith("_total") else "gauge",
        help=help_,
        group=group,
        unit=_unit(name),
        series=(Series(v1=v1, v2=v2),),
        since=since,
    )


def by(
    name: str,
    help_: str,
    label: str,
    values: dict[str, tuple[Source | None, Source | None]],
    *,
    since: str = "",
) -> Metric:
    """A row for every cgroup and each of some label values."""
    return Metric(
        name=f"nsexporter_cgroup_{name}",
        type="counter",
        help=help_,
        group="memory",
        label=label,
        series=tuple(Series(label_value=value, v1=v1, v2=v2) for value, (v1, v2) in values.items()),
        since=since,
    )


def _unit(name: str) -> str:
    base = name.removesuffix("_total")
    return next((unit for unit in ("bytes", "seconds") if base.endswith(f"_{unit}")), "")


def host(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    samples: Callable[[Columns], Samples] | None,
    source: str,
    *,
    group: str = "namespaces",
    since: str = "",
    table: Callable[[Columns], Table] | None = None,
    of: Of = anything,
) -> Metric:
    """A row with label values of its own; type and unit follow from the name."""
    counter, info = name.endswith("_total"), name.endswith("_info")
    return Metric(
        name=f"nsexporter_{name}",
        type="counter" if counter else "info" if info else "gauge",
        help=help_,
        group=group,
        unit=_unit(name),
        labels=labels,
        table=table,
        samples=samples,
        of=of,
        sources=(source, source),
        since=since,
    )


def tabled(
    name: str,
    help_: str,
    labels: tuple[str, ...],
    table: Callable[[Columns], Table],
    source: str,
    *,
    since: str = "",
) -> Metric:
    """The same of a table, about namespaces."""
    return host(name, help_, labels, None, source, since=since, table=table)
