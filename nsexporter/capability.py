"""What the exporter may see on a host and what not: one row each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from nsexporter.model import Snapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """One thing that a pass could see or not.

    `meaning` says what is missing where it does not hold, `mend` what would change that. None is
    said of what does not apply to the host.
    """

    name: str
    meaning: str
    mend: str
    holds: Callable[[Snapshot], bool | None]


CAPABILITIES: tuple[Capability, ...] = (
    Capability(
        name="memory",
        meaning="No cgroup hierarchy carries the memory controller: no memory metrics.",
        mend="mount one, or boot without cgroup_disable=memory",
        holds=lambda snapshot: snapshot.hierarchy != "none",
    ),
    Capability(
        name="ns_read",
        meaning="Namespaces of some processes are not read"
        " (nsexporter_namespace_unread_processes says of how many).",
        mend="grant CAP_SYS_PTRACE; where it is granted, a security module denies it (in a"
        " container AppArmor's profile)",
        holds=lambda snapshot: bool(snapshot.processes) and not snapshot.unread_processes,
    ),
    Capability(
        name="pid_namespace",
        meaning="The exporter is in a PID namespace of its own, in which the kernel does not tell"
        " which processes are in a cgroup: containers' namespaces are not known.",
        mend="share the host's PID namespace (docker --pid=host, Kubernetes hostPID)",
        holds=lambda snapshot: not snapshot.foreign_pid_namespace,
    ),
    Capability(
        name="host_namespaces",
        meaning="The host's own namespaces are not known: nothing is told to be in them.",
        mend="give the host's procfs (--path.procfs)",
        holds=lambda snapshot: bool(snapshot.host_namespaces),
    ),
    Capability(
        name="pressure",
        meaning="No pressure stall information by cgroup.",
        mend="boot with psi=1 and mount cgroup2",
        holds=lambda snapshot: any("memory.pressure" in one.files for one in snapshot.cgroups),
    ),
    Capability(
        name="v1_soft_limit",
        meaning="This kernel does not act on soft limits: they are read and written in vain.",
        mend="change to cgroup2, with memory.low and memory.high",
        holds=lambda snapshot: snapshot.soft_limit_reclaim if snapshot.hierarchy == "v1" else None,
    ),
    Capability(
        name="pressure_notifications",
        meaning="v1's notifications of memory pressure are not heard.",
        mend="run as root, with collectors.memory.pressure_notifications above 0",
        holds=lambda snapshot: (
            any(c.history and c.history.pressure for c in snapshot.cgroups)
            if snapshot.hierarchy == "v1"
            else None
        ),
    ),
    Capability(
        name="kmsg",
        meaning="The kernel log is not read: no victim's name, no constraint, and kills in cgroups"
        " that were gone before they were seen are unattributed.",
        mend="grant CAP_SYSLOG, or set kernel.dmesg_restrict=0, and give /dev/kmsg (oom.kmsg)",
        holds=lambda snapshot: snapshot.oom.sources.get("kmsg", False),
    ),
    Capability(
        name="oom_counters",
        meaning="No cgroup counts its OOM kills: only the kernel log tells of them.",
        mend="use Linux 4.13 or newer, and enable collectors.memory",
        holds=lambda snapshot: snapshot.oom.sources.get("counters", False),
    ),
    Capability(
        name="vmstat_oom_kill",
        meaning="The host's total of OOM kills is not known.",
        mend="use Linux 4.13 or newer, and let /proc/vmstat be read",
        holds=lambda snapshot: b"oom_kill" in snapshot.vmstat,
    ),
    Capability(
        name="container_metadata",
        meaning="State files of a container runtime may not be read: no names, images and pods.",
        mend="grant CAP_DAC_READ_SEARCH",
        holds=lambda snapshot: not snapshot.unread_state,
    ),
)
"""In the order in which they are shown."""


def told(snapshot: Snapshot) -> list[tuple[Capability, bool]]:
    """Each that applies to the host, with whether it holds."""
    return [(one, held) for one in CAPABILITIES if (held := one.holds(snapshot)) is not None]
