"""In a guest: containers in the shapes of docker's and Kubernetes', made by hand, and a capture.

    .venv/bin/python -m tests.kernels v2 .venv/bin/python -m tests.kernels.scene \
        >tests/golden/hosts/v2.txtar
"""

from __future__ import annotations

import contextlib
import hashlib
import sys
import uuid
from pathlib import Path

from tests import capture, tested_on
from tests.live import kills, lab
from tests.live.nslab import actor

COMMENT = """\
A real capture of Debian's Linux {kernel} booted with cgroups as {cgroups}, without systemd. The
cgroups were made by hand in the shapes of docker's and the kubelet's, with processes in namespaces
of their own. Of docker's: one has a limit of 64 MiB and a process that shares the net namespace of
the one with 128 MiB; that with 8 MiB had two OOM kills, one of them in a child that is gone. Of the
pod (burstable): the pause process, and a container with a reservation that is in its namespaces.
"""
MB = 1 << 20


def identifier(name: str) -> str:
    """64 hexadecimal digits, always the same."""
    return hashlib.sha256(name.encode()).hexdigest()


def enable(cgroup: Path) -> None:
    """Controllers for the children of a cgroup, where that is asked for."""
    if lab.version() == "v2":
        (cgroup / "cgroup.subtree_control").write_text("+memory +pids")


def make(path: Path, **limits: int) -> Path:
    """A cgroup with limits (`max`, `reservation` in bytes), and all above it."""
    for above in (*reversed(path.parents), path):
        if not above.is_dir():
            enable(above.parent)
            above.mkdir()
    v1 = {"max": "memory.limit_in_bytes", "reservation": "memory.soft_limit_in_bytes"}
    v2 = {"max": "memory.max", "reservation": "memory.low"}
    names = v1 if lab.version() == "v1" else v2
    for name, value in limits.items():
        (path / names[name]).write_text(str(value))
    return path


def main() -> None:
    root = lab.memory_root()
    assert root is not None
    namespaces = ("--net", "--ipc", "--uts", "--mount")
    with contextlib.ExitStack() as stack:
        db = make(root / "docker" / identifier("db"), max=128 * MB)
        server = stack.enter_context(lab.process(db, unshare=namespaces))
        web = make(root / "docker" / identifier("web"), max=64 * MB)
        stack.enter_context(lab.process(web, unshare=("--ipc", "--uts", "--mount")))
        join = ("nsenter", f"--net=/proc/{server.pid}/ns/net", "sleep", "600")
        stack.enter_context(lab.process(web, *join, becomes="sleep"))
        reader = stack.enter_context(actor(web))
        reader.do(f"len(open({sys.executable!r}, 'rb').read())")
        killed = kills.limited(root / "docker", identifier("killed"))
        kills.kill(killed)
        enable(killed)
        child = killed / "child"
        child.mkdir()
        kills.kill(child)
        lab.remove(child)
        pod = root / "kubepods" / "burstable" / f"pod{uuid.UUID(identifier('pod')[:32], version=4)}"
        pause = make(pod / identifier("pause"))
        sandbox = stack.enter_context(lab.process(pause, unshare=("--net", "--ipc", "--uts")))
        container = make(pod / identifier("container"), max=48 * MB, reservation=16 * MB)
        shared = (f"--{name}=/proc/{sandbox.pid}/ns/{name}" for name in ("net", "ipc", "uts"))
        sleep = ("nsenter", *shared, "sleep", "600")
        stack.enter_context(lab.process(container, *sleep, becomes="sleep"))
        where = tested_on.here()
        comment = COMMENT.format(kernel=where.kernel, cgroups=where.cgroups)
        print(end=capture.capture(Path("/proc"), Path("/sys"), process_limit=14, comment=comment))


if __name__ == "__main__":
    main()
