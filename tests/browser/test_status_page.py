"""The status page in a real browser: what axe finds, phones, keyboards, and no script at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import Exporter, running

HOSTILE = "<script>document.title='broken'<script><img src=x onerror=alert(1)>\u202e" + "n" * 120
PICTURES = Path(os.environ.get("NSEXPORTER_TEST_PICTURES", "build/pictures"))


@pytest.fixture(scope="module")
def exporter(need: Need) -> Iterator[Exporter]:
    """One that sees two containers and a cgroup with a hostile name."""
    need("browser", lab.memory_root() is not None, "no memory hierarchy to make cgroups in")
    root = lab.memory_root()
    assert root is not None
    with lab.pair(), lab.tree(root) as top:
        (top / HOSTILE).mkdir()
        with running() as started:
            yield started


@pytest.fixture(scope="module")
def browser(need: Need) -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api") if shutil.which("chromium") else None
    need("browser", api is not None, "no chromium")
    assert api is not None
    with api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield started
        started.close()


def opened(browser: Any, exporter: Exporter, path: str = "/", **context: Any) -> Any:
    """A page, with every error that the browser reports collected in `page.told`."""
    page = browser.new_context(**context).new_page()
    page.told = []
    page.on("pageerror", lambda error: page.told.append(str(error)))
    page.on("console", lambda m: page.told.append(m.text) if m.type == "error" else None)
    page.goto(f"http://127.0.0.1:{exporter.port}{path}")
    return page


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("device", "width"), [("desk", 1280), ("phone", 390)])
@pytest.mark.parametrize(("name", "path"), [("status", "/"), ("docs", "/docs")])
def test_axe_finds_nothing(
    browser: Any, exporter: Exporter, scheme: str, device: str, width: int, name: str, path: str
) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = opened(
        browser,
        exporter,
        path,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        bypass_csp=True,  # axe itself is a script that the page's policy does not know
    )
    PICTURES.mkdir(parents=True, exist_ok=True)
    page.screenshot(path=PICTURES / f"{name}-{scheme}-{device}.png", full_page=True)
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.told == []


def test_hostile_names_do_nothing_and_nothing_is_asked_of_others(
    browser: Any, exporter: Exporter
) -> None:
    page = opened(browser, exporter)
    assert page.title().startswith("nsexporter on ")
    assert page.locator("img").count() == 0
    assert page.locator("script").count() == 1
    assert page.get_by_text("<script>document.title").count() == 1
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    assert page.told == []


def test_the_docs_are_a_link_away_and_from_this_host(browser: Any, exporter: Exporter) -> None:
    page = opened(browser, exporter)
    page.get_by_role("link", name="docs").click()
    heading = page.get_by_role("heading", level=1)
    assert heading.inner_text() == "What the metrics mean"
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    page.get_by_role("link", name="status").click()
    page.wait_for_selector("#containers")
    assert page.told == []


def test_the_tree_folds_by_keyboard_and_a_refresh_leaves_it_so(
    browser: Any, exporter: Exporter
) -> None:
    page = browser.new_context().new_page()
    page.clock.install()
    page.goto(f"http://127.0.0.1:{exporter.port}/")
    folded = page.locator("details:not([open]) > summary").first
    name = folded.locator("xpath=..").get_attribute("id")
    folded.focus()
    page.keyboard.press("Enter")
    assert page.locator(f"#{name}[open]").count() == 1
    page.evaluate(
        "for (const one of document.querySelectorAll('main > :first-child, #host, #asof'))"
        " one.dataset.old = 1"
    )
    with page.expect_response(lambda response: response.url.endswith("/")):
        page.clock.run_for(15_000)
    page.wait_for_selector("[data-old]", state="detached")
    assert page.locator(f"#{name}[open]").count() == 1


def test_a_page_that_gets_no_answer_says_so_until_there_is_one(
    browser: Any, exporter: Exporter
) -> None:
    page = browser.new_context().new_page()
    page.clock.install()
    page.goto(f"http://127.0.0.1:{exporter.port}/")
    told = page.get_by_role("status")
    assert told.inner_text() == ""
    page.route("**/*", lambda route: route.abort())
    page.clock.run_for(15_000)
    page.wait_for_selector("#stale:not(:empty)")
    assert "No newer answer" in told.inner_text()
    page.unroute_all()
    page.clock.run_for(15_000)
    page.wait_for_selector("#stale:empty", state="attached")


def test_it_works_without_script(browser: Any, exporter: Exporter) -> None:
    page = opened(browser, exporter, java_script_enabled=False)
    assert page.locator("#containers tbody tr").count() >= 2
    assert page.locator("#namespaces thead th").count() == 9
    page.locator("details:not([open]) > summary").first.click()
    assert page.locator("details[open]").count() == 2
