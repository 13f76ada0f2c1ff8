"""The exporter as its users run it: a process, flags, signals, HTTP."""

from __future__ import annotations

import gzip
import http.client
import os
import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import Need
from tests.live.exporter import COMMAND, running, said
from tests.waiting import SLOWNESS, deadline, until


def test_a_scrape_is_read_by_prometheus_clients_parser_in_both_formats() -> None:
    with running() as exporter:
        status, headers, body = exporter.get()
        assert (status, headers["content-type"]) == (
            200,
            "text/plain; version=0.0.4; charset=utf-8",
        )
        names = {family.name for family in text_string_to_metric_families(body.decode())}
        assert {"nsexporter_build_info", "nsexporter_namespaces", "process_open_fds"} <= names
        status, headers, body = exporter.get(Accept="application/openmetrics-text;version=1.0.0")
        assert headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
        assert body.endswith(b"# EOF\n")
        assert {f.name for f in openmetrics_families(body.decode())} >= {"nsexporter_build"}


def test_a_scrape_is_gzipped_when_asked_for() -> None:
    with running() as exporter:
        _, headers, body = exporter.get(Accept_Encoding="gzip")
        assert headers["content-encoding"] == "gzip"
        assert b"nsexporter_up 1\n" in gzip.decompress(body)


def test_each_path_of_the_server_answers() -> None:
    with running() as exporter:
        exporter.get()
        assert exporter.get("/")[0] == 200
        assert exporter.get("/-/healthy")[0] == 200
        assert exporter.get("/-/ready")[0] == 200
        assert exporter.get("/nothing")[0] == 404
        status, headers, body = exporter.get(method="HEAD")
        assert (status, body) == (200, b"") and int(headers["content-length"]) > 1000
        only = exporter.get("/metrics?name[]=nsexporter_up")[2]
        assert [line for line in only.splitlines() if not line.startswith(b"#")] == [
            b"nsexporter_up 1"
        ]


def test_promtool_finds_nothing(need: Need) -> None:
    promtool = shutil.which("promtool")
    need("promtool", promtool is not None, "promtool is not installed")
    with running("--no-collector.self") as exporter:
        text = exporter.get()[2]
    assert promtool is not None
    told = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True)
    assert (told.returncode, told.stdout, told.stderr) == (0, b"", b"")


def test_sighup_reads_the_file_again_and_a_wrong_file_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("collectors: {namespaces: true}\n")
    with running(f"--config.file={file}", "--collection.max-age=0s") as exporter:
        assert b"nsexporter_namespaces{" in exporter.get()[2]

        def after(text: str, wanted: bytes) -> bytes:
            file.write_text(text)
            exporter.process.send_signal(signal.SIGHUP)
            return until(lambda: body if wanted in (body := exporter.get()[2]) else None)

        body = after("nonsense: 1\n", b"nsexporter_config_last_reload_successful 0\n")
        assert b"nsexporter_namespaces{" in body
        body = after(
            "collectors: {namespaces: false}\n", b"nsexporter_config_last_reload_successful 1\n"
        )
        until(lambda: b"nsexporter_namespaces{" not in exporter.get()[2])


def test_sighup_tells_what_takes_a_restart_and_switches_the_rest(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}")
    with running(f"--config.file={file}", "--collection.max-age=0s") as exporter:
        assert b"\nprocess_open_fds " in exporter.get()[2]
        file.write_text(
            f"collectors: {{self: false}}\npath: {{rootfs: {tmp_path}}}\n"
            "security: {landlock: off}\n"
        )
        exporter.process.send_signal(signal.SIGHUP)
        until(lambda: b"\nprocess_open_fds " not in exporter.get()[2])

        def told() -> set[str]:
            lines = "".join(exporter.log)
            return set(
                re.findall(r"changes of (\w+)[.][*] take full effect after a restart", lines)
            )

        until(lambda: told() == {"path", "security"})


def test_sigterm_ends_it_within_a_second() -> None:
    with running() as exporter:
        idle = http.client.HTTPConnection("127.0.0.1", exporter.port)
        idle.connect()
        end = deadline(1)
        exporter.process.send_signal(signal.SIGTERM)
        assert exporter.process.wait(5 * SLOWNESS) == 0
        assert time.monotonic() < end
        idle.close()


def test_a_wrong_setting_is_one_line_and_status_2(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("collection: {interval: 10x}\n")
    told = subprocess.run([*COMMAND, f"--config.file={file}"], capture_output=True, text=True)
    assert told.returncode == 2
    assert told.stderr.count("\n") == 1
    assert str(file) in told.stderr and "collection.interval" in told.stderr
    assert '"10x"' in told.stderr


@pytest.mark.parametrize("command", [[], ["dump"], ["ps"], ["doctor"]], ids=str)
def test_a_place_that_is_not_there_is_one_line_and_status_2(command: list[str]) -> None:
    for flag, accepted in (
        ("--path.procfs=/etc", '"/etc" is not a mounted procfs (try /proc)'),
        ("--path.sysfs=/nowhere", '"/nowhere" is not a directory (try /sys)'),
        ("--path.rootfs=/etc/passwd", '"/etc/passwd" is not a directory (try /)'),
    ):
        told = subprocess.run([*COMMAND, *command, flag], capture_output=True, text=True)
        assert (told.returncode, told.stdout) == (2, "")
        assert told.stderr == f"nsexporter: {flag.partition('=')[0]}: {accepted}\n"


def test_sighup_to_a_place_that_is_not_there_leaves_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("{}")
    with running(f"--config.file={file}", "--collection.max-age=0s") as exporter:
        file.write_text("path: {procfs: /nowhere}\n")
        exporter.process.send_signal(signal.SIGHUP)
        end = deadline(5)
        failed = b"nsexporter_config_last_reload_successful 0\n"
        while failed not in (body := exporter.get()[2]):
            assert time.monotonic() < end, body
        assert b'\nnsexporter_collector_success{collector="cgroups"} 1\n' in body
        until(lambda: any(f'{file}: path.procfs: \\"/nowhere\\"' in line for line in exporter.log))


def test_a_file_for_another_host_is_right(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("path: {procfs: /host/proc}\n")
    told = subprocess.run([*COMMAND, "check-config", str(file)], capture_output=True, text=True)
    assert (told.returncode, told.stderr) == (0, "")


def test_dump_prints_the_exposition_and_writes_it_atomically(tmp_path: Path) -> None:
    printed = subprocess.run([*COMMAND, "dump"], capture_output=True, check=True).stdout
    assert b"\nnsexporter_namespaces{" in printed
    target = tmp_path / "nsexporter.prom"
    subprocess.run([*COMMAND, "dump", "--output", str(target)], check=True)
    assert os.listdir(tmp_path) == ["nsexporter.prom"]
    assert target.stat().st_mode & 0o777 == 0o644
    # node_exporter drops what has the name of a metric of its own, and complains at every scrape.
    names = {family.name for family in text_string_to_metric_families(target.read_text())}
    assert not [name for name in names if not name.startswith("nsexporter_")]
    link = tmp_path / "link.prom"
    link.symlink_to(target)
    target.write_text("")
    subprocess.run([*COMMAND, "dump", "--output", str(link)], check=True)
    assert link.is_symlink() and target.stat().st_size > 1000
    missing = subprocess.run(
        [*COMMAND, "dump", "--output", str(tmp_path / "no" / "x")], capture_output=True, text=True
    )
    assert missing.returncode == 1 and "Traceback" not in missing.stderr


def test_dump_does_not_replace_what_is_no_file(tmp_path: Path) -> None:
    sink, out, pipe = tmp_path / "null", tmp_path / "out", tmp_path / "pipe"
    sink.symlink_to("/dev/null")
    out.symlink_to("/proc/self/fd/1")  # as /dev/stdout is one
    subprocess.run([*COMMAND, "dump", "--output", str(sink)], check=True)
    assert sink.is_char_device()
    os.mkfifo(pipe)
    with subprocess.Popen([*COMMAND, "dump", "--output", str(pipe)]) as process:
        assert "\nnsexporter_namespaces{" in pipe.read_text()
    assert process.returncode == 0
    assert pipe.is_fifo()
    told = subprocess.run([*COMMAND, "dump", "--output", str(out)], capture_output=True)
    assert b"\nnsexporter_namespaces{" in told.stdout
    into = subprocess.run([*COMMAND, "dump", "--output", str(tmp_path)], capture_output=True)
    assert into.returncode == 1 and b"Traceback" not in into.stderr
    assert sorted(os.listdir(tmp_path)) == ["null", "out", "pipe"]


def test_node_exporter_takes_what_dump_writes(tmp_path: Path, need: Need) -> None:
    program = shutil.which("prometheus-node-exporter") or shutil.which("node_exporter")
    need("promtool", program is not None, "node_exporter is not installed")
    assert program is not None
    file = str(tmp_path / "nsexporter.prom")
    subprocess.run([*COMMAND, "--compat.cadvisor", "dump", "--output", file], check=True)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    flags = [f"--collector.textfile.directory={tmp_path}", f"--web.listen-address=127.0.0.1:{port}"]
    only = ["--collector.disable-defaults", "--collector.textfile"]
    with subprocess.Popen([program, *only, *flags], stderr=subprocess.PIPE, text=True) as node:
        try:
            assert until(lambda: _answers(port), 20)
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as response:
                text = response.read().decode()
        finally:
            node.terminate()
            assert node.stderr is not None
            log = node.stderr.read()
    assert "\nnode_textfile_scrape_error 0\n" in text and "\nnsexporter_namespaces{" in text
    assert not re.search("level=error", log, re.IGNORECASE), log


def _answers(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


def test_a_reader_that_goes_early_gets_no_traceback() -> None:
    with subprocess.Popen(
        [*COMMAND, "dump"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert said(process.stderr.read()) == []


def test_old_kills_of_which_nothing_is_known_are_one_line_in_the_log() -> None:
    with running() as exporter:
        exporter.get()
        told = [line for line in exporter.log if "nothing is known" in line]
        unattributed = re.search(
            rb"^nsexporter_oom_kills_unattributed_total (\d+)$", exporter.get()[2], re.MULTILINE
        )
        assert unattributed is not None
        assert len(told) == (1 if int(unattributed[1]) else 0)
