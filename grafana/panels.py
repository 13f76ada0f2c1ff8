"""Pieces of Grafana dashboards as plain dicts: variables, queries, panels, their places.

Expressions are written as PromQL without the host: `select` adds `job` and `instance` to every
selector, so that these live in one place. Heights and widths are in Grafana's grid of 24 columns.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}
HOST = 'job=~"$job",instance=~"$instance"'
NAME = r"///(/.*)|//([^/]+)//.*|/?([^/]+(?:/[^/]+)?)/{1,2}[^/]*//.*"
"""Of pod_name/container_name/container_id/cgroup: what a person calls it."""

LONG = frozenset({"cgroup", "limiting_cgroup", "image", "path"})
"""Labels that a column cuts off: the whole value opens with a click."""

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
SHARE = ((None, GREEN), (0.8, YELLOW), (0.9, RED))
"""Colours of a share of a limit: from 0.9 on the alert fires."""
KILLS = ((None, GREEN), (1, RED))
PLAIN = ((None, BLUE),)
LEAST = {"percentunit": 0.01, "cps": 1, "short": 1}
"""Where an axis ends at least: where all is 0 it ends at 100 else, which of a share is 10000 %."""

Steps = Sequence[tuple[float | None, str]]


def select(expr: str) -> str:
    """The expression with the chosen hosts in every selector, on one line.

    >>> select('rate(nsexporter_x_total{a="b"}[5m])')
    'rate(nsexporter_x_total{job=~"$job",instance=~"$instance",a="b"}[5m])'
    >>> select("time() - nsexporter_y")
    'time() - nsexporter_y{job=~"$job",instance=~"$instance"}'
    """

    def add(found: re.Match[str]) -> str:
        return f"{found[1]}{{{HOST}" + ("," if found[2] else "}")

    expr = " ".join(expr.split())
    return re.sub(
        r"\b((?:instance:|cgroup:)?(?:nsexporter|process|scrape)_[\w:]+|up\b)(\{)?", add, expr
    )


def named(expr: str) -> str:
    """The same with a label `name`: pod/container, else container, its id, the cgroup's path."""
    joined = f'label_join({expr}, "name", "/", "pod_name", "container_name", "container_id",'
    return f'label_replace({joined} "cgroup"), "name", "$1$2$3", "name", "{NAME}")'


def by_name(expr: str, *labels: str) -> str:
    """One series for each host and name (and what else is asked for)."""
    return f"max by ({', '.join(('instance', 'name', *labels))}) ({named(expr)})"


def kills_drawn(selector: str = "") -> str:
    """OOM kills between two points of a graph, integers kept (`increase()` extrapolates).

    A series that is born above 0 counts where its last kill was in that time, or some scrapes
    before it: the first one that has it comes later than the kill. What was killed in the time
    range is 0 at other points: bars are as wide as their series' points are near.
    """
    now = f"nsexporter_oom_kills_total{selector}"
    last = f"nsexporter_oom_last_kill_timestamp_seconds{selector}"
    return (
        f"({now} - {now} offset $__interval > 0"
        f" or ({now} > 0 unless {now} offset $__interval) and on (job, instance, cgroup)"
        f" {last} > time() - $__rate_interval_ms / 1000"
        f" or 0 * ({now} > 0) and on (job, instance, cgroup)"
        f" last_over_time({last}[$__range] @ end()) > $__from / 1000)"
    )


def kills(selector: str = "") -> str:
    """OOM kills in the whole time range, of what is gone too.

    A counter that is new, or was reset, counts where its last kill was in the range.
    """
    now = f"last_over_time(nsexporter_oom_kills_total{selector}[$__range])"
    return (
        f"({now} - nsexporter_oom_kills_total{selector} offset $__range > 0"
        f" or {now} > 0 and on (job, instance, cgroup)"
        f" last_over_time(nsexporter_oom_last_kill_timestamp_seconds{selector}[$__range])"
        " > time() - $__range_s)"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One query of a panel; in a table it is a column with a unit of its own."""

    expr: str
    legend: str = ""
    ref: str = "A"
    column: str = ""  # a table's title for the value
    unit: str = ""
    steps: Steps = ()
    width: int = 0
    bar: bool = False  # a gauge in the table's cell
    decimals: int | None = None
    mappings: tuple[Json, ...] = ()
    hidden: bool = False  # the value is of no interest, only the labels

    def target(self, *, instant: bool, table: bool) -> Json:
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": select(self.expr),
            "format": "table" if table else "time_series",
            "instant": instant,
            "range": not instant,
            "legendFormat": self.legend or "__auto",
            "refId": self.ref,
        }


def thresholds(steps: Steps) -> Json:
    return {
        "mode": "absolute",
        "steps": [{"color": color, "value": value} for value, color in steps],
    }


def panel(kind: str, title: str, description: str, size: tuple[int, int], **more: Any) -> Json:
    """A panel without a place yet: `size` is (width, height)."""
    return {
        "type": kind,
        "title": title,
        "description": description,
        "datasource": DATASOURCE,
        "gridPos": {"w": size[0], "h": size[1]},
        **more,
    }


def stat(
    title: str,
    description: str,
    query: str,
    unit: str,
    *,
    steps: Steps = PLAIN,
    size: tuple[int, int] = (4, 4),
    decimals: int | None = None,
    empty: str = "none",
    graph: bool = True,
    mappings: Sequence[Json] = (),
    text: str = "value",
    legend: str = "",
) -> Json:
    """One number, with its course in the background where that tells something.

    Not where a comparison leaves nothing at times: the number is the last one that there was.
    """
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "mappings": list(mappings),
        "noValue": empty,
    }
    if decimals is not None:
        defaults["decimals"] = decimals
    return panel(
        "stat",
        title,
        description,
        size,
        targets=[Query(expr=query, legend=legend).target(instant=not graph, table=False)],
        fieldConfig={"defaults": defaults, "overrides": []},
        options={
            "colorMode": "value",
            "graphMode": "area" if graph else "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": text,
            "wideLayout": True,
        },
    )


def timeseries(
    title: str,
    description: str,
    queries: Sequence[Query],
    unit: str,
    *,
    size: tuple[int, int] = (12, 8),
    stack: bool = False,
    bars: bool = False,
    minimum: float | None = 0,
    maximum: float | None = None,
    steps: Steps = (),
    overrides: Sequence[Json] = (),
    calcs: Sequence[str] = ("lastNotNull", "max"),
    legend: str = "table",
    empty: str = "No data",
    interval: str = "",
) -> Json:
    """Lines, stacked areas, or bars for what happens now and then."""
    custom: Json = {
        "drawStyle": "bars" if bars else "line",
        "lineInterpolation": "linear",
        "lineWidth": 0 if bars else 1,
        "fillOpacity": 100 if bars else 30 if stack else 8,
        "gradientMode": "none",
        "showPoints": "never",
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisLabel": "",
        "axisBorderShow": False,
        "barAlignment": 0,
        "scaleDistribution": {"type": "linear"},
        "stacking": {"mode": "normal" if stack or bars else "none", "group": "A"},
        "thresholdsStyle": {"mode": "dashed" if steps else "off"},
    }
    defaults: Json = {
        "unit": unit,
        "color": {"mode": "palette-classic"},
        "custom": custom,
        "thresholds": thresholds(steps or ((None, GREEN),)),
        "noValue": empty,
    }
    if minimum is not None:
        defaults["min"] = minimum
        if maximum is None and unit in LEAST:
            custom["axisSoftMax"] = LEAST[unit]
    if maximum is not None:
        defaults["max"] = maximum
    if bars:
        defaults["decimals"] = 0
    made = panel(
        "timeseries",
        title,
        description,
        size,
        targets=[query.target(instant=False, table=False) for query in queries],
        fieldConfig={"defaults": defaults, "overrides": list(overrides)},
        options={
            "legend": {
                "displayMode": legend,
                "placement": "right" if legend == "table" and size[0] >= 24 else "bottom",
                "showLegend": True,
                "calcs": list(calcs) if legend == "table" else [],
                "sortBy": "Last *" if "lastNotNull" in calcs else "Total",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )
    if interval:
        made["interval"] = interval
    return made


def ranking(
    title: str,
    description: str,
    query: str,
    unit: str,
    *,
    legend: str = "{{name}} @ {{instance}}",
    size: tuple[int, int] = (8, 9),
    steps: Steps = PLAIN,
    maximum: float | None = None,
    empty: str = "none",
) -> Json:
    """Horizontal bars, the largest first."""
    defaults: Json = {
        "unit": unit,
        "min": 0,
        "color": {"mode": "thresholds"},
        "thresholds": thresholds(steps),
        "noValue": empty,
    }
    if maximum is not None:
        defaults["max"] = maximum
    return panel(
        "bargauge",
        title,
        description,
        size,
        targets=[
            Query(expr=f"sort_desc({query})", legend=legend).target(instant=True, table=False)
        ],
        fieldConfig={"defaults": defaults, "overrides": []},
        options={
            "displayMode": "basic",
            "orientation": "horizontal",
            "showUnfilled": True,
            "valueMode": "text",
            "namePlacement": "auto",
            "sizing": "auto",
            "minVizHeight": 16,
            "minVizWidth": 8,
            "maxVizHeight": 32,
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    )


def override(name: str, **properties: Any) -> Json:
    """What differs for the field of this name; `custom_x` is Grafana's `custom.x`."""
    return {
        "matcher": {"id": "byName", "options": name},
        "properties": [
            {"id": key.replace("custom_", "custom."), "value": value}
            for key, value in properties.items()
        ],
    }


def table(
    title: str,
    description: str,
    queries: Sequence[Query],
    labels: dict[str, str],
    *,
    size: tuple[int, int] = (24, 10),
    sort: str = "",
    descending: bool = True,
    widths: dict[str, int] | None = None,
    links: dict[str, Json] | None = None,
    empty: str = "none",
) -> Json:
    """One row for each set of label values; `labels` are columns (label to title), then values."""
    single = len(queries) == 1
    renames, overrides = dict(labels), []
    order = list(labels)
    excluded = {"Time": True}
    for query in queries:
        field = "Value" if single else f"Value #{query.ref}"
        if query.hidden:
            excluded[field] = True
            continue
        order.append(field)
        renames[field] = query.column
        properties: Json = {"unit": query.unit}
        if query.steps:
            properties["thresholds"] = thresholds(query.steps)
            properties["custom_cellOptions"] = {"type": "color-text"}
        if query.bar:
            properties["custom_cellOptions"] = {
                "type": "gauge",
                "mode": "basic",
                "valueDisplayMode": "text",
            }
            properties["min"], properties["max"] = 0, 1
        if query.mappings:
            properties["mappings"] = list(query.mappings)
        if query.decimals is not None:
            properties["decimals"] = query.decimals
        if query.width:
            properties["custom_width"] = query.width
        overrides.append(override(query.column, **properties))
    for label, name in labels.items():
        properties = {"unit": "string"}
        if widths and label in widths:
            properties["custom_width"] = widths[label]
        if label in LONG:
            properties["custom_inspect"] = True
        if links and label in links:
            properties["links"] = [links[label]]
        overrides.append(override(name, **properties))
    return panel(
        "table",
        title,
        description,
        size,
        targets=[query.target(instant=True, table=True) for query in queries],
        fieldConfig={
            "defaults": {
                "unit": "short",
                "color": {"mode": "thresholds"},
                "thresholds": thresholds(((None, GREY),)),
                "custom": {"align": "auto", "cellOptions": {"type": "auto"}, "inspect": False},
                "noValue": empty,
            },
            "overrides": overrides,
        },
        options={
            "showHeader": True,
            "cellHeight": "sm",
            "footer": {"show": False, "reducer": ["sum"], "countRows": False, "fields": ""},
            "sortBy": [{"displayName": sort, "desc": descending}] if sort else [],
        },
        transformations=[
            *([] if single else [{"id": "merge", "options": {}}]),
            {
                "id": "organize",
                "options": {
                    "excludeByName": excluded,
                    "includeByName": {},
                    "indexByName": {name: index for index, name in enumerate(order)},
                    "renameByName": renames,
                },
            },
        ],
    )


def row(title: str) -> Json:
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24}}


def value_map(**texts: tuple[str, str]) -> Json:
    """`_1=("host", RED)`: what a value reads as, and its colour."""
    return {
        "type": "value",
        "options": {
            value.lstrip("_"): {"index": index, "text": text, "color": color}
            for index, (value, (text, color)) in enumerate(texts.items())
        },
    }


UNLIMITED: Json = {
    "type": "range",
    "options": {"from": 2**62, "to": None, "result": {"index": 0, "text": "unlimited"}},
}
"""+Inf, which is what the exporter says where there is no limit."""
