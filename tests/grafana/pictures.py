"""Draws dashboards in headless Chromium, with Grafana's own UI libraries and a real Prometheus.

It is not Grafana: panels, variables, annotations and transformations are Grafana's code from npm
(page/package.json), what is around them is not. Panels other than timeseries, stat, bargauge and
table are told as problems.
"""

from __future__ import annotations

import base64
import contextlib
import http.server
import shutil
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, TimeoutError, sync_playwright

ROOT = Path(__file__).parents[2]
PAGE = Path(__file__).parent / "page"
BUILT = ROOT / "build" / "dashboards"
CHROMIUM = shutil.which("chromium") or ""
NEEDED = ("chromium", "npm")

_STUB = "@grafana/schema/dist/esm/raw/composable/table/panelcfg/x/TablePanelCfg_types.gen"
_SCENES = "./node_modules/@grafana/scenes/dist/esm/packages/scenes/src/index.js"
_BUNDLE = (
    "node_modules/.bin/esbuild",
    "main.tsx",
    "--bundle",
    "--format=esm",
    "--splitting",
    "--outdir=out",
    "--jsx=automatic",
    "--target=chrome120",
    "--log-level=error",
    '--define:process.env.NODE_ENV="production"',
    "--define:global=globalThis",
    "--loader:.svg=dataurl",
    "--loader:.png=dataurl",
    "--loader:.woff=file",
    "--loader:.woff2=file",
    "--loader:.ttf=file",
    # npm's package lacks this file, which Grafana's own build makes.
    f"--alias:{_STUB}=./table-schema-stub.js",
    f"--alias:@grafana/scenes={_SCENES}",
)
_LAID_OUT = "window.report && report().length && report().every(panel => panel.text)"
_SETTLED = """report().every(panel => ['Done', 'Error'].includes(panel.state)
    && panel.text && (!panel.rows || panel.text.trim() !== panel.title))
    && document.getAnimations().length === 0"""
_WEBP = """async png => {
    const image = new Image();
    image.src = png;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    canvas.getContext('2d').drawImage(image, 0, 0);
    const blob = await canvas.convertToBlob({type: 'image/webp', quality: 0.85});
    return await new Promise(done => {
        const reader = new FileReader();
        reader.onload = () => done(reader.result);
        reader.readAsDataURL(blob);
    });
}"""


@dataclass(frozen=True, slots=True)
class Drawn:
    """A dashboard's picture: each panel as the page reports it, and what went wrong in the page."""

    panels: list[dict[str, Any]]
    problems: list[str]


def build() -> None:
    """The page's bundle, in BUILT: npm packages by the lock file, once, and the sources."""
    BUILT.mkdir(parents=True, exist_ok=True)
    lock = BUILT / "package-lock.json"
    current = lock.exists() and lock.read_bytes() == (PAGE / lock.name).read_bytes()
    shutil.copytree(PAGE, BUILT, dirs_exist_ok=True)
    if not (current and (BUILT / "node_modules").exists()):
        _run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
    _run(*_BUNDLE)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, cwd=BUILT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


class _Files(http.server.SimpleHTTPRequestHandler):
    def translate_path(self, path: str) -> str:
        path = urllib.parse.urlsplit(path).path.replace("/public/build/img/", "/public/img/")
        if path.startswith("/public/img/"):
            return f"{BUILT}/node_modules/@grafana/ui/dist{path}"
        if path.startswith("/dashboards/"):
            return f"{ROOT}/grafana{path}"
        return f"{BUILT}/index.html" if path == "/" else f"{BUILT}{path}"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest's output is for failures."""


class Studio:
    """A browser, and the page that it opens."""

    def __init__(self, browser: Browser, address: str) -> None:
        self._browser = browser
        self._address = address

    def draw(
        self,
        dashboard: str,
        prometheus: str,
        picture: Path,
        *,
        light: bool,
        start: str,
        variables: Mapping[str, str],
    ) -> Drawn:
        """A dashboard of grafana/dashboards by name, from `start` (as now-5m) to now, as WebP."""
        query = urllib.parse.urlencode(
            {
                "dashboard": f"/dashboards/{dashboard}.json",
                "prometheus": prometheus,
                "scrape": "2s",
                "from": start,
                "theme": "light" if light else "dark",
                **{f"var-{name}": value for name, value in variables.items()},
            }
        )
        problems: list[str] = []
        page = self._browser.new_page(viewport={"width": 1600, "height": 1000})
        try:
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.goto(f"{self._address}/?{query}")
            # Tables draw the rows that are in sight: all of them have to be.
            page.wait_for_function(_LAID_OUT, timeout=30_000)
            height = page.evaluate("document.querySelector('#root > div').scrollHeight")
            page.set_viewport_size({"width": 1600, "height": height})
            with contextlib.suppress(TimeoutError):  # the report says which panel is not drawn
                page.wait_for_function(_SETTLED, timeout=20_000)
            page.wait_for_timeout(1_000)  # a graph is drawn some frames after its data came
            png = base64.b64encode(page.screenshot()).decode()
            webp = page.evaluate(_WEBP, f"data:image/png;base64,{png}")
            picture.write_bytes(base64.b64decode(webp.partition(",")[2]))
            problems += page.evaluate("problems")
            return Drawn(page.evaluate("report()"), problems)
        finally:
            page.close()


@contextlib.contextmanager
def studio() -> Iterator[Studio]:
    """The page built and served, and Chromium."""
    build()
    with contextlib.ExitStack() as ends:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
        ends.callback(server.server_close)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        ends.callback(server.shutdown)
        playwright = ends.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        ends.callback(browser.close)
        yield Studio(browser, f"http://127.0.0.1:{server.server_port}")
