"""A dashboard around its panels: variables, links, annotations, places."""

from __future__ import annotations

import re
from collections.abc import Sequence

from grafana.expressions import select
from grafana.panels import DATASOURCE, Json

TAG = "nsexporter"


def dashboard(
    uid: str,
    title: str,
    description: str,
    panels: Sequence[Json],
    *,
    variables: Sequence[Json] = (),
    oom: str = "nsexporter_oom_last_kill_timestamp_seconds",
    start: str = "now-3h",
) -> Json:
    """The whole JSON; `oom` selects the kills that are marked in every graph."""
    return {
        "uid": uid,
        "title": title,
        "description": description,
        "tags": [TAG],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": start, "to": "now"},
        "timezone": "browser",
        "annotations": {"list": [_oom_annotation(oom)]},
        "links": [
            {
                "type": "dashboards",
                "title": "nsexporter",
                "tags": [TAG],
                "asDropdown": True,
                "includeVars": True,
                "keepTime": True,
                "icon": "external link",
                "targetBlank": False,
                "tooltip": "",
                "url": "",
            }
        ],
        "templating": {
            "list": [
                _datasource(),
                query_variable("job", "Job", "label_values(nsexporter_up, job)"),
                query_variable(
                    "instance", "Instance", 'label_values(nsexporter_up{job=~"$job"}, instance)'
                ),
                *variables,
            ]
        },
        "panels": place(panels),
    }


def place(panels: Sequence[Json]) -> list[Json]:
    """The panels in rows from left to right, numbered."""
    placed, x, y, height = [], 0, 0, 0
    for number, panel in enumerate(panels, 1):
        width = panel["gridPos"]["w"]
        tall = panel["gridPos"].get("h", 1)
        if x + width > 24:
            x, y, height = 0, y + height, 0
        placed.append({**panel, "id": number, "gridPos": {"x": x, "y": y, "w": width, "h": tall}})
        x, height = x + width, max(height, tall)
    return placed


def query_variable(
    name: str, label: str, query: str, *, regex: str = "", multi: bool = True
) -> Json:
    """A variable with the values that a query gives; several and All where `multi`."""
    made: Json = {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": {"query": query, "refId": f"Variable-{name}"},
        "refresh": 2,
        "regex": regex,
        "sort": 1,
        "multi": multi,
        "includeAll": multi,
        "hide": 0,
        "options": [],
        "skipUrlSync": False,
        "current": {},
    }
    if multi:
        made["allValue"] = ".+"
        made["current"] = {"selected": True, "text": ["All"], "value": ["$__all"]}
    return made


def _datasource() -> Json:
    return {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "regex": "",
        "multi": False,
        "includeAll": False,
        "hide": 0,
        "options": [],
        "refresh": 1,
        "skipUrlSync": False,
        "current": {},
    }


def _oom_annotation(expr: str) -> Json:
    wanted = f"{select(expr)} * 1000"
    return {
        "name": "OOM kills",
        "datasource": DATASOURCE,
        "enable": True,
        "hide": False,
        "iconColor": "red",
        "expr": wanted,
        "target": {"expr": wanted, "refId": "Anno", "interval": "", "range": True},
        "step": "15s",
        "titleFormat": "OOM kill",
        "textFormat": "{{pod_name}} {{container_name}} {{cgroup}} on {{instance}}",
        "tagKeys": "container_name,instance",
        "useValueForTime": "on",
    }


def slug(title: str) -> str:
    """The name of a dashboard's file."""
    return re.sub(r"[^a-z0-9]+", "-", title.split("/")[-1].strip().lower())
