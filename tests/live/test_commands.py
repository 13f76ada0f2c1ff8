"""The commands for people, on cgroups and namespaces of the tests' own."""

from __future__ import annotations

import fcntl
import json
import os
import re
import signal
import struct
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import COMMAND, running, said
from tests.live.lab import Pair
from tests.live.nslab import inode
from tests.waiting import until

CLEAR = b"\x1b[H\x1b[2J"
# A shell starts what runs in the background with SIGINT ignored, and so would be all below it.
INTERRUPTIBLE = ("env", "--default-signal=INT")


def run(*arguments: str, status: int = 0) -> str:
    """What a command prints to a pipe; its exit status is checked."""
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert (ended.returncode, said(ended.stderr)) == (status, [])
    return ended.stdout


@pytest.fixture
def pair(need: Need) -> Iterator[Pair]:
    need("live", lab.memory_root() is not None, "no memory hierarchy to make cgroups in")
    with lab.pair() as made:
        yield made


def test_ps_shows_what_the_files_say(pair: Pair) -> None:
    root = lab.memory_root()
    assert root is not None
    file = "memory.usage_in_bytes" if lab.version() == "v1" else "memory.current"

    def shown() -> list[dict[str, Any]] | None:
        found = {one["id"]: one for one in json.loads(run("ps", "--json"))}
        free = found[pair.ids[1]]
        usage = int((root / free["cgroup"][1:] / file).read_text())
        # What the kernel charged and frees later may go between the two looks.
        return [found[one] for one in pair.ids] if free["usage_bytes"] == usage else None

    limited, free = until(shown)
    assert limited["effective_limit_bytes"] == 64 << 20
    assert limited["limiting_cgroup"] == limited["cgroup"]
    assert limited["headroom_bytes"] == (64 << 20) - limited["usage_bytes"]
    assert (limited["failcnt"], limited["oom_kills"], limited["runtime"]) == (0, 0, "docker")
    if free["effective_limit_bytes"] is None:
        assert free["headroom_bytes"] is None
    lines = run("ps", "--sort", "limit").splitlines()
    head = lines[0].split()
    assert [title for title in head if title != "POD"] == [  # others' containers may be in one
        "CONTAINER", "NAME", "RUNTIME", "USAGE", "LIMIT", "FULL", "HEADROOM", "FAILCNT", "KILLS",
    ]  # fmt: skip
    row = next(line for line in lines if line.startswith(pair.ids[0][:12]))
    assert row.split()[head.index("LIMIT")] == "64.0MiB"


@contextmanager
def watched(
    *prefix: str, rows: int = 24
) -> Iterator[tuple[subprocess.Popen[bytes], int, Callable[[int], str]]]:
    """`ps --watch` on a terminal of its own: the process, the terminal's other end, and a function
    that reads until the screen was cleared so many times more."""
    near, far = os.openpty()
    fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("4H", rows, 100, 0, 0))

    def until_cleared(times: int) -> str:
        text = b""
        while text.count(CLEAR) < times:
            text += os.read(near, 65536)
        return text.decode()

    with subprocess.Popen(
        [*INTERRUPTIBLE, *prefix, "setsid", "--ctty", *COMMAND, "ps", "--watch", "0.1"],
        stdin=far,
        stdout=far,
        stderr=subprocess.PIPE,
        env=dict(os.environ),  # without the LINES and COLUMNS that readline puts beside it
    ) as process:
        os.close(far)
        try:
            yield process, near, until_cleared
        finally:
            process.kill()
            with suppress(OSError):  # the test may have closed it
                os.close(near)


def ended(process: subprocess.Popen[bytes]) -> tuple[int, bytes]:
    """The exit status and what was written to standard error."""
    assert process.stderr is not None
    return process.wait(), process.stderr.read()


def test_ps_watch_shows_it_again_until_ctrl_c(pair: Pair) -> None:
    with watched() as (process, near, until_cleared):
        screens = until_cleared(3).split(CLEAR.decode())
        for screen in screens[1:3]:
            assert screen.startswith("\x1b[1mCONTAINER")
            assert all(one[:12] in screen for one in pair.ids)
        os.write(near, b"\x03")
        with suppress(OSError):  # EIO: the process has gone, and with it the terminal
            while os.read(near, 65536):
                pass
        assert ended(process) == (0, b"")


def test_ps_watch_shows_the_first_lines_where_not_all_fit(pair: Pair) -> None:
    with watched(rows=3) as (_, _, until_cleared):
        screen = until_cleared(2).split(CLEAR.decode())[1]
        assert len(screen.splitlines()) == 2
        assert "CONTAINER" in screen


@pytest.mark.parametrize(
    ("prefix", "status"),
    [(("env", "--default-signal=HUP"), -signal.SIGHUP), (("env", "--ignore-signal=HUP"), 0)],
)
def test_ps_watch_ends_with_its_terminal(pair: Pair, prefix: tuple[str, ...], status: int) -> None:
    with watched(*prefix) as (process, near, until_cleared):
        until_cleared(1)
        os.close(near)
        assert ended(process) == (status, b"")


def test_ps_watch_ends_with_its_reader(pair: Pair) -> None:
    with subprocess.Popen(
        [*COMMAND, "ps", "--watch", "0.1"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        heads = 0
        while heads < 2:
            heads += process.stdout.readline().startswith(b"CONTAINER")
        process.stdout.close()
        assert ended(process) == (0, b"")


@pytest.mark.parametrize("command", ["ps", "dump"])
def test_ctrl_c_is_no_traceback(command: str) -> None:
    """Whenever it comes after the modules were read."""
    source = (
        "import _thread, sys, threading; from nsexporter.cli import main;"
        "threading.Timer(0.005, _thread.interrupt_main).start(); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run([sys.executable, "-c", source, command], capture_output=True)
    assert done.returncode in (0, 130)
    assert said(done.stderr) == []


def test_lsns_shows_who_shares(pair: Pair) -> None:
    net = inode(pair.pids[0], "net")
    assert inode(pair.pids[1], "net") == net
    found = {one["ns"]: one for one in json.loads(run("lsns", "--json", "--shared"))}
    assert [one["id"] for one in found[net]["containers"]] == sorted(pair.ids)
    assert (found[net]["type"], found[net]["nprocs"]) == ("net", 2)
    assert inode(pair.pids[0], "uts") not in found
    lines = run("lsns", "--type", "net").splitlines()
    row = next(line for line in lines if line.startswith(str(net)))
    assert row.endswith(", ".join(one[:12] for one in sorted(pair.ids)))


def test_oom_shows_a_kill_of_this_boot(pair: Pair) -> None:
    root = lab.memory_root()
    assert root is not None
    cgroup = next(root.glob(f"nsexporter-test-*/docker/{pair.ids[0]}"))
    lab.kill_by_limit(cgroup, 128)
    told = json.loads(run("oom", "--json"))
    assert told["host_kills"] >= 1
    mine = [one for one in told["cgroups"] if one["container_id"] == pair.ids[0]]
    assert [sum(one["kills"].values()) for one in mine] == [1]
    assert mine[0]["alive"]
    if told["sources"]["kmsg"]:
        assert mine[0]["last"]["oom_memcg"] == mine[0]["cgroup"]
    assert pair.ids[0][:12] in run("oom")


# Scripts rely on them: one may be added, none renamed or removed without a [CHANGE].
JSON_KEYS = {
    "ps": """
        cgroup effective_limit_bytes failcnt headroom_bytes id image limiting_cgroup name
        oom_kills pod_name pod_namespace runtime stalled_seconds usage_bytes
        working_set_bytes
    """,
    "lsns": """
        containers containers.id containers.name containers.pod_name containers.runtime
        held_by nprocs ns owner_ns parent_ns path scope type
    """,
    "oom": """
        cgroups cgroups.alive cgroups.cgroup cgroups.container_id cgroups.container_name
        cgroups.kills cgroups.last cgroups.last.constraint cgroups.last.oom_memcg
        cgroups.last.pid cgroups.last.sizes_bytes cgroups.last.task cgroups.last.task_memcg
        cgroups.last.time cgroups.last.uid cgroups.pod_name cgroups.pod_namespace host_kills
        sources unattributed
    """,
    "explain": """
        cgroup container container.id container.image container.name container.runtime
        invocation_id kind limits limits.binds limits.cgroup limits.headroom_bytes
        limits.high_bytes limits.limit_bytes limits.usage_bytes namespaces namespaces.host
        namespaces.ns_inode namespaces.ns_type namespaces.peers numbers numbers.metric
        numbers.source numbers.value oom_kills oom_kills.alive oom_kills.cgroup
        oom_kills.container_id oom_kills.container_name oom_kills.kills oom_kills.last
        oom_kills.last.constraint oom_kills.last.oom_memcg oom_kills.last.pid
        oom_kills.last.sizes_bytes oom_kills.last.task oom_kills.last.task_memcg
        oom_kills.last.time oom_kills.last.uid oom_kills.pod_name oom_kills.pod_namespace
        outlook pod_name pod_namespace processes unit
    """,
    "doctor": """
        capabilities cgroups collectors_failed exporter host read_errors seen
    """,
}
_MAPPINGS = ("kills", "sizes_bytes", "sources", "capabilities", "read_errors")


def keys(value: object, path: str = "") -> set[str]:
    """The paths of all keys below a value of JSON, those of a list's items together."""
    if isinstance(value, list):
        return {path, *(key for item in value for key in keys(item, path))}
    if isinstance(value, dict) and path.rpartition(".")[2] not in _MAPPINGS:
        return {path, *(key for name in value for key in keys(value[name], f"{path}.{name}"))}
    return {path}


@pytest.mark.parametrize("command", JSON_KEYS)
def test_json_has_the_keys_that_scripts_rely_on(pair: Pair, command: str) -> None:
    root = lab.memory_root()
    assert root is not None
    lab.kill_by_limit(next(root.glob(f"nsexporter-test-*/docker/{pair.ids[0]}")), 128)
    arguments = ["explain", pair.ids[0]] if command == "explain" else [command]
    ended = subprocess.run([*COMMAND, *arguments, "--json"], capture_output=True, text=True)
    found = {key[1:] for key in keys(json.loads(ended.stdout)) if key}
    assert found == set(JSON_KEYS[command].split())


def test_the_status_page_shows_both(pair: Pair) -> None:
    with running() as exporter:
        status, headers, body = exporter.get("/")
        assert status == 200
        assert headers["content-type"] == "text/html; charset=utf-8"
        assert "script-src 'sha256-" in headers["content-security-policy"]
        for one in pair.ids:
            assert one[:12].encode() in body
        text = body.decode()
        net = inode(pair.pids[0], "net")
        letters = []
        for one in pair.ids:
            use, shared = re.findall(rf"{one[:12]}</th>(.*?)</tr>", text)
            assert ("of 64.0MiB" in use) == (one == pair.ids[0])
            found = re.search(rf'title="[^"]*{net}[^"]*">([^<]+)</td>', shared)
            assert found is not None
            letters.append(found[1].removeprefix("host, "))
        assert re.fullmatch("[A-Z]+", letters[0]) and letters[0] == letters[1]


def test_the_status_page_can_be_off() -> None:
    with running("--web.disable-status-page") as exporter:
        status, _, body = exporter.get("/")
        assert status == 200 and b"/metrics" in body and b"Containers" not in body


def test_doctor_tells_what_the_host_is_and_its_status_whether_all_is_seen() -> None:
    ended = subprocess.run([*COMMAND, "doctor", "--json"], capture_output=True, text=True)
    told = json.loads(ended.stdout)
    assert f"Linux {os.uname().release}" in told["host"]
    seen = all(told["capabilities"].values()) and not told["collectors_failed"]
    assert ended.returncode == (0 if seen and not told["read_errors"] else 1)
    text = subprocess.run([*COMMAND, "doctor"], capture_output=True, text=True).stdout
    for name, holds in told["capabilities"].items():
        assert re.search(rf"^{'sees' if holds else 'misses'} +{name}$", text, re.MULTILINE)


def bare_host(place: Path) -> list[str]:
    """Flags for a host that has a procfs and nothing else."""
    for name in ("procfs/1", "sysfs", "rootfs"):
        (place / name).mkdir(parents=True)
    (place / "procfs/1/mountinfo").write_text("22 27 0:21 / /proc rw - proc proc rw\n")
    return [f"--path.{name}={place}/{name}" for name in ("procfs", "sysfs", "rootfs")]


def test_doctor_names_what_is_missing_where_there_is_no_memory_controller(tmp_path: Path) -> None:
    ended = subprocess.run(
        [*COMMAND, "doctor", *bare_host(tmp_path)], capture_output=True, text=True
    )
    assert ended.returncode == 1
    assert "misses    memory\n" in ended.stdout and "collector cgroups" in ended.stdout


def test_check_config_tells_right_from_wrong(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text("log: {level: debug}\n")
    assert run("check-config", str(file)) == f"{file}: right\n"
    file.write_text("log: {level: loud}\n")
    ended = subprocess.run([*COMMAND, "check-config", str(file)], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "log.level" in ended.stderr and ended.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [["pss"], ["ps", "--watch", "0"], ["ps", "--watch", "soon"], ["--no-such-flag"]]
)
def test_what_is_mistyped_is_told_in_a_line(arguments: list[str]) -> None:
    ended = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("nsexporter: ") and ended.stderr.count("\n") == 1
    assert "_interval" not in ended.stderr


@pytest.mark.parametrize("command", ["ps", "lsns"])
def test_what_cannot_be_read_is_not_shown_as_nothing_with_status_0(
    command: str, tmp_path: Path
) -> None:
    ended = subprocess.run(
        [*COMMAND, command, *bare_host(tmp_path)], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout.count("\n")) == (1, 1)
    assert "collector cgroups failed" in ended.stderr


def test_metrics_explains_one() -> None:
    text = run("metrics", "headroom", "memory")
    assert text.startswith("nsexporter_cgroup_memory_headroom_bytes gauge {cgroup,")
    found = json.loads(run("metrics", "--json", "headroom"))
    assert found[0]["name"] == "nsexporter_cgroup_memory_headroom_bytes"
    assert json.loads(run("metrics", "--json", "no-such-thing", status=1)) == []
    ended = subprocess.run(
        [*COMMAND, "metrics", "no-such", "thing"], capture_output=True, text=True
    )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "nsexporter: no metric has no-such thing\n"


COMMANDS = ["ps", "lsns", "oom", "doctor", "metrics", "dump", "explain /", "check-config /dev/null"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_told_in_a_line(command: str) -> None:
    with open("/dev/full", "w") as full:
        ended = subprocess.run(
            [*COMMAND, *command.split()], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert ended.returncode == 1
    assert said(ended.stderr) == ["nsexporter: standard output: No space left on device"]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_standard_output_is_no_traceback(command: str) -> None:
    shell = ["sh", "-c", 'exec "$@" >&-', "sh", *COMMAND, *command.split()]
    ended = subprocess.run(shell, stderr=subprocess.PIPE, text=True)
    assert said(ended.stderr) == []


def test_an_encoding_without_a_letter_is_no_traceback() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    ended = subprocess.run(
        [*COMMAND, "explain", "/"], capture_output=True, env=environment, text=True
    )
    assert (ended.returncode, said(ended.stderr)) == (0, [])


@pytest.mark.parametrize("command", ["ps", "lsns", "oom", "doctor", "metrics"])
def test_a_reader_that_goes_early_gets_no_traceback(command: str) -> None:
    with subprocess.Popen(
        [*COMMAND, command], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        process.stdout.close()
        assert said(process.stderr.read()) == []
