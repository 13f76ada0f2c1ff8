"""A host's worth of cgroups and processes, made in a tree of its own and removed again."""

from __future__ import annotations

import os
import subprocess
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from nsexporter.kernel import mounts
from nsexporter.kernel.files import Reader

TENANT = 10  # cgroups of one tenant: a slice, four services, docker's cgroup, four containers
BUSY = 5  # every fifth tenant is busy: all its leaves change, and so the cgroups above them
APART = 10  # every tenth process is in mnt, net, ipc and uts namespaces of its own


@dataclass(slots=True)
class Fleet:
    """The cgroups that were made, in each hierarchy, and the processes in them."""

    roots: tuple[Path, ...]  # of the hierarchies: memory, then pids where that is another one
    top: str  # of ours, relative to each root
    cgroups: tuple[str, ...]  # relative to each root, parents first
    processes: subprocess.Popen[str]
    guests: list[str] = field(default_factory=list)  # cgroups that the last `churn` has made
    came: int = 0  # all that it ever has

    def touch(self) -> None:
        """Change the memory of every busy cgroup; it has changed when this returns."""
        _ask(self.processes, "touch")

    def churn(self, cgroups: int) -> None:
        """End the containers that the last call has made, and start as many new ones."""
        _ask(self.processes, "leave")
        for name in self.guests:
            for root in self.roots:
                _remove(root / name)
        parents = [name for name in self.cgroups if name.endswith("/docker")]
        self.guests = []
        for number in range(cgroups):
            # Another tenant's each time: what comes is not where something has gone.
            parent = parents[self.came % len(parents)]
            self.guests.append(f"{parent}/{uuid.uuid4().hex * 2}")
            self.came += 1
            for root in self.roots:
                (root / self.guests[-1]).mkdir()
            places = " ".join(str(root / self.guests[-1]) for root in self.roots)
            _ask(self.processes, f"guest {number % APART == 0:d} {places}")


@contextmanager
def fleet(program: Path, cgroups: int, processes: int) -> Iterator[Fleet]:
    """So many nested cgroups and so many processes in their leaves."""
    found = mounts.find(Reader(), "/proc", "/sys", "/")
    if found.memory is None or found.version == "none":
        raise FileNotFoundError("no memory hierarchy")
    roots = tuple(Path(root) for root in dict.fromkeys((found.memory, found.pids)) if root)
    top = f"bench-{uuid.uuid4().hex[:8]}"
    names = _names(top, cgroups)
    inner = {name.rpartition("/")[0] for name in names}
    leaves = [name for name in names if name not in inner]
    made: Fleet | None = None
    try:
        for root in roots:
            for name in names:
                (root / name).mkdir()
                if found.version == "v2" and name in inner:
                    (root / name / "cgroup.subtree_control").write_text("+memory +pids")
        with subprocess.Popen(
            [program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
            start_new_session=True,
        ) as started:
            for number in range(processes):
                leaf = leaves[number % len(leaves)]
                busy = int(leaf.split("/")[1].split("-")[1].split(".")[0]) % BUSY == 0
                places = " ".join(str(root / leaf) for root in roots)
                _ask(started, f"process {busy:d} {number % APART == 0:d} {places}")
            made = Fleet(roots, top, names, started)
            yield made
    finally:
        for root in roots:
            for name in reversed((*names, *(made.guests if made else ()))):
                _remove(root / name)


def _names(top: str, count: int) -> tuple[str, ...]:
    names = [top]
    for tenant in range(count // TENANT):
        slice_ = f"{top}/tenant-{tenant:04d}.slice"
        names += [slice_, *(f"{slice_}/app-{number}.service" for number in range(4))]
        names += [
            f"{slice_}/docker",
            *(f"{slice_}/docker/{uuid.uuid4().hex * 2}" for _ in range(4)),
        ]
    return tuple(names)


def _ask(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(line + "\n")
    if process.stdout.readline() != "ok\n":
        raise RuntimeError(f"the fleet ended at: {line[:100]}")


def _remove(cgroup: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            os.rmdir(cgroup)
            return
        except FileNotFoundError:
            return
        except OSError:  # its processes are ending
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
