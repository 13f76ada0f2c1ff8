"""On a host that systemd runs: containers of docker and podman, units with limits, and a capture.

    .venv/bin/python -m tests.kernels systemd .venv/bin/python -m tests.systemd.scene \
        >tests/golden/hosts/systemd.txtar
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tests import capture, tested_on
from tests.live import lab
from tests.systemd.host import box, run, start_docker
from tests.waiting import until

COMMENT = """\
A real capture of Debian's Linux {kernel} with {system} on cgroup {cgroups}; docker has
systemd's cgroup driver, podman crun. Of docker's: web (64 MiB) and sidecar share a net namespace,
killed had an OOM kill at 64 MiB. Of podman's: database (64 MiB). backup.service has memory.max,
high, low and min and 33 tasks; shop.slice has 96 MiB, and worker.service in it 256. Of the
processes at least one of each cgroup.
"""
LIMITS = ("--memory=64m", "--memory-reservation=32m", "--memory-swap=64m")
SLEEP = ("sleep", "3600")


def main() -> None:
    """Nothing is cleaned up: the guest ends with it."""
    image = box(Path("/run/box.tar"), shutil.which("busybox") or "busybox")
    start_docker("dockerd")
    run("docker", "import", str(image), "box")
    run("docker", "run", "-d", "--name=web", "--network=none", *LIMITS, "box", *SLEEP)
    run("docker", "run", "-d", "--name=sidecar", "--network=container:web", "box", *SLEEP)
    eat = "dd if=/dev/zero of=/dev/null bs=128M; exec sleep 3600"
    options = ("--name=killed", "--network=none", *LIMITS)
    killed = run("docker", "run", "-d", *options, "box", "sh", "-c", eat)
    run("podman", "import", str(image), "box")
    crun = ("podman", "--runtime=crun", "run", "-d")
    run(*crun, "--name=database", "--network=none", *LIMITS, "localhost/box", *SLEEP)
    limits = ("MemoryMax=64M", "MemoryHigh=48M", "MemoryLow=16M", "MemoryMin=4M", "TasksMax=33")
    run("systemd-run", "--unit=backup", *(f"--property={one}" for one in limits), *SLEEP)
    run("systemd-run", "--unit=worker", "--slice=shop", "--property=MemoryMax=256M", *SLEEP)
    run("systemctl", "set-property", "--runtime", "shop.slice", "MemoryMax=96M")
    died = Path(f"/sys/fs/cgroup/system.slice/docker-{killed}.scope")
    until(lambda: lab.kernel_value(died, "memory.events.local oom_kill"))
    where = tested_on.here()
    system = run("systemctl", "--version").partition(" (")[0]
    comment = COMMENT.format(kernel=where.kernel, cgroups=where.cgroups, system=system)
    print(end=capture.capture(Path("/proc"), Path("/sys"), process_limit=60, comment=comment))


if __name__ == "__main__":
    main()
