"""Scrapes while hundreds of clients hold connections; five minutes in full, seconds in CI."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import shutil
import ssl
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live.exporter import Exporter, running
from tests.soak import hostile
from tests.web import certificates

SECONDS = float(os.environ.get("NSEXPORTER_SOAK_SECONDS", "20"))
FULL = SECONDS >= 300


class Prometheus:
    """Scrapes over one connection, as Prometheus does; made anew where the server has ended it."""

    def __init__(self, port: int, tls: ssl.SSLContext) -> None:
        self._port, self._tls = port, tls
        self._connection = self._made()

    def _made(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("localhost", self._port, timeout=30, context=self._tls)

    def scrape(self, *, anew: bool) -> tuple[float, str]:
        """Seconds, and the exposition."""
        if anew:
            self.close()
        started = time.monotonic()
        try:
            text = self._get()
        except (ConnectionError, http.client.RemoteDisconnected, ssl.SSLEOFError):
            self.close()
            text = self._get()
        return time.monotonic() - started, text

    def _get(self) -> str:
        self._connection.request("GET", "/metrics")
        response = self._connection.getresponse()
        text = response.read().decode()
        assert response.status == 200
        return text

    def close(self) -> None:
        self._connection.close()
        self._connection = self._made()


@dataclass(frozen=True, slots=True)
class Use:
    """What a process holds."""

    resident: int  # bytes
    sockets: int
    threads: int

    @classmethod
    def of(cls, exporter: Exporter) -> Use:
        process = Path(f"/proc/{exporter.process.pid}")
        resident = re.search(r"VmRSS:\s+(\d+)", (process / "status").read_text())
        assert resident
        sockets = 0
        for descriptor in (process / "fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                sockets += os.readlink(descriptor).startswith("socket:")
        return cls(int(resident[1]) << 10, sockets, len(os.listdir(process / "task")))


def waited(exporter: Exporter) -> float:
    """Seconds that the exporter's threads, and this one, were ready to run but had no processor."""
    tasks = [*Path(f"/proc/{exporter.process.pid}/task").iterdir(), Path("/proc/thread-self")]
    nanoseconds = 0
    for task in tasks:
        with contextlib.suppress(OSError):
            nanoseconds += int((task / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


@pytest.mark.parametrize("connections", [128, 1000])
def test_scrapes_are_answered_while_450_clients_hold_connections(
    connections: int, tmp_path: Path, need: Need
) -> None:
    """128: they have to be cut off for each other; 1000: there is room for all of them.

    No scrape takes more than 250 ms beside what it waits for a processor, which the clients with
    their 40 handshakes a second have too, and who knows who else. All in all 250 ms hold for every
    scrape of the five minutes, in CI for 95 of 100, and 1 s for all; where others had the
    processors it is tried again.
    """
    need("soak", shutil.which("openssl") is not None, "openssl is not installed")
    for _ in range(3):
        times = hold(connections, tmp_path)
        slow = [seconds for seconds in times if seconds > 0.25]
        if max(times) <= 1 and len(slow) <= (0 if FULL else len(times) / 20):
            return
    pytest.fail(f"slow scrapes: {slow}")


def hold(connections: int, tmp_path: Path) -> list[float]:
    """The seconds of each scrape while the clients hold on; afterwards all is as it was."""
    certificates.authority(tmp_path, "ca")
    certificates.issue(tmp_path, "server", "ca", "DNS:localhost")
    web, config = tmp_path / "web.yaml", tmp_path / "config.yaml"
    web.write_text("tls_server_config: {cert_file: server.crt, key_file: server.key}\n")
    config.write_text(f"web: {{max_connections: {connections}}}\n")
    tls = ssl.create_default_context(cafile=str(tmp_path / "ca.crt"))
    with running(f"--config.file={config}", f"--web.config.file={web}") as exporter:
        prometheus = Prometheus(exporter.port, tls)
        for _ in range(30):
            prometheus.scrape(anew=True)
        before = Use.of(exporter)
        times: list[float] = []
        own: list[float] = []
        most = 0
        command = ["nice", sys.executable, "-m", "tests.soak.hostile", str(exporter.port)]
        with subprocess.Popen([*command, str(tmp_path / "ca.crt")]) as clients:
            try:
                end = time.monotonic() + SECONDS
                while time.monotonic() < end:
                    queued = waited(exporter)
                    seconds, text = prometheus.scrape(anew=len(times) % 2 == 0)
                    times.append(seconds)
                    own.append(seconds - (waited(exporter) - queued))
                    found = re.search(r"^nsexporter_web_connections (\d+)$", text, re.MULTILINE)
                    assert found
                    most = max(most, int(found[1]))
                    time.sleep(max(0, 1 - seconds))
                during = Use.of(exporter)
                assert clients.poll() is None
            finally:
                clients.kill()
        assert most > min(connections, hostile.IDLE + hostile.HALF) * 0.9
        print(
            f"\n{connections} connections at most, {most} seen; {len(times)} scrapes: median"
            f" {statistics.median(times) * 1000:.0f} ms, longest {max(times) * 1000:.0f} ms"
            f" ({max(own) * 1000:.0f} ms without waiting for a processor),"
            f" {sum(one > 0.25 for one in times)} above 250 ms; {len(text) >> 10} kB;"
            f"\n{before}, {during},"
        )
        assert max(own) <= 0.25, own
        deadline = time.monotonic() + 60
        while True:
            _, text = prometheus.scrape(anew=True)
            after = Use.of(exporter)
            settled = (
                after.resident <= before.resident + (8 << 20) and after.sockets <= before.sockets
            )
            if settled and "\nnsexporter_web_connections 1\n" in text:
                break
            assert time.monotonic() < deadline, (before, after)
            time.sleep(1)
        print(f"then {after}")
        # One more where a cgroup came near its limit meanwhile: it samples that cgroup.
        assert after.threads <= before.threads + 1
        assert "Traceback" not in "".join(exporter.log)
        prometheus.close()
    return times
