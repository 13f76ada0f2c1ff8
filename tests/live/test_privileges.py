"""What each capability buys, measured: the table of docs/privileges.md comes from here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Need
from tests.live import lab
from tests.live.exporter import setpriv
from tests.samples import Samples, capabilities_of, read
from tests.waiting import SLOWNESS

SETS: Mapping[str, tuple[str, ...] | None] = {
    "none": (),
    "CAP_SYSLOG": ("syslog",),
    "CAP_DAC_READ_SEARCH": ("dac_read_search",),
    "CAP_SYS_PTRACE": ("sys_ptrace",),
    "these three": ("syslog", "dac_read_search", "sys_ptrace"),
    "root": None,
}
"""Capabilities of an ordinary user; None: root as it is."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Something to be seen: samples of the scene, and the capability that says when it is not."""

    text: str
    capability: str
    name: str
    labels: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Scene:
    """A container of root's making, with a process in a network namespace of its own."""

    rootfs: Path
    cgroup: str
    net: int

    @property
    def sights(self) -> tuple[Sight, ...]:
        """What is asked of each set of capabilities, in the table's order."""
        mine = {"cgroup": self.cgroup}
        prefix = "nsexporter_cgroup_memory"
        return (
            Sight("memory, limits, failcnt of every cgroup", "memory",
                  f"{prefix}_usage_bytes", mine),
            Sight("OOM kills, by the kernel's counters", "oom_counters",
                  f"{prefix}_oom_kills_total", mine),
            Sight("OOM kills of the host", "vmstat_oom_kill",
                  "nsexporter_host_oom_kills_total", {}),
            Sight("container ids, pod uids, units (from paths)", "memory",
                  "nsexporter_container_info", {"runtime": "docker", **mine}),
            Sight("container names, images, pods (from runtimes' state files)",
                  "container_metadata", "nsexporter_container_info",
                  {"container_name": "seen", **mine}),
            Sight("namespaces of other users' processes", "ns_read", "nsexporter_namespace_info",
                  {"ns_type": "net", "ns_inode": str(self.net)}),
            Sight("which container is in which namespace", "ns_read",
                  "nsexporter_container_namespace_info",
                  {"ns_type": "net", "ns_inode": str(self.net), **mine}),
            Sight("victims of OOM kills, and kills in cgroups that are gone (kernel log)", "kmsg",
                  "nsexporter_oom_event_sources", {"source": "kmsg"}),
            Sight("v1's notifications of memory pressure", "pressure_notifications",
                  "nsexporter_cgroup_memory_reclaim_pressure_events_total", mine),
        )  # fmt: skip


@pytest.fixture
def scene(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    root = lab.memory_root()
    need(
        "live", root is not None and shutil.which("setpriv") is not None, "no setpriv, or not root"
    )
    assert root is not None
    rootfs = tmp_path_factory.mktemp("rootfs")
    for directory in (rootfs, *list(rootfs.parents)[:-2]):
        directory.chmod(0o755)
    identifier = os.urandom(32).hex()
    state = rootfs / "var/lib/docker/containers" / identifier
    state.mkdir(parents=True)
    described = {"ID": identifier, "Name": "/seen", "Config": {"Image": "busybox"}}
    (state / "config.v2.json").write_text(json.dumps(described))
    (state / "config.v2.json").chmod(0o600)
    (rootfs / "var/lib/docker").chmod(0o710)
    with lab.tree(root) as top:
        cgroup = top / "docker" / identifier
        cgroup.mkdir(parents=True)
        if lab.version() == "v1":
            (cgroup / "memory.limit_in_bytes").write_text("64M")
        else:
            (top / "docker" / "cgroup.subtree_control").write_text("+memory")
        with lab.process(cgroup, unshare=("--net",)) as process:
            inode = os.stat(f"/proc/{process.pid}/ns/net").st_ino
            yield Scene(rootfs, f"/{top.name}/docker/{identifier}", inode)


def dump(scene: Scene, capabilities: tuple[str, ...] | None) -> Samples:
    """One pass with these capabilities."""
    told = subprocess.run(
        [*setpriv(capabilities), sys.executable, "-m", "nsexporter", "dump",
         f"--path.rootfs={scene.rootfs}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    return read(told.stdout)


def seen(samples: Samples, sight: Sight) -> bool:
    """Whether there is a sample with the labels; of a gauge of sources, one that is 1."""
    wanted = set(sight.labels.items())
    return any(
        name == sight.name and wanted <= labels and (value or "sources" not in name)
        for (name, labels), value in samples.items()
    )


def test_what_is_missing_is_what_the_capability_metric_says(
    scene: Scene, pytestconfig: pytest.Config
) -> None:
    can_run = subprocess.run([*setpriv(()), sys.executable, "-c", "import nsexporter"])
    if can_run.returncode:
        pytest.skip("an ordinary user cannot run this Python")
    table: dict[str, dict[str, bool]] = {sight.text: {} for sight in scene.sights}
    everything = dump(scene, None)
    for title, capabilities in SETS.items():
        samples = dump(scene, capabilities)
        told = capabilities_of(samples)
        for sight in scene.sights:
            there = table[sight.text][title] = seen(samples, sight)
            if not there:
                # v1's notifications are no capability of a v2 host.
                assert not told.get(sight.capability), f"{title}: {sight.text}: silently missing"
        # What is told of the scene's cgroup is told truly or not at all.
        for key, value in samples.items():
            name, labels = key
            whole = name.startswith("nsexporter_cgroup_memory") and name.endswith("_limit_bytes")
            if whole and ("cgroup", scene.cgroup) in labels and key in everything:
                assert value == everything[key], key
        families = {name for name, labels in everything if dict(labels).get("cgroup")}
        missing = families - {name for name, labels in samples if dict(labels).get("cgroup")}
        lost = {name for name, value in capabilities_of(everything).items() if value > told[name]}
        assert not missing or lost, f"{title}: {missing} are missing, and no capability says so"
    restricted = Path("/proc/sys/kernel/dmesg_restrict").read_text() == "1\n"
    if lab.version() != "v1" or not restricted or SLOWNESS > 1:
        return  # the document has the table of a host with these, not of a guest
    lines = ["| what is seen | " + " | ".join(SETS) + " |", "|---|" + "---|" * len(SETS)]
    lines += [
        f"| {text} | " + " | ".join("yes" if cells[title] else "no" for title in SETS) + " |"
        for text, cells in table.items()
    ]
    document = Path(__file__).parents[2] / "docs" / "privileges.md"
    text = document.read_text()
    before, _, rest = text.partition("<!-- measured -->\n")
    _, _, after = rest.partition("<!-- end -->")
    generated = before + "<!-- measured -->\n" + "\n".join(lines) + "\n<!-- end -->" + after
    if pytestconfig.getoption("--update-golden"):
        document.write_text(generated)
        return
    assert text == generated, "run pytest tests/live/test_privileges.py --update-golden"


def test_an_ordinary_user_gets_no_errors_in_the_log(scene: Scene) -> None:
    """What may not be read is no error at every pass: it is told once, by the capability."""
    told = subprocess.run(
        [*setpriv(()), sys.executable, "-m", "nsexporter", "dump",
         f"--path.rootfs={scene.rootfs}"],
        capture_output=True, text=True,
    )  # fmt: skip
    assert "Traceback" not in told.stderr and "level=error" not in told.stderr
