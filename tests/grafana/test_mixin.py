"""The mixin, as jsonnet makes it: the same dashboards, rules and alerts as the files."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import yaml

from tests.conftest import Need
from tests.grafana import rules
from tests.grafana.test_dashboards import DASHBOARDS


def _groups(*names: str) -> list[Any]:
    files = [rules.ROOT / "grafana" / "rules" / f"{name}.yaml" for name in names]
    return [group for file in files for group in yaml.safe_load(file.read_text())["groups"]]


def _folded(value: Any) -> Any:
    """Strings without their line breaks: jsonnet's parser folds some that YAML keeps."""
    if isinstance(value, dict):
        return {key: _folded(one) for key, one in value.items()}
    if isinstance(value, list):
        return [*map(_folded, value)]
    return " ".join(value.split()) if isinstance(value, str) else value


def test_the_mixin_has_what_the_files_have(need: Need) -> None:
    need("grafana", shutil.which("jsonnet") is not None, "no jsonnet")
    mixin = "(import 'grafana/mixin/mixin.libsonnet')"
    fields = ("grafanaDashboards", "prometheusRules", "prometheusAlerts")
    told = subprocess.run(
        ["jsonnet", "-e", f"{{ {', '.join(f'{one}: {mixin}.{one}' for one in fields)} }}"],
        cwd=rules.ROOT,
        capture_output=True,
        check=True,
    )
    files = {
        "grafanaDashboards": {f"nsexporter-{name}.json": one for name, one in DASHBOARDS.items()},
        "prometheusRules": {"groups": _groups("recording", "allow")},
        "prometheusAlerts": {"groups": _groups("alerts")},
    }
    assert _folded(json.loads(told.stdout)) == _folded(files)
