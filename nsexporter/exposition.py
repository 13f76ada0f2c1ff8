"""(Snapshot, rows) to bytes: the text format 0.0.4 and OpenMetrics 1.0.0, pure and fast."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from nsexporter import labels
from nsexporter.catalogue.rows import Metric
from nsexporter.columns import Columns
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

    def text(self) -> bytes:
        """The family in the text format 0.0.4."""
        kind = "gauge" if self.type == "info" else self.type
        return b"# HELP %b %b\n# TYPE %b %b\n%b" % (
            self.name.encode(),
            _help(self.help),
            self.name.encode(),
            kind.encode(),
            self.body,
        )

    def openmetrics(self) -> bytes:
        """The family in OpenMetrics, whose family names lack _total and _info."""
        suffix = {"counter": "_total", "info": "_info"}.get(self.type, "")
        # A counter whose name does not end so, as some of cAdvisor's, is none in OpenMetrics.
        kind = self.type if self.name.endswith(suffix) else "unknown"
        name = self.name.removesuffix(suffix).encode()
        return b"# HELP %b %b\n# TYPE %b %b\n%b" % (
            name,
            _help(self.help).replace(b'"', b'\\"'),
            name,
            kind.encode(),
            self.body,
        )

    def named(self, names: frozenset[str]) -> bool:
        """Whether one of `names` is the family's, with or without its suffix."""
        return not names.isdisjoint(
            (self.name, self.name.removesuffix("_total"), self.name.removesuffix("_info"))
        )


def render(
    columns: Columns, metrics: Iterable[Metric], pause: Callable[[], None] = lambda: None
) -> list[Family]:
    """Every family that has a sample; `pause` is called between families."""
    prefixes = [b"{" + labels.render(labels.of_cgroup(cgroup)) for cgroup in columns.cgroups]
    closed = [prefix + b"} " for prefix in prefixes]
    families = []
    for metric in metrics:
        body = _cgroup_body(metric, columns, prefixes, closed) if metric.series else b""
        if metric.samples is not None:
            body += _body(metric.name, metric.samples(columns))
        if body:
            families.append(Family(metric.name, metric.type, metric.help, body))
        pause()
    return families


def text(families: Iterable[Family]) -> list[bytes]:
    """The exposition in the text format 0.0.4, a chunk for each family."""
    return [family.text() for family in families]


def openmetrics(families: Iterable[Family]) -> list[bytes]:
    """The exposition in OpenMetrics 1.0.0, without the closing # EOF."""
    return [family.openmetrics() for family in families]


def _cgroup_body(
    metric: Metric, columns: Columns, prefixes: Sequence[bytes], closed: Sequence[bytes]
) -> bytes:
    v1 = columns.snapshot.hierarchy == "v1"
    name = metric.name.encode()
    bodies = []
    for series in metric.series:
        source = series.v1 if v1 else series.v2
        if source is None:
            continue
        column = source.column(columns)
        heads = closed
        if series.label_value is not None:
            pair = f',{metric.label}="{labels.escape(series.label_value)}"}} '.encode()
            heads = [prefix + pair for prefix in prefixes]
        # One join for a whole column: a line is separator (newline, name), labels, value.
        lines = [
            head + value for head, value in zip(heads, column, strict=True) if value is not None
        ]
        if lines:
            bodies.append(name + (b"\n" + name).join(lines) + b"\n")
    return b"".join(bodies)


def _body(name: str, samples: Samples) -> bytes:
    lines = []
    head = name.encode()
    for pairs, value in samples:
        rendered = labels.render(pairs)
        number = value if isinstance(value, bytes) else repr(value).encode()
        lines.append(head + (b"{" + rendered + b"} " if rendered else b" ") + number + b"\n")
    return b"".join(lines)


def _help(text: str) -> bytes:
    return text.replace("\\", r"\\").replace("\n", r"\n").encode()
