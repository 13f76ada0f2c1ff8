"""(Snapshot, rows) to bytes: the text format 0.0.4 and OpenMetrics 1.0.0, pure and fast."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nsexporter import labels
from nsexporter.catalogue.rows import Metric
from nsexporter.columns import Columns
from nsexporter.model import Cgroup
from nsexporter.samples import Samples

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Family:
    """One family rendered: the samples' lines, the same in both formats, below its header."""

    name: str
    type: str
    help: str
    body: bytes

    def header(self) -> bytes:
        """The lines above the samples in the text format 0.0.4."""
        kind = "gauge" if self.type == "info" else self.type
        return b"# HELP %b %b\n# TYPE %b %b\n" % (
            self.name.encode(),
            _help(self.help),
            self.name.encode(),
            kind.encode(),
        )

    def openmetrics_header(self) -> bytes:
        """The same in OpenMetrics, whose family names lack _total and _info."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.type, "")
        # A counter whose name does not end so, as some of cAdvisor's, is none in OpenMetrics.
        kind = self.type if self.name.endswith(suffix) else "unknown"
        name = self.name.removesuffix(suffix).encode()
        return b"# HELP %b %b\n# TYPE %b %b\n" % (
            name,
            _help(self.help).replace(b'"', b'\\"'),
            name,
            kind.encode(),
        )

    def named(self, names: frozenset[str]) -> bool:
        """Whether one of `names` is the family's, with or without its suffix."""
        return not names.isdisjoint(
            (self.name, self.name.removesuffix("_total"), self.name.removesuffix("_info"))
        )


def render(
    columns: Columns, metrics: Iterable[Metric], pause: Callable[[], None] = lambda: None
) -> list[Family]:
    """Every family that has a sample; `pause` is called between families.

    A family whose columns and labels are what they were in the pass before is the same object.
    """
    whose = columns.same("whose", [_whose(cgroup) for cgroup in columns.cgroups])
    steady = (whose, *(columns.same(name, getattr(columns.snapshot, name)) for name in _STEADY))
    prefixes = columns.made("prefixes", (whose,), lambda: _prefixes(columns))
    closed = columns.made("heads", (prefixes,), lambda: [prefix + b"} " for prefix in prefixes])
    families = []
    for metric in metrics:
        body = _cgroup_body(metric, columns, prefixes, closed) if metric.series else b""
        if metric.samples is not None:
            body += columns.made(
                (metric.name, "samples"),
                steady if metric.steady else (columns.snapshot,),
                functools.partial(_body, metric.name, metric.samples, columns),
            )
        if body:
            families.append(
                columns.same(metric.name, Family(metric.name, metric.type, metric.help, body))
            )
        pause()
    return families


_STEADY = (
    "hierarchy",
    "containers",
    "label_ids",
    "namespaces",
    "host_namespaces",
    "namespace_limits",
    "namespace_holders",
    "unread_processes",
    "unread_threads",
)
"""What of a snapshot the samples of steady rows are made of, beside whose the cgroups are."""


def _whose(cgroup: Cgroup) -> tuple[object, ...]:
    return cgroup.path, cgroup.container, cgroup.pod_name, cgroup.pod_namespace, cgroup.identity


def _prefixes(columns: Columns) -> list[bytes]:
    return [b"{" + labels.render(labels.of_cgroup(cgroup)) for cgroup in columns.cgroups]


def text(families: Iterable[Family]) -> list[bytes]:
    """The exposition in the text format 0.0.4, two chunks for each family."""
    return [chunk for family in families for chunk in (family.header(), family.body)]


def openmetrics(families: Iterable[Family]) -> list[bytes]:
    """The exposition in OpenMetrics 1.0.0, without the closing # EOF."""
    return [chunk for family in families for chunk in (family.openmetrics_header(), family.body)]


def _cgroup_body(
    metric: Metric, columns: Columns, prefixes: Sequence[bytes], closed: Sequence[bytes]
) -> bytes:
    v1 = columns.snapshot.hierarchy == "v1"
    bodies = []
    for series in metric.series:
        source = series.v1 if v1 else series.v2
        if source is None:
            continue
        key = (metric.name, series.label_value)
        column = columns.same(key, list(source.column(columns)))
        pair = b"} "
        if series.label_value is not None:
            pair = f',{metric.label}="{labels.escape(series.label_value)}"}} '.encode()
        heads = closed if pair == b"} " else [prefix + pair for prefix in prefixes]
        bodies.append(
            columns.made(
                (*key, "lines"),
                (prefixes, column),
                functools.partial(_lines, metric.name.encode(), heads, column),
            )
        )
    return bodies[0] if len(bodies) == 1 else b"".join(bodies)


def _lines(name: bytes, heads: Sequence[bytes], column: Sequence[bytes | None]) -> bytes:
    # One join for a whole column: a line is separator (newline, name), labels, value.
    lines = [head + value for head, value in zip(heads, column, strict=True) if value is not None]
    return name + (b"\n" + name).join(lines) + b"\n" if lines else b""


def _body(name: str, samples: Callable[[Columns], Samples], columns: Columns) -> bytes:
    lines = []
    head = name.encode()
    for pairs, value in samples(columns):
        rendered = labels.render(pairs)
        number = value if isinstance(value, bytes) else repr(value).encode()
        lines.append(head + (b"{" + rendered + b"} " if rendered else b" ") + number + b"\n")
    return b"".join(lines)


def _help(text: str) -> bytes:
    return text.replace("\\", r"\\").replace("\n", r"\n").encode()
