"""Tables of Grafana dashboards, and what their values read as."""

from __future__ import annotations

from collections.abc import Sequence

from grafana.panels import GREY, Json, Query, override, panel, thresholds

LONG = frozenset({"cgroup", "limiting_cgroup", "image", "path"})
"""Labels that a column cuts off: the whole value opens with a click."""


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
