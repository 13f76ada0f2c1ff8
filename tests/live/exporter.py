"""The exporter as its users run it: a process, and HTTP."""

from __future__ import annotations

import http.client
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

COMMAND = [sys.executable, "-m", "nsexporter"]
NOBODY = "65534"


def said(stderr: bytes | str) -> list[str]:
    """What a command wrote to standard error but its log, which tells what this host lacks."""
    text = os.fsdecode(stderr)
    return [line for line in text.splitlines() if not line.startswith("ts=")]


def setpriv(capabilities: tuple[str, ...] | None) -> list[str]:
    """What a program is run by to have only these, as another user; None: as we are."""
    if capabilities is None:
        return []
    listed = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
        *(f"--inh-caps={listed}", f"--ambient-caps={listed}", f"--bounding-set={listed}"),
    ]


class Exporter:
    """A running exporter and how to ask it; `log` grows by a line as it writes one."""

    def __init__(self, process: subprocess.Popen[str], port: int, log: list[str]) -> None:
        self.process = process
        self.port = port
        self.log = log

    def get(
        self, path: str = "/metrics", method: str = "GET", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request(
            method, path, headers={k.replace("_", "-"): v for k, v in headers.items()}
        )
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return response.status, {k.lower(): v for k, v in response.getheaders()}, body


@contextmanager
def running(*flags: str, by: Sequence[str] = ()) -> Iterator[Exporter]:
    """An exporter on a port of its own, run by a command that execs it, killed at the end."""
    process = subprocess.Popen(
        [*by, *COMMAND, "--web.listen-address=127.0.0.1:0", *flags],
        stderr=subprocess.PIPE,
        text=True,
    )
    stderr = process.stderr
    assert stderr is not None
    log: list[str] = []
    reader = threading.Thread(target=lambda: log.extend(stderr), daemon=True)
    try:
        found = None
        while found is None:
            line = stderr.readline()
            assert line, f"the exporter ended: {log}"
            log.append(line)
            found = re.search(r"127\.0\.0\.1:(\d+)", line)
        reader.start()
        yield Exporter(process, int(found[1]), log)
    finally:
        process.kill()
        process.wait()
        if reader.ident is not None:
            reader.join()
        stderr.close()
