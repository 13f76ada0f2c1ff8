"""A real Prometheus that scrapes the real exporter: containers, an OOM kill, an alert."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping

import pytest

from tests.grafana.scene import CONTAINERS, KILLED, MAY_BE_EMPTY, Scene
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
        ("$__rate_interval_ms", "15000"),
        ("$__rate_interval", "15s"),
        ("$__range_s", "3600"),
        ("$__range", "3600s"),
        ("$__interval_ms", "5000"),
        ("$__interval", "5s"),
        ("$__from", "0"),
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


HOSTS_OWN = {"user", "time"}  # namespaces that containers are in by default
MB = 1 << 20
RUNNING = {name for name, *_ in CONTAINERS} - {"report-job"} | {"shop-sidecar"}
LIMITS = {"shop-db": 128, "shop-cache": 64, "agent": 32, "indexer": 24, "shop-web": 48}
# Of each query what it tells of our containers, by hand from what they are in the scene: the label
# to find them by, and a figure or its bounds; what is not named here is not told of.
Figure = float | tuple[float, float]
FIGURES: dict[tuple[str, str, str], tuple[str, Mapping[str, Figure]]] = {
    ("host", "Containers", "info"): ("name", dict.fromkeys(RUNNING, 1)),
    ("host", "Containers", "usage"): (
        "name",
        {
            **{"shop-db": (96 * MB, 99 * MB), "shop-cache": (44 * MB, 47 * MB)},
            **{"backup": (24 * MB, 27 * MB), "agent": (6 * MB, 9 * MB)},
            **{"indexer": (MB, 24 * MB), "shop-web": (9 * MB, 20 * MB), "shop-sidecar": (1, MB)},
        },
    ),
    ("host", "Containers", "limit"): (
        "name",
        dict.fromkeys(RUNNING, float("inf")) | {name: mb * MB for name, mb in LIMITS.items()},
    ),
    ("host", "Containers", "share"): (
        "name",
        {
            **{"shop-db": (0.75, 0.78), "shop-cache": (0.68, 0.74), "agent": (0.18, 0.29)},
            **{"indexer": (0, 1), "shop-web": (0.18, 0.4)},
        },
    ),
    ("host", "Containers", "headroom"): (
        "name",
        {
            **{"shop-db": (29 * MB, 32 * MB), "shop-cache": (17 * MB, 20 * MB)},
            **{
                "agent": (23 * MB, 26 * MB),
                "indexer": (0, 23 * MB),
                "shop-web": (28 * MB, 39 * MB),
            },
            **{"backup": float("inf"), "shop-sidecar": float("inf")},
        },
    ),
    ("host", "Containers", "kills"): ("name", {"shop-web": 1}),
    ("host", "Killed in this time", "kills"): ("name", {"shop-web": 1, "report-job": 1}),
    ("host", "Above the reservation", "A"): (
        "name",
        {"shop-cache": (28 * MB, 31 * MB), "backup": (16 * MB, 19 * MB)},
    ),
    **{
        ("namespaces", "Containers in the host's namespaces", ns_type): (
            "name",
            dict.fromkeys(RUNNING, float(ns_type in HOSTS_OWN))
            | {"agent": float(ns_type in HOSTS_OWN | {"pid", "uts"})},
        )
        for ns_type in ("mnt", "pid", "net", "ipc", "uts", "user", "time")
    },
    ("namespaces", "Shared namespaces", "member"): ("name", {"shop-web": 1, "shop-sidecar": 1}),
    ("container", "Working set", "A"): ("", {"": (9 * MB, 20 * MB)}),
    ("container", "Effective limit", "A"): ("", {"": 48 * MB}),
    ("container", "Headroom", "A"): ("", {"": (28 * MB, 39 * MB)}),
    ("container", "OOM kills so far", "A"): ("", {"": 1}),
    ("container", "Usage by kind", "B"): ("", {"": (9 * MB, 9 * MB)}),
    ("container", "Limits and what they bound", "C"): ("", {"": (47 * MB, 48 * MB)}),
    ("container", "History", "task"): ("task", {"dd": 1}),
    ("container", "Namespaces of the container", "host"): (
        "ns_type",
        {
            **dict.fromkeys(("mnt", "pid", "net", "ipc", "uts"), 0),
            **dict.fromkeys(HOSTS_OWN, 1),
            "cgroup": (0, 1),  # the host's on v1, its own on v2
        },
    ),
    ("container", "Namespaces of the container", "peers"): (
        "ns_type",
        {
            **dict.fromkeys(("mnt", "pid", "ipc", "uts"), 0),
            **dict.fromkeys((*HOSTS_OWN, "cgroup"), (0, 10_000)),
            "net": 1,
        },
    ),
    ("container", "Peers", "A"): ("name", {"shop-sidecar": 1}),
    ("fleet", "Hosts", "A"): ("", {"": 1}),
    ("fleet", "Hosts with kills", "A"): ("", {"": 1}),
    ("fleet", "Worst share of a limit", "A"): ("", {"": (0.75, 1.01)}),
    ("fleet", "Every host", "containers"): ("", {"": (len(RUNNING), 10_000)}),
    ("fleet", "Exporters down", "A"): ("", {}),
    ("exporter", "Collectors that fail", "A"): ("", {}),
}


@pytest.mark.parametrize("where", FIGURES, ids="-".join)
def test_a_figure_is_that_of_the_scene(where: tuple[str, str, str], scene: Scene) -> None:
    label, wanted = FIGURES[where]
    expr = _asked(_expr(*where), scene.label("shop-web"))
    ours = {name: scene.label(name) for name in scene.containers}

    def told() -> dict[str, float] | None:
        found = {
            series["metric"].get(label, ""): float(series["value"][1])
            for series in scene.stack.query(expr)
            if label != "name" or series["metric"]["name"] in ours
        }
        right = found.keys() == wanted.keys() and all(
            low <= found[name] <= high
            for name, figure in wanted.items()
            for low, high in [figure if isinstance(figure, tuple) else (figure, figure)]
        )
        return None if right else found

    with contextlib.suppress(AssertionError):  # what is wrong in the end says more
        until(lambda: told() is None, 60)
    assert told() is None, wanted
