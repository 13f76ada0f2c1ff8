"""The rules: promtool's checks, its unit tests, and no alert on hosts that are well."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Need
from tests.documents import DOCUMENTS, blocks
from tests.grafana import promql, rules

UNIT_TESTS = Path(__file__).with_name("rules") / "alerts.test.yaml"
GOLDEN = sorted((rules.ROOT / "tests/golden/hosts").glob("*.metrics"))


@pytest.fixture(scope="module")
def promtool(need: Need) -> str:
    found = shutil.which("promtool")
    need("promtool", found is not None, "promtool is not installed")
    return found or ""


def _run(*command: str) -> str:
    told = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert told.returncode == 0, told.stdout
    return told.stdout


def test_promtool_finds_nothing_wrong_with_the_rules(promtool: str) -> None:
    assert "FAILED" not in _run(promtool, "check", "rules", *map(str, rules.FILES))


def test_each_alert_fires_when_it_should_and_only_then(promtool: str) -> None:
    _run(promtool, "test", "rules", str(UNIT_TESTS))


def test_each_alert_has_a_unit_test_in_which_it_fires() -> None:
    fires = {
        case["alertname"]
        for test in yaml.safe_load(UNIT_TESTS.read_text())["tests"]
        for case in test.get("alert_rule_test", ())
        if case.get("exp_alerts")
    }
    assert fires == {rule["alert"] for rule in rules.alerts()}


def test_each_alert_says_what_is_wrong_and_where_to_read_on() -> None:
    text = (rules.ROOT / "docs/runbooks.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.M | re.S))
    assert list(sections) == [rule["alert"] for rule in rules.alerts()]
    for name, section in sections.items():
        assert all(f"**{word}**" in section for word in ("Means", "Look", "Do")), name
    metrics = rules.recorded(promql.catalogue())
    found = [p for rule in rules.alerts() for p in rules.problems(rule, metrics, set(sections))]
    assert found == []


def test_the_queries_of_the_documents_are_of_what_is_there() -> None:
    metrics = rules.recorded(promql.catalogue())
    for document in DOCUMENTS:
        for block in blocks(document, "promql"):
            for line in block.text.splitlines():
                promql.result(line.split("  #")[0], metrics)


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_host_that_is_well_alerts_nobody(path: Path, promtool: str, tmp_path: Path) -> None:
    series = [
        {
            "series": sample.name
            + _labels({"job": "nsexporter", "instance": "h", **sample.labels}),
            "values": f"{sample.value!r}x120",
        }
        for family in text_string_to_metric_families(path.read_text("utf-8"))
        for sample in family.samples
        if sample.value != float("inf")
    ]
    well = {"up": 1, "nsexporter_up": 1, "nsexporter_oom_kills_unattributed_total": 0}
    series += [
        {"series": name + _labels({"job": "nsexporter", "instance": "h"}), "values": f"{value}x120"}
        for name, value in well.items()
    ]
    file = tmp_path / "healthy.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "rule_files": list(map(str, rules.FILES)),
                "tests": [
                    {
                        "interval": "1m",
                        "input_series": series,
                        "alert_rule_test": [
                            {"eval_time": "100m", "alertname": rule["alert"]}
                            for rule in rules.alerts()
                            if rule["alert"] != "HostNamespaceShared"  # they share, as it says
                        ],
                    }
                ],
            }
        )
    )
    _run(promtool, "test", "rules", str(file))


def _labels(labels: dict[str, str]) -> str:
    def quote(value: str) -> str:
        return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

    return "{" + ",".join(f'{name}="{quote(value)}"' for name, value in labels.items()) + "}"
