"""An exporter, Prometheus with the rules, Alertmanager and a webhook, on ports of their own."""

from __future__ import annotations

import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from tests.grafana import rules
from tests.live.exporter import running

Json = dict[str, Any]

PROGRAMS = {
    name: shutil.which(name) for name in ("prometheus", "prometheus-alertmanager", "promtool")
}
INSTANCE = "demo-host"


class Webhook(http.server.ThreadingHTTPServer):
    """Keeps every alert that it is sent, and when."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Receiver)
        self.alerts: list[tuple[float, Json]] = []


class _Receiver(http.server.BaseHTTPRequestHandler):
    server: Webhook

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.alerts += [(time.time(), alert) for alert in body["alerts"]]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: pytest's output is for failures."""


class Stack:
    """What runs, and how to ask Prometheus."""

    def __init__(self, exporter: str, prometheus: str, webhook: Webhook) -> None:
        self.exporter = exporter
        self.prometheus = prometheus
        self.webhook = webhook

    def ask(self, path: str, **parameters: str) -> Any:
        """The data of an answer of Prometheus' HTTP API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.prometheus}/api/v1/{path}?{query}", timeout=30) as told:
            return json.load(told)["data"]

    def query(self, expr: str) -> list[Json]:
        """The series of an instant query, now."""
        result: list[Json] = self.ask("query", query=expr)["result"]
        return result

    def told(self, alert: str, **labels: str) -> list[tuple[float, Json]]:
        """The alerts of that name with these labels that the webhook got, oldest first."""
        return [
            (when, one)
            for when, one in self.webhook.alerts
            if one["labels"]["alertname"] == alert and labels.items() <= one["labels"].items()
        ]


@contextlib.contextmanager
def stack(directory: Path, *flags: str) -> Iterator[Stack]:
    """All of it, scraping every two seconds, evaluating every second, ended at the end."""
    with contextlib.ExitStack() as ends:
        exporter = ends.enter_context(running("--collection.interval=1s", *flags))
        webhook = Webhook()
        ends.callback(webhook.server_close)
        threading.Thread(target=webhook.serve_forever, daemon=True).start()
        ends.callback(webhook.shutdown)
        prometheus, alertmanager = _port(), _port()
        _write(
            directory / "alertmanager.yaml",
            {
                "route": {"receiver": "webhook", "group_by": ["..."], "group_wait": "0s"},
                "receivers": [
                    {
                        "name": "webhook",
                        "webhook_configs": [{"url": f"http://127.0.0.1:{webhook.server_port}/"}],
                    }
                ],
            },
        )
        _write(
            directory / "prometheus.yaml",
            {
                "global": {"scrape_interval": "2s", "evaluation_interval": "1s"},
                "rule_files": [str(path) for path in rules.FILES],
                "alerting": {
                    "alertmanagers": [
                        {"static_configs": [{"targets": [f"127.0.0.1:{alertmanager}"]}]}
                    ]
                },
                "scrape_configs": [
                    {
                        "job_name": "nsexporter",
                        "static_configs": [
                            {
                                "targets": [f"127.0.0.1:{exporter.port}"],
                                "labels": {"instance": INSTANCE},
                            }
                        ],
                    }
                ],
            },
        )
        for name, port, arguments in (
            (
                "prometheus-alertmanager",
                alertmanager,
                (
                    f"--config.file={directory}/alertmanager.yaml",
                    f"--storage.path={directory}/alertmanager",
                    "--cluster.listen-address=",
                ),
            ),
            (
                "prometheus",
                prometheus,
                (
                    f"--config.file={directory}/prometheus.yaml",
                    f"--storage.tsdb.path={directory}/prometheus",
                    "--web.cors.origin=.*",
                ),
            ),
        ):
            ends.enter_context(_daemon(directory, name, port, *arguments))
        here = "http://127.0.0.1"
        yield Stack(f"{here}:{exporter.port}", f"{here}:{prometheus}", webhook)


@contextlib.contextmanager
def _daemon(directory: Path, name: str, port: int, *arguments: str) -> Iterator[None]:
    """A program with an HTTP port, ready; its output is in a file of its name."""
    with (directory / f"{name}.log").open("w+") as log:
        process = subprocess.Popen(
            [PROGRAMS[name] or name, *arguments, f"--web.listen-address=127.0.0.1:{port}"],
            stdout=log,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 60
            while not _ready(port):
                ended = process.poll() is not None or time.monotonic() > deadline
                assert not ended, Path(log.name).read_text()
                time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, TimeoutError):
        return False


def _port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _write(path: Path, value: Json) -> None:
    path.write_text(yaml.safe_dump(value))
