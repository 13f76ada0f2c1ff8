"""What a kernel was booted without is told as lacking: no sample, no zero, a capability of 0."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import Need
from tests.live import kills, lab
from tests.live.exporter import COMMAND, running
from tests.samples import Samples, of

SUCCESS = "nsexporter_collector_success"


def told() -> Samples:
    """What the exporter serves on this host."""
    with running() as exporter:
        return kills.scrape(exporter)


def doctor() -> str:
    return subprocess.run([*COMMAND, "doctor"], capture_output=True, text=True).stdout


def test_without_psi_no_pressure_is_told(top: Path, need: Need) -> None:
    need("no-psi", not Path("/proc/pressure").exists(), "this kernel has PSI")
    samples = told()
    assert of(samples, "nsexporter_capability", name="pressure") == 0
    assert [name for name, _ in samples if "_pressure_" in name] == []
    success = [value for (name, _), value in samples.items() if name == SUCCESS]
    assert success and set(success) == {1}
    usage = "nsexporter_cgroup_memory_usage_bytes"
    assert of(samples, usage, cgroup=lab.path_of(top)) is not None
    assert "psi=1" in doctor()


def test_without_the_memory_controller_namespaces_and_the_hosts_kills_are_told(
    need: Need,
) -> None:
    need("no-memory", lab.version() == "none", "a hierarchy has the memory controller")
    samples = told()
    assert of(samples, "nsexporter_capability", name="memory") == 0
    assert of(samples, "nsexporter_capability", name="oom_counters") == 0
    memory = {name for name, _ in samples if name.startswith("nsexporter_cgroup_memory_")}
    assert {name for name in memory if "_pressure_" not in name} == set()
    assert of(samples, "nsexporter_namespaces", ns_type="net") == 1
    assert of(samples, "nsexporter_host_oom_kills_total") == kills.vmstat()
    assert "cgroup_disable=memory" in doctor()
