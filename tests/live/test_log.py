"""Standard error that nobody reads: real pipes, full."""

from __future__ import annotations

import fcntl
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from nsexporter import logs
from tests.live.exporter import COMMAND, Exporter
from tests.waiting import SLOWNESS, deadline, until


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """The ends of a pipe for 4 kB, to read and to write."""
    ends = os.pipe()
    fcntl.fcntl(ends[1], fcntl.F_SETPIPE_SZ, 4096)
    yield ends
    for end in ends:
        os.close(end)


def fill(end: int) -> None:
    """Until not one byte more has room; by a description of its own, which does not wait."""
    own = os.open(f"/proc/self/fd/{end}", os.O_WRONLY | os.O_NONBLOCK)
    try:
        for size in (4096, 1):
            try:
                while os.write(own, b"\n" * size):
                    pass
            except BlockingIOError:
                continue
    finally:
        os.close(own)


def read(end: int) -> str:
    """What is in the pipe now."""
    os.set_blocking(end, False)
    try:
        return os.read(end, 1 << 16).decode()
    except BlockingIOError:
        return ""


def test_a_full_pipe_stalls_nothing_and_what_waited_is_written_later(
    pipe: tuple[int, int], tmp_path: Path
) -> None:
    out, into = pipe
    file, told = tmp_path / "config.yaml", [""]
    file.write_text("collection: {interval: 100ms, max_age: 0s}\n")
    command = [*COMMAND, "--web.listen-address=127.0.0.1:0", f"--config.file={file}"]

    def is_told(wanted: str) -> bool:
        told[0] += read(out)
        return wanted in told[0]

    with subprocess.Popen(command, stderr=into, text=True) as process:
        try:
            until(lambda: is_told("listens on"), 30)
            found = re.search(r"127\.0\.0\.1:(\d+)", told[0])
            assert found
            exporter = Exporter(process, int(found[1]), told)

            def value(name: str) -> float:
                sample = re.search(rf"^{name} (\S+)$", exporter.get()[2].decode(), re.MULTILINE)
                assert sample
                return float(sample[1])

            value("nsexporter_up")
            fill(into)
            read_at = "nsexporter_config_last_reload_success_timestamp_seconds"
            for _ in range(3):
                before = value(read_at)
                process.send_signal(signal.SIGHUP)  # which is told in a line
                until(lambda: value(read_at) > before)  # noqa: B023
            passes = value("nsexporter_passes_total")
            until(lambda: value("nsexporter_passes_total") > passes + 3)
            assert "reloaded" not in told[0]
            until(lambda: is_told("reloaded") and told[0].count("was reloaded") == 3)
            assert value("nsexporter_log_lines_dropped_total") == 0
            fill(into)
            end = deadline(3)  # a second is asked; a busy machine takes more
            process.terminate()
            assert process.wait(5 * SLOWNESS) == 0
            assert time.monotonic() < end
        finally:
            process.kill()


def test_all_lines_are_written_at_exit(pipe: tuple[int, int]) -> None:
    """More than the pipe holds, by a program that ends at once."""
    out, into = pipe
    script = """
import logging
from nsexporter import logs
logs.configure("info", "logfmt", logs.Lines())
for number in range(900):
    logging.info("line %d", number)
"""
    with subprocess.Popen([sys.executable, "-c", script], stderr=into) as process:
        os.set_blocking(out, True)
        text = ""
        while 'msg="line 899"' not in text:
            text += os.read(out, 1 << 16).decode()
        assert process.wait(5 * SLOWNESS) == 0
    assert text.count("\n") == 900


def test_lines_beyond_the_queue_are_dropped_and_counted(pipe: tuple[int, int]) -> None:
    out, into = pipe
    fill(into)
    lines = logs.Lines(into)
    for number in range(1500):
        lines.handle(logging.makeLogRecord({"msg": f"line {number}"}))
    assert lines.dropped == 500
    text = [""]

    def is_told(wanted: str) -> bool:
        text[0] += read(out)
        return wanted in text[0]

    until(lambda: is_told("line 999\n"))
    lines.handle(logging.makeLogRecord({"msg": "goes on"}))
    until(lambda: is_told("goes on\n"))
    assert text[0].lstrip("\n").splitlines() == [
        *(f"line {number}" for number in range(1000)),
        "goes on",
    ]
