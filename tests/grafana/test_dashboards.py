"""The dashboards as files: current, linted, each expression's metrics, labels and unit right."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana import lint, promql, rules

Json = dict[str, Any]

DASHBOARDS = {
    path.stem: json.loads(path.read_text("utf-8"))
    for path in sorted((rules.ROOT / "grafana/dashboards").glob("*.json"))
}


@pytest.fixture(scope="module")
def metrics() -> dict[str, promql.Vector]:
    return rules.recorded(promql.catalogue())


def test_the_files_are_what_the_builder_makes() -> None:
    subprocess.run([sys.executable, "-m", "grafana.build", "--check"], cwd=rules.ROOT, check=True)


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_no_problem(name: str, metrics: dict[str, promql.Vector]) -> None:
    assert lint.problems(DASHBOARDS[name], metrics) == []


def test_uids_are_unique() -> None:
    uids = [one["uid"] for one in DASHBOARDS.values()]
    assert len(set(uids)) == len(uids)


def _wrong_metric(expr: str) -> str:
    return re.sub(r"(nsexporter|process|scrape)_(\w+?)(_\w+)?\{", r"\1_\2x\3{", expr, count=1)


def _wrong_label(expr: str) -> str:
    wrong = re.sub(r",(\w+)(=~|!=|=|!~)", r",\1x\2", expr.replace(",instance=", ",@"), count=1)
    if "@" in wrong and wrong.replace(",@", ",instance=") != expr:
        return wrong.replace(",@", ",instance=")
    return re.sub(r"by \((\w+)", r"by (\1x", expr, count=1)


def _no_rate(expr: str) -> str:
    return re.sub(r"\b(?:rate|increase)\((.+?)\[\$__(?:rate_interval|range)\]\)", r"(\1)", expr)


def _no_instance(expr: str) -> str:
    return expr.replace(',instance=~"$instance"', "", 1)


def _fixed_window(expr: str) -> str:
    return expr.replace("$__rate_interval", "5m")


def _no_parenthesis(expr: str) -> str:
    return expr.replace(")", "", 1)


MUTATIONS: dict[str, Callable[[str], str]] = {
    "a metric that is not there": _wrong_metric,
    "a label that is not there": _wrong_label,
    "a counter without its rate": _no_rate,
    "a selector of all hosts": _no_instance,
    "a fixed window": _fixed_window,
    "no PromQL": _no_parenthesis,
    "a value that the label never has": lambda expr: re.sub(
        r'\b(scope|ns_type|kind)=(~?)"(\w+)', r'\1=\2"\3x', expr, count=1
    ),
    "hosts that are matched with one another": lambda expr: expr.replace(
        "on (job, instance, ", "on (", 1
    ),
    "inodes of any type that are matched": lambda expr: expr.replace(
        "instance, ns_type, ns_inode)", "instance, ns_inode)", 1
    ),
    "any container": lambda expr: expr.replace(',container_id=~"$container"', "", 1),
    "what may be unlimited": lambda expr: re.sub(r"(_(?:limit|headroom)_.+) < \+Inf", r"\1", expr),
    "the whole range at every point": lambda expr: expr.replace("$__rate_interval", "$__range"),
    "points of longer ago": lambda expr: expr.replace("offset $__interval", "offset $__range"),
    "a rise in place of a rate": lambda expr: re.sub(r"\brate\(", "increase(", expr, count=1),
    "seconds in place of milliseconds": lambda expr: expr.replace(" * 1000", ""),
    "everything in one": lambda expr: re.sub(r"\b(sum|max|min) by \([^)]*\)", r"\1", expr),
}
# The outer aggregation of what is counted is of no consequence for labels.
UNFOUND = {("everything in one", "count(max ")}


def _targets(dashboard: Json) -> Iterator[tuple[int, int, Json]]:
    for row, panel in enumerate(dashboard["panels"]):
        for column, target in enumerate(panel.get("targets", ())):
            yield row, column, target


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_any_expression_that_is_mutated_is_found_out(
    mutation: str, metrics: dict[str, promql.Vector]
) -> None:
    tried = 0
    for name, dashboard in DASHBOARDS.items():
        for row, column, target in _targets(dashboard):
            wrong = MUTATIONS[mutation](target["expr"])
            if wrong == target["expr"] or any(
                mutation == one and wrong.startswith(start) for one, start in UNFOUND
            ):
                continue
            mutated = copy.deepcopy(dashboard)
            mutated["panels"][row]["targets"][column]["expr"] = wrong
            assert lint.problems(mutated, metrics), f"{name}: {wrong}"
            tried += 1
    assert tried > 2


@pytest.mark.parametrize("unit", sorted(promql.GRAFANA_UNITS))
def test_any_unit_that_is_wrong_is_found_out(unit: str, metrics: dict[str, promql.Vector]) -> None:
    wanted = promql.GRAFANA_UNITS[unit]
    for name, dashboard in DASHBOARDS.items():
        for row, panel in enumerate(dashboard["panels"]):
            units = [panel.get("fieldConfig", {}).get("defaults", {})] if "targets" in panel else []
            if panel["type"] == "table":
                units = []
            for index, override in enumerate(panel.get("fieldConfig", {}).get("overrides", ())):
                for number, one in enumerate(override["properties"]):
                    if (
                        one["id"] == "unit"
                        and promql.GRAFANA_UNITS.get(one["value"], wanted) != wanted
                    ):
                        mutated = copy.deepcopy(dashboard)
                        overrides = mutated["panels"][row]["fieldConfig"]["overrides"]
                        overrides[index]["properties"][number]["value"] = unit
                        assert lint.problems(mutated, metrics), f"{name}: {panel['title']}"
            for one in units:
                if promql.GRAFANA_UNITS[one["unit"]] != wanted:
                    mutated = copy.deepcopy(dashboard)
                    mutated["panels"][row]["fieldConfig"]["defaults"]["unit"] = unit
                    assert lint.problems(mutated, metrics), f"{name}: {panel['title']}"


def test_provisioning_files_name_what_is_there() -> None:
    for path in (rules.ROOT / "grafana/provisioning").rglob("*.yaml"):
        assert yaml.safe_load(path.read_text())["apiVersion"] == 1
    source = yaml.safe_load(
        Path(rules.ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert [one["type"] for one in source["datasources"]] == ["prometheus"]
