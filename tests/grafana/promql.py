"""The labels and the unit of a PromQL expression's result, from the catalogue's rows.

An expression that cannot mean anything (an unknown metric or label, bytes less seconds, a counter
that nobody takes the rate of, two sides that never match) is a `PromqlError` with what is wrong.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

import promql_parser as promql

from nsexporter.capability import CAPABILITIES
from nsexporter.catalogue import METRICS
from nsexporter.families.labels import CGROUP_LABELS
from nsexporter.model import NS_TYPES
from nsexporter.selfmetrics import SELF_METRICS


class PromqlError(ValueError):
    """What is wrong with an expression."""


@dataclass(frozen=True, slots=True)
class Unit:
    """Powers of byte, second and thing; a time of day is in none of them."""

    bytes: int = 0
    seconds: int = 0
    things: int = 0
    time: str = ""  # s or ms since the epoch

    def per(self, other: Unit) -> Unit:
        return Unit(
            self.bytes - other.bytes, self.seconds - other.seconds, self.things - other.things
        )

    def times(self, other: Unit) -> Unit:
        return self.per(Unit().per(other))


BYTES, SECONDS, THINGS, SHARE = Unit(bytes=1), Unit(seconds=1), Unit(things=1), Unit()
EPOCH, EPOCH_MS = Unit(time="s"), Unit(time="ms")

GRAFANA_UNITS = {
    "bytes": BYTES,
    "s": SECONDS,
    "percentunit": SHARE,
    "short": THINGS,
    "none": THINGS,
    "cps": THINGS.per(SECONDS),
    "dateTimeFromNow": EPOCH_MS,
    "dateTimeAsIso": EPOCH_MS,
}


@dataclass(frozen=True, slots=True)
class Vector:
    """A result: which labels its series may have, their unit, and whether they are raw counters.

    A number has no labels at all (None), and a literal fits any unit (None).
    """

    labels: frozenset[str] | None
    unit: Unit | None
    counter: str = ""  # the counter whose value it is
    unlimited: bool = False  # may be +Inf


TARGET = frozenset({"job", "instance"})
TOTALS_THAT_MATTER = {"nsexporter_oom_kills_total"}
"""Counters whose value since their birth is a meaning of its own."""

CLOSED = {
    "ns_type": frozenset(NS_TYPES),
    "scope": frozenset({"host", "container", "pod", "shared", "other"}),
    "kind": frozenset({"container", "sandbox", "pod", "slice", "service", "scope", "root"}),
    "constraint": frozenset({"memcg", "none", "cpuset", "memory_policy", "unknown"}),
    "name": frozenset(one.name for one in CAPABILITIES),
}
"""Labels that have these values and no others."""

_UNLIMITED = re.compile(r"nsexporter_cgroup_.*(limit|headroom|reservation|high|soft_limit)_bytes")
_PROMETHEUS = {
    "up": THINGS,
    "scrape_duration_seconds": SECONDS,
    "scrape_samples_scraped": THINGS,
    "process_cpu_seconds_total": SECONDS,
    "process_resident_memory_bytes": BYTES,
    "process_open_fds": THINGS,
    "process_max_fds": THINGS,
    "process_start_time_seconds": EPOCH,
}
_KEEP = {"sort_desc", "sort", "clamp_min", "clamp_max", "abs", "round", "floor", "ceil"}
_OF_GAUGES = {"delta", "deriv", "predict_linear"}
_COMPARISONS = {"==", "!=", ">", "<", ">=", "<="}


def catalogue() -> dict[str, Vector]:
    """Every metric that the exporter, its client library or Prometheus itself may show."""
    found = {name: _metric(name, (), unit) for name, unit in _PROMETHEUS.items()}
    for row in METRICS:
        labels = CGROUP_LABELS if row.series and not row.labels else row.labels
        found[row.name] = _metric(row.name, (*labels, row.label or ""))
    for own in SELF_METRICS:
        found[own.name] = _metric(own.name, own.labels)
    return found


def _metric(name: str, labels: tuple[str, ...], unit: Unit | None = None) -> Vector:
    base = name.removesuffix("_total")
    if unit is None:
        endings = {
            "_timestamp_seconds": EPOCH,
            "_seconds": SECONDS,
            "_bytes": BYTES,
            "_ratio": SHARE,
            "_info": SHARE,  # 1, there to be multiplied by
        }
        unit = next((u for end, u in endings.items() if base.endswith(end)), THINGS)
    return Vector(
        TARGET | set(filter(None, labels)),
        unit,
        name if base != name else "",
        unlimited=_UNLIMITED.fullmatch(name) is not None,
    )


def result(expr: str, metrics: dict[str, Vector]) -> Vector:
    """What the expression gives; Grafana's own variables stand for some duration."""
    expr = expr.replace("$__rate_interval_ms", "300000")
    for variable, value in (("_range_s", "3600"), ("_rate_interval", "5m"), ("_range", "1h")):
        expr = expr.replace(f"$_{variable}", value)
    expr = expr.replace("$__from", "0")
    expr = expr.replace("$__interval_ms", "60000").replace("$__interval", "1m")
    try:
        parsed = promql.parse(expr)
    except ValueError as error:
        raise PromqlError(f"{error}: {expr}") from None
    try:
        return _infer(parsed, metrics)
    except PromqlError as error:
        raise PromqlError(f"{error} in: {expr}") from None


def _infer(node: object, metrics: dict[str, Vector]) -> Vector:
    if isinstance(node, promql.NumberLiteral):
        return Vector(None, None)
    if isinstance(node, promql.ParenExpr | promql.UnaryExpr | promql.SubqueryExpr):
        return _infer(node.expr, metrics)
    if isinstance(node, promql.MatrixSelector):
        return _infer(node.vector_selector, metrics)
    if isinstance(node, promql.VectorSelector):
        return _selector(node, metrics)
    if isinstance(node, promql.AggregateExpr):
        return _aggregation(node, metrics)
    if isinstance(node, promql.BinaryExpr):
        return _binary(node, metrics)
    if isinstance(node, promql.Call):
        return _call(node, metrics)
    raise PromqlError(f"a {type(node).__name__} is not known here")


def _selector(node: promql.VectorSelector, metrics: dict[str, Vector]) -> Vector:
    name = node.name or ""
    if name not in metrics:
        raise PromqlError(f"no metric {name!r}")
    found = metrics[name]
    _has(found, [matcher.name for matcher in node.matchers.matchers], name)
    for matcher in node.matchers.matchers:
        known = CLOSED.get(matcher.name)
        if known and (unknown := set(matcher.value.split("|")) - known):
            raise PromqlError(f"{matcher.name} is never {', '.join(sorted(unknown))}")
    return found


def _has(vector: Vector, labels: list[str], where: str) -> None:
    missing = set(labels) - (vector.labels or set())
    if missing:
        raise PromqlError(f"{where} has no label {', '.join(sorted(missing))}")


def _aggregation(node: promql.AggregateExpr, metrics: dict[str, Vector]) -> Vector:
    inner = _infer(node.expr, metrics)
    name = str(node.op)
    if name in ("topk", "bottomk"):
        return inner
    labels: frozenset[str] = frozenset()
    if node.modifier is not None:
        _has(inner, node.modifier.labels, f"what {name} is of")
        if node.modifier.type == promql.AggModifierType.Without:
            raise PromqlError("say by, not without: labels may come")
        labels = frozenset(node.modifier.labels)
        if "ns_inode" in labels and "ns_type" not in labels:
            raise PromqlError("inodes are those of namespaces of several types")
    if name == "count":
        return Vector(labels, THINGS, inner.counter)
    return replace(inner, labels=labels)


def _call(node: promql.Call, metrics: dict[str, Vector]) -> Vector:
    name = node.func.name
    if name == "time":
        return Vector(None, EPOCH)
    inner = _infer(node.args[0], metrics)
    if name in ("rate", "increase"):
        if not inner.counter or inner.unit is None:
            raise PromqlError(f"{name} of what is no counter")
        unit = inner.unit.per(SECONDS) if name == "rate" else inner.unit
        return Vector(inner.labels, unit)
    if name in _OF_GAUGES and inner.counter:
        raise PromqlError(f"{name} of the counter {inner.counter}")
    if name in _KEEP or name in _OF_GAUGES or name.endswith("_over_time"):
        return inner
    if name in ("label_replace", "label_join"):
        texts = [arg.val for arg in node.args[1:]]
        sources = [texts[2]] if name == "label_replace" else texts[2:]
        _has(inner, sources, f"what {name} is of")
        return replace(inner, labels=(inner.labels or frozenset()) | {texts[0]})
    raise PromqlError(f"the function {name} is not known here")


def _binary(node: promql.BinaryExpr, metrics: dict[str, Vector]) -> Vector:
    left, right = _infer(node.lhs, metrics), _infer(node.rhs, metrics)
    operator = str(node.op).split()[0]
    labels = _matched(node, operator, left, right)
    if operator in ("and", "unless"):
        return left
    if operator in ("+", "-", "or", *_COMPARISONS):
        risen = operator == "-" and left.counter == right.counter
        counter = "" if risen else left.counter
        unlimited = left.unlimited or (operator == "or" and right.unlimited)
        if operator == "<" and isinstance(node.rhs, promql.NumberLiteral):
            unlimited = unlimited and not math.isinf(node.rhs.val)
        return Vector(labels, _added(operator, left, right), counter, unlimited)
    if operator in ("*", "/"):
        unit = _multiplied(operator, left, right, node.rhs)
        return Vector(labels, unit, unlimited=left.unlimited)
    raise PromqlError(f"the operator {operator} is not known here")


def _matched(
    node: promql.BinaryExpr, operator: str, left: Vector, right: Vector
) -> frozenset[str] | None:
    """The labels of the result, after it was seen that the two sides can match."""
    if left.labels is None or right.labels is None:
        return right.labels if left.labels is None else left.labels
    matching = node.modifier.matching if node.modifier else None
    if matching is None:
        if left.labels != right.labels and operator != "or":
            differ = ", ".join(sorted(left.labels ^ right.labels))
            raise PromqlError(f"the sides of {operator} never match: only one has {differ}")
        return left.labels | right.labels
    needed = TARGET | ({"ns_type"} if "ns_inode" in matching.labels else set())
    if loose := (needed & left.labels & right.labels) - set(matching.labels):
        raise PromqlError(f"{operator} matches whatever {', '.join(sorted(loose))} is")
    _has(left, matching.labels, f"the left of {operator}")
    _has(right, matching.labels, f"the right of {operator}")
    extra = (node.modifier.group_labels if node.modifier else None) or []
    if node.modifier and node.modifier.card == promql.VectorMatchCardinality.OneToOne:
        return frozenset(matching.labels)
    _has(right, extra, f"the right of {operator}")
    return left.labels | set(extra)


def _added(operator: str, left: Vector, right: Vector) -> Unit | None:
    if left.unit is None or right.unit is None:
        return left.unit or right.unit
    if left.unit != right.unit:
        raise PromqlError(f"{left.unit} {operator} {right.unit}")
    return SECONDS if operator == "-" and left.unit == EPOCH else left.unit


def _multiplied(operator: str, left: Vector, right: Vector, factor: object) -> Unit | None:
    if left.unit == EPOCH:
        if isinstance(factor, promql.NumberLiteral) and factor.val == 1000 and operator == "*":
            return EPOCH_MS
        raise PromqlError("a time of day is only multiplied by 1000")
    if left.unit is None or right.unit is None:
        return left.unit or right.unit
    if left.counter or right.counter:
        raise PromqlError(f"{left.counter or right.counter} {operator} something: take its rate")
    return left.unit.per(right.unit) if operator == "/" else left.unit.times(right.unit)


def labels_of(text: str) -> set[str]:
    """The labels that a legend or an annotation's text asks for."""
    return set(re.findall(r"{{\s*(\w+)\s*}}", text))
