"""Every dashboard, drawn with Grafana's own UI libraries from what the real exporter tells."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import Need
from tests.grafana import pictures
from tests.grafana.scene import MAY_BE_EMPTY, Scene
from tests.grafana.test_dashboards import DASHBOARDS
from tests.waiting import until

PICTURES = pictures.ROOT / "build" / "pictures"


@pytest.fixture(scope="module")
def studio(need: Need) -> Iterator[pictures.Studio]:
    missing = [name for name in pictures.NEEDED if shutil.which(name) is None]
    need("grafana", not missing, f"not installed: {missing}")
    PICTURES.mkdir(parents=True, exist_ok=True)
    with pictures.studio() as opened:
        yield opened


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("dashboard", DASHBOARDS)
def test_every_panel_is_drawn(
    dashboard: str, theme: str, studio: pictures.Studio, scene: Scene
) -> None:
    until(lambda: scene.stack.query("nsexporter_up offset 90s"), 120)
    drawn = studio.draw(
        dashboard,
        scene.stack.prometheus,
        PICTURES / f"{dashboard}-{theme}.webp",
        light=theme == "light",
        start="now-2m",
        variables={"container": scene.label("shop-web")},
    )
    assert drawn.problems == []
    wanted = [one["title"] for one in DASHBOARDS[dashboard]["panels"] if one["type"] != "row"]
    assert [panel["title"] for panel in drawn.panels] == wanted
    assert [panel for panel in drawn.panels if panel.get("errors")] == []
    empty = {panel["title"] for panel in drawn.panels if not panel.get("rows")}
    assert empty - MAY_BE_EMPTY == set()
    # What has data shows more than its title.
    blank = {panel["title"] for panel in drawn.panels if panel["text"].strip() == panel["title"]}
    assert blank == set()
