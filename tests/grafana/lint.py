"""What is wrong with a dashboard: rules of grafana/dashboard-linter, and ours."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.grafana import promql

Json = dict[str, Any]

DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WINDOWED = re.compile(r"\b(\w+)\([^][()]*\[(\$?\w+)\]( @ end\(\))?")
_SELECTOR = re.compile(r"\b(?:instance:|cgroup:)?(?:nsexporter|process|scrape)_[\w:]+|\bup\b")
_CHOSEN = re.compile(r"\b(nsexporter_\w+)\{([^}]*)\}")


def problems(dashboard: Json, metrics: dict[str, promql.Vector]) -> list[str]:
    """One line a problem, empty where there is none."""
    found = [*_frame(dashboard), *_variables(dashboard, metrics), *_annotations(dashboard, metrics)]
    one = any(variable["name"] == "container" for variable in dashboard["templating"]["list"])
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        found += [f"{panel['title']}: {text}" for text in _panel(panel, metrics, one)]
    return found


def _frame(dashboard: Json) -> Iterator[str]:
    if dashboard["editable"] or dashboard["schemaVersion"] != 39 or dashboard["refresh"] != "30s":
        yield "editable, schemaVersion or refresh is not as in the others"
    if not dashboard["uid"].startswith("nsexporter-") or not dashboard["description"]:
        yield "uid or description is missing"
    if [link["tags"] for link in dashboard["links"]] != [dashboard["tags"]]:
        yield "the menu of the other dashboards is missing"
    titles = [panel["title"] for panel in dashboard["panels"] if panel["type"] != "row"]
    if len(set(titles)) < len(titles):
        yield "two panels have the same title"
    taken: set[tuple[int, int]] = set()
    for panel in dashboard["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])
        }
        if cells & taken or place["x"] + place["w"] > 24:
            yield f"{panel['title']} overlaps"
        taken |= cells


def _variables(dashboard: Json, metrics: dict[str, promql.Vector]) -> Iterator[str]:
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    if list(variables)[:3] != ["datasource", "job", "instance"]:
        yield "datasource, job and instance are not the first variables"
    for name in ("job", "instance"):
        one = variables[name]
        if not (one["multi"] and one["includeAll"] and one["allValue"] == ".+"):
            yield f"variable {name} lacks several, All or .+"
    for name, one in variables.items():
        if one["type"] != "query":
            continue
        if one["datasource"] != DATASOURCE or one["refresh"] != 2:
            yield f"variable {name} has another data source or is not refreshed with the time"
        query = one["query"]["query"]
        if found := re.fullmatch(r"label_values\((.+), (\w+)\)", query):
            expr, wanted = found[1], {found[2]}
        elif found := re.fullmatch(r"query_result\((.+)\)", query):
            expr, wanted = found[1], set(re.findall(r'(\w+)="\(', one["regex"]))
        else:
            yield f"variable {name}: {query} is not known here"
            continue
        yield from _labels(expr, wanted, metrics, f"variable {name}")


def _annotations(dashboard: Json, metrics: dict[str, promql.Vector]) -> Iterator[str]:
    for one in dashboard["annotations"]["list"]:
        texts = one["titleFormat"] + one["textFormat"]
        wanted = promql.labels_of(texts) | set(one["tagKeys"].split(","))
        yield from _labels(one["target"]["expr"], wanted, metrics, one["name"])
        if one["useValueForTime"] != "on" or not one["target"]["expr"].endswith("* 1000"):
            yield f"{one['name']} is not where its value says"


def _labels(
    expr: str, wanted: set[str], metrics: dict[str, promql.Vector], where: str
) -> Iterator[str]:
    try:
        there = promql.result(expr, metrics).labels or frozenset()
    except promql.PromqlError as error:
        yield f"{where}: {error}"
        return
    if wanted - there:
        yield f"{where}: no label {', '.join(sorted(wanted - there))} in: {expr}"


def _panel(panel: Json, metrics: dict[str, promql.Vector], one: bool) -> Iterator[str]:
    """`one`: the dashboard is about one container."""
    if not panel["description"].endswith(".") or not panel["title"]:
        yield "no title or description"
    if panel["datasource"] != DATASOURCE:
        yield "another data source"
    if not panel["targets"]:
        yield "no query"
    if len({target["refId"] for target in panel["targets"]}) < len(panel["targets"]):
        yield "two queries have the same refId"
    vectors: dict[str, promql.Vector] = {}
    for target in panel["targets"]:
        try:
            vectors[target["refId"]] = _target(target, metrics)
        except promql.PromqlError as error:
            yield str(error)
        else:
            yield from _of_any_container(target["expr"], metrics) if one else ()
    if len(vectors) < len(panel["targets"]):
        return
    if panel["type"] == "table":
        yield from _table(panel, vectors)
        keys = frozenset.intersection(*(one.labels or frozenset() for one in vectors.values()))
        if not keys or not (one or "instance" in keys):
            yield f"the rows of the queries have only {sorted(keys)} in common"
    else:
        yield from _graph(panel, vectors)


def _of_any_container(expr: str, metrics: dict[str, promql.Vector]) -> Iterator[str]:
    """What is said of other containers than the chosen one."""
    for name, matchers in _CHOSEN.findall(expr):
        if "container_id" in (metrics[name].labels or ()) and "$container" not in matchers:
            yield f"{name} is not of the chosen container: {expr}"


def _target(target: Json, metrics: dict[str, promql.Vector]) -> promql.Vector:
    """What the query gives, after the rules for a query."""
    expr = target["expr"]
    if target["datasource"] != DATASOURCE:
        raise promql.PromqlError("another data source")
    if expr.count('{job=~"$job",instance=~"$instance"') != len(_SELECTOR.findall(expr)):
        raise promql.PromqlError(f"a selector without job and instance: {expr}")
    for function, window, fixed in _WINDOWED.findall(expr):
        wanted = "$__rate_interval" if function == "rate" else "$__range"
        if window != wanted or (window == "$__range" and target["range"] and not fixed):
            raise promql.PromqlError(f"{function} over {window}: {expr}")
    for offset in re.findall(r"offset (\$?\w+)", expr):
        if offset != ("$__interval" if target["range"] else "$__range"):
            raise promql.PromqlError(f"offset {offset}: {expr}")
    vector = promql.result(expr, metrics)
    if vector.counter and vector.counter not in promql.TOTALS_THAT_MATTER:
        raise promql.PromqlError(f"{vector.counter} without a rate: {expr}")
    if vector.labels is None:
        raise promql.PromqlError(f"no series: {expr}")
    legend = promql.labels_of(target["legendFormat"])
    if legend - vector.labels:
        raise promql.PromqlError(f"the legend wants {legend - vector.labels}: {expr}")
    if target["format"] != "table" and vector.labels - legend:
        raise promql.PromqlError(f"the legend does not tell the series apart: {expr}")
    return vector


def _finite(vector: promql.Vector, mappings: list[Json], name: str) -> Iterator[str]:
    if vector.unlimited and not any(one["type"] == "range" for one in mappings):
        yield f"{name} may be +Inf"


def _unit(unit: str, vector: promql.Vector, name: str) -> Iterator[str]:
    if promql.GRAFANA_UNITS.get(unit) != vector.unit:
        yield f"{name} is {vector.unit}, shown as {unit!r}"


def _share(field: Json, name: str) -> Iterator[str]:
    """A share is at most 1, its thresholds and the end of its bar are."""
    steps = [step["value"] or 0 for step in field.get("thresholds", {}).get("steps", ())]
    if field.get("unit") == "percentunit" and max([*steps, field.get("max", 0)]) > 1:
        yield f"{name} is a share, with a threshold or an end above 1"


def _graph(panel: Json, vectors: dict[str, promql.Vector]) -> Iterator[str]:
    defaults = panel["fieldConfig"]["defaults"]
    for ref, vector in vectors.items():
        yield from _unit(defaults.get("unit", ""), vector, ref)
        yield from _finite(vector, defaults.get("mappings", []), ref)
    yield from _share(defaults, panel["title"])
    for target in panel["targets"]:
        if target["format"] != "time_series":
            yield f"{target['refId']} is asked for as {target['format']}"
        graph = panel["options"].get("graphMode") == "area" or panel["type"] == "timeseries"
        if panel["type"] == "stat" and graph and re.search(r" ([=!]=|[<>]=?) ", target["expr"]):
            yield f"{target['refId']} goes on showing what was before the comparison left nothing"
        if target["range"] is not graph or target["instant"] is graph:
            yield f"{target['refId']} is asked for at the wrong times"
    legends = {target["legendFormat"] for target in panel["targets"]}
    for one in panel["fieldConfig"]["overrides"]:
        if one["matcher"]["options"] not in legends:
            yield f"an override for {one['matcher']['options']!r}, which is not there"


def _table(panel: Json, vectors: dict[str, promql.Vector]) -> Iterator[str]:
    organize = panel["transformations"][-1]["options"]
    renames, hidden = organize["renameByName"], organize["excludeByName"]
    overrides = {
        one["matcher"]["options"]: {p["id"]: p["value"] for p in one["properties"]}
        for one in panel["fieldConfig"]["overrides"]
    }
    labels = {label for vector in vectors.values() for label in vector.labels or ()}
    values = {"Value" if len(vectors) == 1 else f"Value #{ref}": v for ref, v in vectors.items()}
    for name, vector in values.items():
        if name not in hidden:
            column = overrides.get(renames[name], {})
            yield from _unit(column.get("unit", ""), vector, name)
            yield from _finite(vector, column.get("mappings", []), name)
            yield from _share(column, name)
    if any(one["format"] != "table" or not one["instant"] for one in panel["targets"]):
        yield "a query of a table is no instant one in columns"
    if len(vectors) > 1 and panel["transformations"][0]["id"] != "merge":
        yield "the queries are not merged"
    if unknown := set(renames) - labels - set(values):
        yield f"no such column: {sorted(unknown)}"
    if unknown := labels - set(renames):
        yield f"columns without a title: {sorted(unknown)}"
    if unknown := set(overrides) - set(renames.values()):
        yield f"overrides without a column: {sorted(unknown)}"
    sorted_by = {one["displayName"] for one in panel["options"]["sortBy"]}
    if sorted_by - set(renames.values()):
        yield f"sorted by {sorted_by}, which is not there"
