"""The exporter about itself: rows like the catalogue's, with what the collector tells."""

from __future__ import annotations

import gc
import platform
from collections.abc import Iterable
from dataclasses import dataclass

from nsexporter.exposition import Family
from nsexporter.families.labels import render
from nsexporter.gzip import Chunk
from nsexporter.kernel.itself import Itself


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfMetric:
    """One family about the exporter; `help` is one sentence."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...] = ()


SELF_METRICS: tuple[SelfMetric, ...] = (
    SelfMetric(
        name="nsexporter_build_info",
        type="info",
        help="The exporter's version and the Python it runs on; 1.",
        labels=("version", "python", "revision"),
    ),
    SelfMetric(
        name="nsexporter_pass_duration_seconds",
        type="gauge",
        help="How long the last pass that ended well took.",
    ),
    SelfMetric(
        name="nsexporter_last_pass_timestamp_seconds",
        type="gauge",
        help="When the last pass that ended well ended.",
    ),
    SelfMetric(
        name="nsexporter_passes_total",
        type="counter",
        help="Passes that ended well.",
    ),
    SelfMetric(
        name="nsexporter_up",
        type="gauge",
        help="1 where the newest pass ended well, 0 where these are figures of an older one.",
    ),
    SelfMetric(
        name="nsexporter_collector_success",
        type="gauge",
        help="1 where the collector could do its part of the last pass.",
        labels=("collector",),
    ),
    SelfMetric(
        name="nsexporter_collector_duration_seconds",
        type="gauge",
        help="How long the collector's part of the last pass took.",
        labels=("collector",),
    ),
    SelfMetric(
        name="nsexporter_read_errors_total",
        type="counter",
        help="Reads that failed for a reason that costs samples, by errno, or malformed.",
        labels=("collector", "errno"),
    ),
    SelfMetric(
        name="nsexporter_metadata_errors_total",
        type="counter",
        help="Lookups of a container's metadata that a source failed, by source.",
        labels=("source",),
    ),
    SelfMetric(
        name="nsexporter_capability",
        type="gauge",
        help="1 for what the exporter may see on this host, 0 for what it cannot see.",
        labels=("name",),
    ),
    SelfMetric(
        name="nsexporter_source_info",
        type="info",
        help="Where a group of metrics comes from on this host; 1.",
        labels=("group", "source"),
    ),
    SelfMetric(
        name="nsexporter_cgroups_dropped",
        type="gauge",
        help="Cgroups that the cap or the patterns left out of the last pass.",
    ),
    SelfMetric(
        name="nsexporter_config_last_reload_successful",
        type="gauge",
        help="1 where the configuration in use is the one in the file.",
    ),
    SelfMetric(
        name="nsexporter_config_last_reload_success_timestamp_seconds",
        type="gauge",
        help="When the configuration was last read without an error.",
    ),
    SelfMetric(
        name="nsexporter_web_config_last_reload_successful",
        type="gauge",
        help="1 where the web configuration in use is the one in its file.",
    ),
    SelfMetric(
        name="nsexporter_landlock_version",
        type="gauge",
        help="Version of Landlock that keeps the exporter from writing, 0 where none does.",
    ),
    SelfMetric(
        name="nsexporter_log_lines_dropped_total",
        type="counter",
        help="Lines of the log that were not written, since nobody read those before them.",
    ),
    SelfMetric(
        name="nsexporter_web_connections",
        type="gauge",
        help="Clients that are connected.",
    ),
    SelfMetric(
        name="nsexporter_web_connections_dropped_total",
        type="counter",
        help="Clients cut off before they were answered: too slow, or crowded out by new ones.",
        labels=("reason",),
    ),
    SelfMetric(
        name="nsexporter_web_responses_total",
        type="counter",
        help="Responses by status.",
        labels=("code",),
    ),
    # Named as Prometheus's own client libraries name them; prometheus-client loads 9 MB.
    SelfMetric(
        name="process_cpu_seconds_total",
        type="counter",
        help="User and system CPU time that the exporter has used.",
    ),
    SelfMetric(
        name="process_start_time_seconds",
        type="gauge",
        help="When the exporter was started, in seconds since the epoch.",
    ),
    SelfMetric(
        name="process_virtual_memory_bytes",
        type="gauge",
        help="Address space of the exporter.",
    ),
    SelfMetric(
        name="process_resident_memory_bytes",
        type="gauge",
        help="Resident memory of the exporter.",
    ),
    SelfMetric(
        name="process_open_fds",
        type="gauge",
        help="Descriptors that the exporter has open.",
    ),
    SelfMetric(
        name="process_max_fds",
        type="gauge",
        help="Descriptors that the exporter may have open (RLIMIT_NOFILE).",
    ),
    SelfMetric(
        name="python_info",
        type="info",
        help="The Python that the exporter runs on; 1.",
        labels=("implementation", "major", "minor", "patchlevel", "version"),
    ),
    SelfMetric(
        name="python_gc_collections_total",
        type="counter",
        help="Runs of the garbage collector, by generation.",
        labels=("generation",),
    ),
    SelfMetric(
        name="python_gc_objects_collected_total",
        type="counter",
        help="Objects that the garbage collector freed, by generation.",
        labels=("generation",),
    ),
    SelfMetric(
        name="python_gc_objects_uncollectable_total",
        type="counter",
        help="Objects that the garbage collector found and could not free, by generation.",
        labels=("generation",),
    ),
)

Values = dict[str, list[tuple[tuple[str, ...], float]]]
"""Metric name to samples: label values in the row's order, and the value."""


def of_process(itself: Itself) -> Values:
    """What is told of the process and its interpreter."""
    figures: dict[str, float | None] = {
        "process_cpu_seconds_total": itself.cpu,
        "process_start_time_seconds": itself.started,
        "process_virtual_memory_bytes": itself.virtual,
        "process_resident_memory_bytes": itself.resident,
        "process_open_fds": itself.open_fds,
        "process_max_fds": itself.max_fds,
    }
    values: Values = {
        name: [((), figure)] for name, figure in figures.items() if figure is not None
    }
    python = (platform.python_implementation(), *platform.python_version_tuple())
    values["python_info"] = [((*python, platform.python_version()), 1)]
    for told in ("collections", "collected", "uncollectable"):
        name = told if told == "collections" else f"objects_{told}"
        values[f"python_gc_{name}_total"] = [
            ((str(generation),), stats[told]) for generation, stats in enumerate(gc.get_stats())
        ]
    return values


def families(values: Values) -> Iterable[Family]:
    """The rows that have a sample, rendered."""
    for metric in SELF_METRICS:
        lines = []
        for label_values, value in values.get(metric.name, []):
            pairs = render(tuple(zip(metric.labels, label_values, strict=True)))
            head = b"{" + pairs + b"} " if pairs else b" "
            lines.append(metric.name.encode() + head + repr(value).encode() + b"\n")
        if lines:
            yield Family(metric.name, metric.type, metric.help, (Chunk(b"".join(lines)),))
