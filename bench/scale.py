"""`python -m bench.scale`: what a fleet costs Prometheus, measured by promtool on generated data.

Every host is the captured Kubernetes node of tests/golden with other ids and its figures in motion;
the blocks that promtool makes of it are what Prometheus, Thanos and Mimir keep.
"""

from __future__ import annotations

import random
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

NODE = Path(__file__).parents[1] / "tests/golden/hosts/kubernetes-node.metrics"
STEP = 15  # seconds between samples
START = 1_700_000_000

# docs/scale.md shows these as metric_relabel_configs; tests/deploy compares them.
LEAN = (
    "nsexporter_(container_info|cgroup_info|build_info|oom_.*|host_.*|capability"
    "|collector_success|config_last_reload_successful|up|namespaces|namespaces_limit_used_ratio"
    "|namespaces_without_process|container_host_namespace|container_namespace_peers_outside_pod"
    "|last_pass_timestamp_seconds"
    "|cgroup_memory_(usage|working_set|limit|effective_limit|headroom|reservation"
    "|reservation_excess)_bytes|cgroup_memory_(failcnt|pressure_stalled_seconds)_total)"
)
_LINE = re.compile(r"([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)")


def node(lean: bool) -> dict[str, list[tuple[str, float]]]:
    """Family name with its type to (labels, value), of one node."""
    families: dict[str, list[tuple[str, float]]] = {}
    head = ""
    for line in NODE.read_text(encoding="utf-8").splitlines():
        if line.startswith("# TYPE "):
            head = line.removeprefix("# TYPE ")
        elif not line.startswith("#"):
            match = _LINE.fullmatch(line)
            assert match is not None, line
            name, labels, value = match.groups()
            if lean:
                core = re.fullmatch(LEAN, name) is not None
                if not core or (
                    name.startswith("nsexporter_cgroup_") and "container_id" not in labels
                ):
                    continue
            families.setdefault(head, []).append(((labels or "{}")[1:-1], float(value)))
    return families


def exposition(hosts: int, samples: int, *, lean: bool) -> Iterator[str]:
    """OpenMetrics with time stamps: every series of every host, its samples in order of time."""
    moving = random.Random(1)
    for head, series in node(lean).items():
        name, kind = head.split()
        kind = "counter" if kind == "counter" else "gauge"
        yield f"# TYPE {name.removesuffix('_total')} {kind}\n"
        for host in range(hosts):
            for labels, value in series:
                own = labels.replace("0070be14", f"{host:08x}")
                own = f'{own},instance="node-{host:04d}"'.lstrip(",")
                moves = (
                    value > 1 and ("bytes" in name or kind == "counter") and moving.random() < 0.5
                )
                for i in range(samples):
                    if moves:
                        step = moving.random() * value / 100
                        value = (
                            value + step if kind == "counter" else abs(value + step - value / 200)
                        )
                    yield f"{name}{{{own}}} {value:.0f} {START + i * STEP}\n"
    yield "# EOF\n"


def blocks(hosts: int, samples: int, *, lean: bool) -> tuple[int, int, int, int]:
    """Series, samples, and the bytes of the index and of the chunks that promtool makes."""
    promtool = shutil.which("promtool")
    if promtool is None:
        raise SystemExit("promtool is not installed (Debian: prometheus)")
    with tempfile.TemporaryDirectory() as directory:
        text, out = Path(directory) / "metrics", Path(directory) / "blocks"
        with text.open("w", encoding="utf-8") as file:
            file.writelines(exposition(hosts, samples, lean=lean))
        subprocess.run(
            [promtool, "tsdb", "create-blocks-from", "openmetrics", str(text), str(out)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        index = sum(path.stat().st_size for path in out.glob("*/index"))
        chunks = sum(path.stat().st_size for path in out.glob("*/chunks/*"))
    series = hosts * sum(map(len, node(lean).values()))
    return series, series * samples, index, chunks


class _Nodes(BaseHTTPRequestHandler):
    """The newest samples of the node that the path names."""

    lean = False

    def do_GET(self) -> None:
        own = f'instance="{self.path[1:]}"'
        lines = []
        for head, series in node(self.lean).items():
            name, _ = head.split()
            lines += [f"{name}{{{f'{labels},{own}'.lstrip(',')}}} {v}\n" for labels, v in series]
        body = "".join(lines).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: a line a scrape tells nobody anything."""


def head(hosts: int, *, lean: bool) -> tuple[int, int]:
    """Series in the head of a real Prometheus that scrapes `hosts`, and its resident bytes."""
    program = shutil.which("prometheus")
    if program is None:
        raise SystemExit("prometheus is not installed (Debian: prometheus)")
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Nodes", (_Nodes,), {"lean": lean}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    jobs = "".join(
        f"  - {{job_name: n{i}, metrics_path: /node-{i:04d}, honor_labels: true,"
        f" static_configs: [{{targets: ['127.0.0.1:{server.server_port}']}}]}}\n"
        for i in range(hosts)
    )
    with tempfile.TemporaryDirectory() as directory:
        config = Path(directory) / "prometheus.yml"
        config.write_text(f"global: {{scrape_interval: 30s}}\nscrape_configs:\n{jobs}")
        prometheus = subprocess.Popen(
            [program, f"--config.file={config}", f"--storage.tsdb.path={directory}/data",
             f"--web.listen-address=127.0.0.1:{port}"],
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            wanted = hosts * sum(map(len, node(lean).values()))
            found = 0.0
            for _ in range(120):
                time.sleep(2)
                found = _own(port, "prometheus_tsdb_head_series")
                if found >= wanted:
                    break
            return int(found), int(_own(port, "process_resident_memory_bytes"))
        finally:
            prometheus.kill()
            prometheus.wait()
            server.shutdown()
            server.server_close()


def _own(port: int, name: str) -> float:
    """One of Prometheus's own metrics; 0 while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    except OSError:
        return 0.0
    found = re.search(rf"^{name} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else 0.0


def main() -> int:
    """Print the tables of docs/scale.md."""
    print("| what is kept | hosts | series in the head | resident | a series |")
    print("| --- | --- | --- | --- | --- |")
    for lean, hosts in ((False, 50), (True, 350)):
        series, resident = head(hosts, lean=lean)
        kept = "lean" if lean else "everything"
        print(
            f"| {kept} | {hosts} | {series:,} | {resident / 2**20:.0f} MiB"
            f" | {resident / series / 1024:.1f} KiB |",
            flush=True,
        )
    print()
    print("| what is kept | hosts | series | samples | index a series | chunks a sample |")
    print("| --- | --- | --- | --- | --- | --- |")
    for lean, hosts, samples in (
        (False, 4, 240),
        (True, 16, 240),
        (False, 1000, 2),
        (True, 1000, 4),
    ):
        series, count, index, chunks = blocks(hosts, samples, lean=lean)
        print(
            f"| {'lean' if lean else 'everything'} | {hosts} | {series:,} | {count:,}"
            f" | {index / series:.0f} B | {chunks / count:.2f} B |",
            flush=True,
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
