"""A real Prometheus that scrapes the real exporter: containers, an OOM kill, an alert."""

from __future__ import annotations

import functools

import pytest

from tests.grafana.scene import KILLED, MAY_BE_EMPTY, Scene
from tests.grafana.stack import INSTANCE
from tests.grafana.test_dashboards import DASHBOARDS
from tests.waiting import until


@pytest.mark.parametrize("name", sorted(KILLED))
def test_the_alert_about_an_oom_kill_arrives_with_the_containers_name(
    name: str, scene: Scene
) -> None:
    wanted = {"container_name": name, "container_id": scene.label(name)}
    until(lambda: scene.stack.told("OomKill", **wanted), 60)
    arrived, alert = scene.stack.told("OomKill", **wanted)[0]
    assert alert["status"] == "firing"
    assert alert["annotations"]["summary"] == f"{name} on {INSTANCE} was OOM-killed"
    assert f"dd of container {name} on {INSTANCE}" in alert["annotations"]["description"]
    (kill,) = scene.stack.query(
        f'nsexporter_oom_last_kill_timestamp_seconds{{container_id="{wanted["container_id"]}"}}'
    )
    assert arrived - float(kill["value"][1]) < 30


def test_no_other_container_is_told_to_have_been_killed(scene: Scene) -> None:
    ours = {scene.label(name): name for name in scene.containers}
    for name in KILLED:
        until(
            functools.partial(scene.stack.told, "OomKill", container_name=name),
            60,
        )
    killed = {alert["labels"].get("container_id") for _, alert in scene.stack.told("OomKill")}
    assert {ours[one] for one in killed if one in ours} == KILLED


def _asked(expr: str, container: str) -> str:
    """The expression as Grafana would ask it."""
    for variable, value in (
        ("$__rate_interval", "15s"),
        ("$__range_s", "300"),
        ("$__range", "300s"),
        ("$__interval_ms", "5000"),
        ("$__interval", "5s"),
        ("$job", "nsexporter"),
        ("$instance", INSTANCE),
        ("$container", container),
    ):
        expr = expr.replace(variable, value)
    return expr


def _expr(dashboard: str, title: str, ref: str) -> str:
    """One query of one panel."""
    return next(
        str(target["expr"])
        for panel in DASHBOARDS[dashboard]["panels"]
        for target in panel.get("targets", ())
        if (panel["title"], target["refId"]) == (title, ref)
    )


@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_panel_has_data(dashboard: str, scene: Scene) -> None:
    until(lambda: scene.stack.query("nsexporter_up offset 15s"), 60)
    kills = f'nsexporter_oom_kills_total{{container_id="{scene.label("shop-web")}"}}'
    until(lambda: scene.stack.query(f"{kills} offset 5s > 0"), 60)
    container = scene.label("shop-web")
    empty = []
    for panel in DASHBOARDS[dashboard]["panels"]:
        if panel["type"] == "row":
            continue
        for target in panel["targets"]:
            expr = _asked(target["expr"], container)
            # A graph shows what was at any time of the range.
            if not target["instant"]:
                expr = f"last_over_time(({expr})[60s:1s])"
            if scene.stack.query(expr):
                break
        else:
            empty.append(panel["title"])
    assert set(empty) - MAY_BE_EMPTY == set()


def test_the_figures_are_those_of_the_containers(scene: Scene) -> None:
    """Two panels by hand: the limit of one container, and who shares its network with whom."""
    limit = _expr("host", "Containers", "limit")
    found = {
        series["metric"]["name"]: float(series["value"][1])
        for series in scene.stack.query(_asked(limit, ""))
        if series["metric"]["container_id"] in map(scene.label, scene.containers)
    }
    assert found["shop-db"] == 128 << 20 and found["backup"] == float("inf")
    peers = _asked(_expr("container", "Peers", "A"), scene.label("shop-web"))
    shared = scene.stack.query(peers)
    assert [(s["metric"]["name"], s["metric"]["ns_type"]) for s in shared] == [
        ("shop-sidecar", "net")
    ]
