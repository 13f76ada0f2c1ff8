"""Commands on a host that systemd runs, and what samples tell of a cgroup."""

from __future__ import annotations

import subprocess

from tests.samples import Samples

MB = 1 << 20
MEMORY = "nsexporter_cgroup_memory_"


def run(*command: str) -> str:
    """What a command that ends well prints."""
    told = subprocess.run(command, capture_output=True, text=True)
    assert told.returncode == 0, f"{command}: {told.stdout}{told.stderr}"
    return told.stdout.strip()


def shown(unit: str, *properties: str) -> dict[str, str]:
    """Properties of a unit."""
    flags = (f"--property={name}" for name in properties)
    return dict(
        line.split("=", 1) for line in run("systemctl", "show", unit, *flags).splitlines() if line
    )


def labels(samples: Samples, name: str, cgroup: str) -> dict[str, str]:
    """The labels of a cgroup's sample; none where there is no sample."""
    found = (dict(pairs) for one, pairs in samples if one == name and ("cgroup", cgroup) in pairs)
    return next(found, {})


def value(samples: Samples, name: str, cgroup: str) -> float | None:
    """A cgroup's sample, whatever its other labels."""
    return samples.get((name, frozenset(labels(samples, name, cgroup).items())))
