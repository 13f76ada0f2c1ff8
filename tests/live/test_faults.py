"""Faults with real causes: what is wrong costs its own samples only, and is told."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import COMMAND, Exporter, running, setpriv
from tests.waiting import until


def value(text: str, name: str) -> float | None:
    """The value of a sample, by its name and labels as exposed."""
    found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)
    return float(found[1]) if found else None


def metrics(exporter: Exporter) -> str:
    status, _, body = exporter.get()
    assert status == 200
    return body.decode()


def private(script: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """A shell script in a mount namespace of its own."""
    return subprocess.run(
        ["unshare", "--mount", "sh", "-euc", script, "sh", *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_too_few_descriptors_cost_no_scrape(top: Path, tmp_path: Path) -> None:
    for number in range(200):
        (top / f"c{number}").mkdir()
    limited = ["prlimit", "--nofile=96:96", *COMMAND, "--web.listen-address=127.0.0.1:0"]
    log = tmp_path / "log"
    with (
        open(log, "w") as stderr,
        subprocess.Popen(
            [*limited, "--collection.max-age=0s"], stderr=stderr, text=True
        ) as process,
    ):
        try:
            until(lambda: re.search(r"127\.0\.0\.1:(\d+)", log.read_text()), 60)
            found = re.search(r"127\.0\.0\.1:(\d+)", log.read_text())
            assert found
            exporter = Exporter(process, int(found[1]), [])
            for _ in range(10):
                text = metrics(exporter)
                errors = re.findall(
                    r'^nsexporter_read_errors_total\{.*errno="EMFILE"\} (\S+)$', text, re.MULTILINE
                )
                present = text.count(f'nsexporter_cgroup_memory_usage_bytes{{cgroup="/{top.name}/c')
                told = sum(map(float, errors))
                assert present == 200 or told, "cgroups are missing, and nothing says so"
        finally:
            process.kill()


def test_names_of_255_bytes_and_paths_beyond_path_max_are_read(top: Path) -> None:
    names = [chr(97 + depth) * 255 for depth in range(18)]  # 18 * 256 > PATH_MAX
    fd = os.open(top, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in names:
            os.mkdir(name, dir_fd=fd)
            below = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        with running() as exporter:
            text = metrics(exporter)
        deepest = f"/{top.name}/" + "/".join(names)
        assert len(deepest) > 4096
        assert value(text, f'nsexporter_cgroup_processes{{cgroup="{deepest}"}}') == 0
        assert text.count(f'nsexporter_cgroup_processes{{cgroup="/{top.name}') == 19
        assert value(text, 'nsexporter_oom_event_sources{source="notifications"}') == 1
    finally:
        # rmtree cannot: each is removed from its parent's descriptor.
        for name in reversed(names):
            above = os.open("..", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = above
            os.rmdir(name, dir_fd=fd)
        os.close(fd)


def test_hidepid_hides_processes_and_the_capability_says_so(top: Path) -> None:
    told = private(
        'mount -t proc -o hidepid=2 proc "$1"; shift; exec "$@"',
        "/mnt",
        *setpriv(()),
        *(sys.executable, "-m", "nsexporter", "dump", "--path.procfs=/mnt"),
    )
    assert told.returncode == 0, told.stderr
    assert value(told.stdout, 'nsexporter_capability{name="ns_read"}') == 0
    assert (
        value(told.stdout, f'nsexporter_cgroup_memory_usage_bytes{{cgroup="/{top.name}"}}')
        is not None
    )


WITH_STATE = """
mount -t tmpfs -o size=4M tmpfs "$1"
SPOIL
exec "$2" -m nsexporter --config.file="$3" --web.listen-address=127.0.0.1:0
"""


@pytest.mark.parametrize(
    ("spoil", "mend", "told"),
    [
        (
            'head -c 5M /dev/zero >"$1/full" 2>/dev/null || true',
            'rm "$1/full"',
            "No space left on device",
        ),
        ('mount -o remount,ro "$1"', 'mount -o remount,rw "$1"', "Read-only file system"),
    ],
    ids=["full", "read-only"],
)
def test_a_state_directory_that_takes_nothing_costs_the_state_until_it_is_mended(
    need: Need, tmp_path: Path, spoil: str, mend: str, told: str
) -> None:
    need("live", os.geteuid() == 0, "this is not root")
    state = tmp_path / "state"
    state.mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(
        f"oom: {{state_file: {state}/oom.json}}\ncollection: {{interval: 200ms, max_age: 0s}}\n"
    )
    script = WITH_STATE.replace("SPOIL", spoil)
    with subprocess.Popen(
        ["unshare", "--mount", "sh", "-euc", script, "sh", state, sys.executable, config],
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        log: list[str] = []
        reader = threading.Thread(target=lambda: log.extend(process.stderr or ()), daemon=True)
        reader.start()
        try:
            until(lambda: re.search(r"127\.0\.0\.1:(\d+)", "".join(log)), 30)
            found = re.search(r"127\.0\.0\.1:(\d+)", "".join(log))
            assert found
            exporter = Exporter(process, int(found[1]), log)
            until(lambda: any(told in line for line in log), 30)
            assert value(metrics(exporter), "nsexporter_up") == 1
            inside = Path(f"/proc/{process.pid}/root{state}")
            assert not (inside / "oom.json").exists()
            entered = ("nsenter", f"--mount=/proc/{process.pid}/ns/mnt")
            subprocess.run([*entered, "sh", "-euc", mend, "sh", state], check=True)
            until(lambda: (inside / "oom.json").exists(), 60)
            assert sum(told in line for line in log) == 1, "told once"
        finally:
            process.kill()
            reader.join()  # before its pipe is closed


def test_a_thread_that_cannot_be_had_costs_names_only_and_they_come_later(
    top: Path, tmp_path: Path
) -> None:
    """pids.max makes clone(2) fail with EAGAIN, as it fails with ENOMEM without memory."""
    pids = top if lab.version() == "v2" else Path("/sys/fs/cgroup/pids")
    if not (pids / "cgroup.procs").exists():
        pytest.skip("no pids controller here")
    state = tmp_path / "var/lib/docker/containers"
    flags = (f"--path.rootfs={tmp_path}", "--collection.max-age=0s", "--collection.interval=100ms")
    with lab.tree(pids) as above, running(*flags) as exporter:
        metrics(exporter)
        box = above / "exporter"  # v2: processes only in leaves
        box.mkdir()
        (box / "cgroup.procs").write_text(str(exporter.process.pid))
        (box / "pids.max").write_text((box / "pids.current").read_text())
        identifier = os.urandom(32).hex()
        (state / identifier).mkdir(parents=True)
        described = {"ID": identifier, "Name": "/seen", "Config": {"Image": "busybox"}}
        (state / identifier / "config.v2.json").write_text(json.dumps(described))
        (top / "docker" / identifier).mkdir(parents=True)
        sample = f'nsexporter_cgroup_processes{{cgroup="/{top.name}/docker/{identifier}",'
        sample += f'container_id="{identifier[:12]}"'
        for path in ("/metrics", "/", "/-/ready"):
            assert exporter.get(path)[0] == 200
        text = metrics(exporter)
        assert value(text, sample + "}") == 0
        assert value(text, "nsexporter_up") == 1
        assert not re.search(r"^nsexporter_collector_success\{.*\} 0$", text, re.MULTILINE)
        assert (box / "pids.events").read_text() != "max 0\n", "no thread was denied"
        (box / "pids.max").write_text("max")
        named = sample + ',container_name="seen"}'
        until(lambda: value(metrics(exporter), named) == 0)
    assert not [line for line in exporter.log if "Traceback" in line]


def test_a_stall_of_one_kernel_file_costs_no_scrape(tmp_path: Path) -> None:
    """vmstat is a pipe here: it opens when somebody writes, as a file of a stuck kernel does."""
    for name in os.listdir("/proc"):
        if not name.isdigit() and name != "vmstat":
            (tmp_path / name).symlink_to(f"/proc/{name}")
    os.mkfifo(tmp_path / "vmstat")

    def answer() -> None:
        with open(tmp_path / "vmstat", "wb") as pipe:
            pipe.write(b"oom_kill 7\n")

    first = threading.Thread(target=answer)
    first.start()
    flags = (f"--path.procfs={tmp_path}", "--collection.max-age=0s", "--security.landlock=off")
    with running(*flags) as exporter:
        first.join(30)
        until(lambda: exporter.get("/-/ready")[0] == 200)
        for _ in range(3):
            started = time.monotonic()
            connection = http.client.HTTPConnection("127.0.0.1", exporter.port, timeout=30)
            with contextlib.closing(connection):
                headers = {"X-Prometheus-Scrape-Timeout-Seconds": "1.5"}
                connection.request("GET", "/metrics", headers=headers)
                text = connection.getresponse().read().decode()
            assert time.monotonic() - started < 10
            assert value(text, "nsexporter_host_oom_kills_total") == 7
        passes = value(text, "nsexporter_passes_total")
        assert passes is not None
        answer()

        def later() -> float:
            body = exporter.get(X_Prometheus_Scrape_Timeout_Seconds="1")[2].decode()
            return value(body, "nsexporter_passes_total") or 0

        until(lambda: later() > passes)


REMOUNTED = """
"$2" -m nsexporter --web.listen-address=unix:"$3/s" --collection.max-age=0s 2>"$3/log" &
exporter=$!
trap 'kill $exporter' EXIT
ask() { curl --silent --fail --retry 50 --retry-connrefused --retry-delay 1 --max-time 60 \
    --unix-socket "$3/s" http://localhost/metrics; }
while [ ! -S "$3/s" ]; do sleep 0.1; done
ask "$@" >"$3/before"
umount -l "$1"
case $5 in
v1) mount -t cgroup -o memory cgroup "$1" ;;
v2) mount -t cgroup2 -o nsdelegate,memory_recursiveprot cgroup2 "$1" ;;
esac
mkdir "$1/$4/new"
ask "$@" >"$3/after"
rmdir "$1/$4/new"
"""


def test_a_hierarchy_that_is_mounted_anew_is_read_on(top: Path, tmp_path: Path, need: Need) -> None:
    need("live", shutil.which("curl") is not None, "curl is not installed")
    told = private(REMOUNTED, top.parent, sys.executable, tmp_path, top.name, lab.version())
    assert told.returncode == 0, told.stderr + (tmp_path / "log").read_text()
    name = "nsexporter_cgroup_processes"
    before, after = ((tmp_path / when).read_text() for when in ("before", "after"))
    assert value(before, f'{name}{{cgroup="/{top.name}"}}') is not None
    assert value(after, f'{name}{{cgroup="/{top.name}/new"}}') is not None
    assert "Traceback" not in (tmp_path / "log").read_text()
