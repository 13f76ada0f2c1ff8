"""A snapshot of nothing, for tests to replace in what they are about."""

from __future__ import annotations

from nsexporter.model import Snapshot

NOTHING = Snapshot(
    timestamp=0.0,
    duration=0.0,
    hierarchy="v2",
    cgroups=(),
    containers=(),
    label_ids={},
    processes={},
    namespaces=(),
    unread_processes=0,
    host_namespaces={},
    namespace_limits={},
    vmstat={},
    meminfo={},
    pressure={},
    recursive_protection=False,
    soft_limit_reclaim=False,
)
