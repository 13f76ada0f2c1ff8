"""Panels of Grafana dashboards as plain dicts; sizes are in Grafana's grid of 24 columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from grafana.expressions import select

Json = dict[str, Any]

DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}

GREEN, YELLOW, ORANGE, RED, BLUE, GREY = "green", "yellow", "orange", "red", "blue", "text"
SHARE = ((None, GREEN), (0.8, YELLOW), (0.9, RED))
"""Colours of a share of a limit: from 0.9 on the alert fires."""
KILLS = ((None, GREEN), (1, RED))
PLAIN = ((None, BLUE),)
LEAST = {"percentunit": 0.01, "cps": 1, "short": 1}
"""Where an axis ends at least: where all is 0 it ends at 100 else, which of a share is 10000 %."""

Steps = Sequence[tuple[float | None, str]]


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
        """The query as a panel has it."""
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
    """Grafana's thresholds: each colour from its value on."""
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
        targets=[Query(expr=query).target(instant=not graph, table=False)],
        fieldConfig={"defaults": defaults, "overrides": []},
        options={
            "colorMode": "value",
            "graphMode": "area" if graph else "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "textMode": "value",
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
    maximum: float | None = None,
    steps: Steps = (),
    overrides: Sequence[Json] = (),
    calcs: Sequence[str] = ("lastNotNull", "max"),
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
        "min": 0,
    }
    if maximum is not None:
        defaults["max"] = maximum
    elif unit in LEAST:
        custom["axisSoftMax"] = LEAST[unit]
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
                "displayMode": "table",
                "placement": "right" if size[0] >= 24 else "bottom",
                "showLegend": True,
                "calcs": list(calcs),
                "sortBy": "Last *" if "lastNotNull" in calcs else "Total",
                "sortDesc": True,
            },
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    )
    if interval:
        made["interval"] = interval
    return made


def kill_bars(
    title: str, description: str, query: str, legend: str, *, size: tuple[int, int] = (12, 8)
) -> Json:
    """OOM kills as bars, whose points are at least a scrape apart."""
    return timeseries(
        title,
        description,
        [Query(expr=query, legend=legend)],
        "short",
        size=size,
        bars=True,
        calcs=("sum",),
        empty="no kills",
        interval="15s",
    )


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


def row(title: str) -> Json:
    """A heading across the dashboard."""
    return {"type": "row", "title": title, "collapsed": False, "panels": [], "gridPos": {"w": 24}}
