"""Every metric: one row each. Reading, exposition, reference and tests follow from the rows."""

from __future__ import annotations

from nsexporter.catalogue.breakdown import BREAKDOWN_METRICS
from nsexporter.catalogue.cadvisor import CADVISOR_METRICS as CADVISOR_METRICS
from nsexporter.catalogue.host import HOST_METRICS
from nsexporter.catalogue.limits import LIMIT_METRICS
from nsexporter.catalogue.memory import MEMORY_METRICS
from nsexporter.catalogue.namespaces import NAMESPACE_METRICS
from nsexporter.catalogue.oom import OOM_METRICS
from nsexporter.catalogue.pids import PIDS_METRICS
from nsexporter.catalogue.reclaim import RECLAIM_METRICS
from nsexporter.catalogue.rows import Metric

CGROUP_METRICS: tuple[Metric, ...] = LIMIT_METRICS + RECLAIM_METRICS + MEMORY_METRICS + PIDS_METRICS
"""Rows with a sample for every cgroup."""

METRICS: tuple[Metric, ...] = (
    CGROUP_METRICS + BREAKDOWN_METRICS + OOM_METRICS + HOST_METRICS + NAMESPACE_METRICS
)
"""Every row, in the order of the exposition; the exporter's own are in `selfmetrics`."""
