"""The rules as their files have them, and what is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.grafana import promql

Json = dict[str, Any]

ROOT = Path(__file__).parents[2]
FILES = tuple(ROOT / "grafana/rules" / f"{name}.yaml" for name in ("allow", "recording", "alerts"))


def every() -> list[Json]:
    """All rules, recorded ones first."""
    return [
        rule
        for path in FILES
        for group in yaml.safe_load(path.read_text())["groups"]
        for rule in group["rules"]
    ]


def alerts() -> list[Json]:
    return [rule for rule in every() if "alert" in rule]


def recorded(metrics: dict[str, promql.Vector]) -> dict[str, promql.Vector]:
    """The catalogue with what the recording rules add."""
    known = dict(metrics)
    for rule in every():
        if "record" in rule:
            known[rule["record"]] = promql.result(rule["expr"], known)
    return known


def problems(rule: Json, metrics: dict[str, promql.Vector], headings: set[str]) -> Iterator[str]:
    """One line a problem with an alert."""
    name = rule["alert"]
    try:
        labels = promql.result(rule["expr"], metrics).labels or frozenset()
    except promql.PromqlError as error:
        yield f"{name}: {error}"
        return
    if rule["labels"]["severity"] not in ("critical", "warning", "info"):
        yield f"{name}: severity {rule['labels']['severity']}"
    notes = rule["annotations"]
    if set(notes) != {"summary", "description", "runbook_url"}:
        yield f"{name}: annotations {sorted(notes)}"
    if notes["runbook_url"] != f"docs/runbooks.md#{name.lower()}" or name not in headings:
        yield f"{name}: no heading {notes['runbook_url']}"
    texts = notes["summary"] + notes["description"]
    if "$labels.instance" not in notes["summary"]:
        yield f"{name}: the summary does not name the host"
    if unknown := set(re.findall(r"\$labels\.(\w+)", texts)) - labels:
        yield f"{name}: no label {sorted(unknown)}"
    told = set[str]()
    for query in re.findall(r"printf `([^`]*)`", texts):
        expr = query.replace("%q", '"x"')
        try:
            told |= promql.result(expr, metrics).labels or frozenset()
        except promql.PromqlError as error:
            yield f"{name}: {error}"
    if unknown := set(re.findall(r"\.Labels\.(\w+)", texts)) - told:
        yield f"{name}: no label {sorted(unknown)} in what it asks for"
