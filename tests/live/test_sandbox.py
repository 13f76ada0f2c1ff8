"""Confined by the real kernel: what is denied fails, and every sample is there all the same."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nsexporter.sandbox import landlock, seccomp
from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import running
from tests.waiting import until

SCRIPT = """
import ctypes, fcntl, json, os, signal, socket, sys, threading
from pathlib import Path
from nsexporter.sandbox import Sandbox, landlock
from nsexporter.storage import write_atomically

state, outside, other = sys.argv[1:]
libc = ctypes.CDLL(None, use_errno=True)
handle = ctypes.create_string_buffer(128 .to_bytes(4, "little") + bytes(132))  # file_handle
mount = ctypes.c_int()
assert not libc.name_to_handle_at(-100, f"{outside}/old".encode(), handle, ctypes.byref(mount), 0)
sandbox = Sandbox()
sandbox.enter({state: landlock.REPLACE, "/no/such/directory": landlock.REPLACE})
tried = {}

def attempt(name, function):
    try:
        function()
    except OSError as error:
        tried[name] = type(error).__name__
    else:
        tried[name] = "done"

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

def run():
    attempt("exec", lambda: os.execv("/bin/true", ["true"]))
    attempt("write outside", lambda: Path(outside, "new").write_text("x"))
    attempt("truncate outside", lambda: os.truncate(f"{outside}/old", 0))
    attempt("append outside", lambda: open(f"{outside}/old", "a"))
    attempt("unlink outside", lambda: os.unlink(f"{outside}/old"))
    attempt("mkdir outside", lambda: os.mkdir(f"{outside}/directory"))
    attempt("rename out", lambda: os.rename(f"{state}/kept", f"{outside}/kept"))
    attempt("mkdir inside", lambda: os.mkdir(f"{state}/directory"))
    attempt("write inside", lambda: write_atomically(Path(state, "oom.json"), [b"{}"]))
    attempt("read outside", lambda: Path(outside, "old").read_bytes())
    attempt("handle", lambda: call("open_by_handle_at", os.open(outside, 0), handle, os.O_RDWR))
    attempt("kill", lambda: os.kill(int(other), 0))
    attempt("listen", lambda: socket.create_server(("127.0.0.1", 0)))
    attempt("namespaces here", lambda: os.readlink(f"/proc/{other}/ns/net"))

thread = threading.Thread(target=run)
thread.start()
thread.join()

def ptracing():
    attempt("namespaces there", lambda: os.readlink(f"/proc/{other}/ns/net"))
    attempt("write there", lambda: Path(state, "oom.json").write_text("x"))
    attempt("append there", lambda: os.open(f"{outside}/old", os.O_RDWR | os.O_APPEND))
    attempt("unlink there", lambda: os.unlink(f"{outside}/old"))
    attempt("chmod there", lambda: os.chmod(f"{outside}/old", 0))
    attempt("exec there", lambda: os.execv("/bin/true", ["true"]))
    attempt("kill there", lambda: os.kill(int(other), 9))
    attempt("tgkill there", lambda: call("tgkill", int(other), int(other), 9))
    attempt("sigqueue there", lambda: call("sigqueue", int(other), 9, None))
    attempt("pidfd there", lambda: signal.pidfd_send_signal(os.pidfd_open(int(other)), 9))
    attempt("handle there", lambda: call(
        "open_by_handle_at", os.open(outside, 0), handle, os.O_RDWR))
    attempt("utime there", lambda: os.utime(f"{outside}/old"))
    attempt("utimes there", lambda: call("utimes", f"{outside}/old".encode(), None))
    attempt("flags there", lambda: fcntl.ioctl(  # FS_IOC_SETFLAGS, FS_NODUMP_FL
        os.open(f"{outside}/old", os.O_RDONLY), 0x40086602, bytes([0x40, *7 * [0]])))
    attempt("kernel log there", lambda: call("klogctl", 10, None, 0))  # its size
    attempt("socket there", lambda: socket.socket())
    attempt("read there", lambda: Path(outside, "old").read_bytes())

sandbox.reading(ptracing)
print(json.dumps(tried))
"""


@pytest.fixture(autouse=True)
def kernel(need: Need) -> None:
    """Landlock, and a machine with a filter."""
    need("live", os.geteuid() == 0, "this is not root")
    if not landlock.version() or not seccomp.supported():
        pytest.skip("this kernel has no Landlock, or there is no filter for this machine")


def test_nothing_is_written_outside_the_state_directory(tmp_path: Path) -> None:
    state, outside = tmp_path / "state", tmp_path / "outside"
    for directory in (state, outside):
        directory.mkdir()
    (outside / "old").write_text("old")
    (state / "kept").write_text("kept")
    with lab.process(None, unshare=("--net",)) as other:
        told = subprocess.run(
            [sys.executable, "-c", SCRIPT, str(state), str(outside), str(other.pid)],
            capture_output=True,
            text=True,
        )
        assert other.poll() is None
    assert told.returncode == 0, told.stderr
    tried = json.loads(told.stdout)
    done = {name for name, outcome in tried.items() if outcome == "done"}
    # Landlock knows of TCP since its version 4, of truncate(2) since 3, of signals since 6.
    since = {"listen": 4, "truncate outside": 3, "kill": 6}
    late = {name for name, version in since.items() if landlock.version() < version}
    assert done == {"write inside", "read outside", "namespaces there", "read there"} | late
    assert set(tried.values()) - {"done"} <= {"PermissionError", "OSError", "FileNotFoundError"}
    assert os.listdir(outside) == ["old"]
    assert (outside / "old").read_text() == ("" if "truncate outside" in late else "old")
    assert sorted(os.listdir(state)) == ["kept", "oom.json"]
    assert (state / "oom.json").read_text() == "{}"


def test_a_confined_exporter_sees_what_a_free_one_sees(top: Path, tmp_path: Path) -> None:
    """The families of cgroups of its own, and that no process is unread; the state file is kept."""
    seen = {}
    for setting in ("on", "off"):
        file = tmp_path / f"{setting}.yaml"
        file.write_text(f"oom: {{state_file: {tmp_path}/{setting}.json}}\n")
        cgroup = top / setting
        cgroup.mkdir()
        flags = (f"--config.file={file}", f"--security.landlock={setting}")
        with (
            lab.process(None, unshare=("--net",)) as other,
            running(*flags, by=lab.alone(cgroup)) as exporter,
        ):
            inode = os.stat(f"/proc/{other.pid}/ns/net").st_ino
            text = exporter.get()[2].decode()
            exporter.process.terminate()
            assert exporter.process.wait(20) == 0
        seen[setting] = {
            line.split()[2]
            for line in text.splitlines()
            # Whether there has been an error yet is no matter of the setting.
            if line.startswith("# TYPE") and "_errors_total" not in line
        }
        version = re.search(r"^nsexporter_landlock_version (\d+)$", text, re.MULTILINE)
        assert version and (int(version[1]) > 0) is (setting == "on")
        assert f'ns_type="net",ns_inode="{inode}"' in text
        assert "\nnsexporter_collector_success" in text
        assert not re.search(r"^nsexporter_collector_success\{.*\} 0$", text, re.MULTILINE), text
        assert (tmp_path / f"{setting}.json").exists()
    assert seen["on"] == seen["off"]


def test_a_root_behind_another_process_is_read_when_confined(top: Path, tmp_path: Path) -> None:
    """--path.rootfs=/proc/PID/root: what is in that process's mount namespace alone."""
    identifier = os.urandom(32).hex()
    state = tmp_path / "docker/containers" / identifier
    state.mkdir(parents=True)
    described = {"ID": identifier, "Name": "/seen", "Config": {"Image": "busybox"}}
    (state / "config.v2.json").write_text(json.dumps(described))
    (top / "docker" / identifier).mkdir(parents=True)
    script = """
    mount -t tmpfs tmpfs /var/lib
    mkdir /var/lib/docker
    mount --bind "$1" /var/lib/docker
    exec sleep 600
    """
    elsewhere = ("sh", "-euc", script, "sh", str(tmp_path / "docker"))
    with lab.process(None, *elsewhere, unshare=("--mount",), becomes="sleep") as other:
        rootfs = f"--path.rootfs=/proc/{other.pid}/root"
        with running(rootfs, "--security.landlock=on", "--collection.max-age=0s") as exporter:
            exporter.process.send_signal(signal.SIGHUP)
            until(lambda: any("was reloaded" in line for line in exporter.log))
            text = exporter.get()[2].decode()
    assert f'container_id="{identifier[:12]}",container_name="seen"' in text
    assert '\nnsexporter_capability{name="container_metadata"} 1\n' in text
