"""Exporter: what it costs itself, how it fares, what it cannot see."""

from __future__ import annotations

from grafana.board import dashboard
from grafana.panels import GREEN, KILLS, RED, YELLOW, Json, Query, row, stat, timeseries
from grafana.tables import table, value_map

HOST = "{{instance}}"
YES_OR_NO = value_map(_1=("yes", GREEN), _0=("no", RED))


def per_host(expr: str) -> str:
    return f"max by (instance) ({expr})"


def exporter() -> Json:
    return dashboard(
        "nsexporter-exporter",
        "nsexporter / Exporter",
        "The exporter itself: cost, passes, errors, and what it may not see on a host.",
        [
            stat(
                "Oldest pass",
                "Time since the last pass that ended well.",
                "max(time() - nsexporter_last_pass_timestamp_seconds)",
                "s",
                steps=((None, GREEN), (60, YELLOW), (120, RED)),
                decimals=0,
            ),
            stat(
                "Longest pass",
                "How long the last pass took, of the slowest host.",
                "max(nsexporter_pass_duration_seconds)",
                "s",
            ),
            stat(
                "CPU",
                "Share of one core that the exporter uses, of the busiest host.",
                "max(rate(process_cpu_seconds_total[$__rate_interval]))",
                "percentunit",
                decimals=2,
            ),
            stat(
                "Memory",
                "Resident memory of the exporter, of the largest.",
                "max(process_resident_memory_bytes)",
                "bytes",
            ),
            stat(
                "Samples in a scrape",
                "What Prometheus got in the last scrape, of the largest.",
                "max(scrape_samples_scraped)",
                "short",
            ),
            stat(
                "Configuration",
                "Whether the configuration in use is the one in the file, on every host.",
                "min(nsexporter_config_last_reload_successful)",
                "none",
                graph=False,
                mappings=(value_map(_1=("in use", GREEN), _0=("not read", RED)),),
            ),
            row("Cost"),
            timeseries(
                "CPU by host",
                "Share of one core that the exporter uses.",
                [
                    Query(
                        expr=per_host("rate(process_cpu_seconds_total[$__rate_interval])"),
                        legend=HOST,
                    )
                ],
                "percentunit",
                size=(8, 8),
            ),
            timeseries(
                "Resident memory by host",
                "Memory of the exporter's process.",
                [Query(expr=per_host("process_resident_memory_bytes"), legend=HOST)],
                "bytes",
                size=(8, 8),
            ),
            timeseries(
                "Open descriptors by host",
                "Descriptors that the exporter has open.",
                [Query(expr=per_host("process_open_fds"), legend=HOST)],
                "short",
                size=(8, 8),
            ),
            row("Passes"),
            timeseries(
                "Pass duration",
                "How long a pass over cgroups and namespaces takes, and a whole scrape.",
                [
                    Query(
                        expr=per_host("nsexporter_pass_duration_seconds"),
                        legend="pass {{instance}}",
                    ),
                    Query(
                        expr=per_host("scrape_duration_seconds"),
                        legend="scrape {{instance}}",
                        ref="B",
                    ),
                ],
                "s",
                size=(8, 8),
            ),
            timeseries(
                "Duration by collector",
                "What each collector's part of a pass takes, of the slowest host.",
                [
                    Query(
                        expr="max by (collector) (nsexporter_collector_duration_seconds)",
                        legend="{{collector}}",
                    )
                ],
                "s",
                size=(8, 8),
                stack=True,
            ),
            timeseries(
                "Read errors",
                "Reads a second that failed for a reason that costs samples, by errno.",
                [
                    Query(
                        expr="sum by (collector, errno)"
                        " (rate(nsexporter_read_errors_total[$__rate_interval]))",
                        legend="{{collector}} {{errno}}",
                    )
                ],
                "cps",
                size=(8, 8),
                empty="no errors",
            ),
            row("What it sees"),
            table(
                "Capabilities",
                "What the exporter may see on each host, and what not; `nsexporter doctor` there"
                " tells what mends it.",
                [
                    Query(
                        expr="max by (instance, name) (nsexporter_capability)",
                        column="Sees it",
                        unit="none",
                        mappings=(YES_OR_NO,),
                        steps=((None, "text"),),
                        width=110,
                    )
                ],
                {"instance": "Host", "name": "Capability"},
                size=(8, 9),
                sort="Sees it",
                descending=False,
            ),
            table(
                "Sources",
                "Where each group of metrics comes from on each host.",
                [
                    Query(
                        expr="max by (instance, group, source) (nsexporter_source_info)",
                        hidden=True,
                    )
                ],
                {"instance": "Host", "group": "Group", "source": "Source"},
                size=(8, 9),
                sort="Group",
                descending=False,
            ),
            table(
                "Sources of OOM kills",
                "What tells of OOM kills on each host, and what does not.",
                [
                    Query(
                        expr="max by (instance, source) (nsexporter_oom_event_sources)",
                        column="Tells",
                        unit="none",
                        mappings=(YES_OR_NO,),
                        steps=((None, "text"),),
                        width=110,
                    )
                ],
                {"instance": "Host", "source": "Source"},
                size=(8, 9),
                sort="Tells",
            ),
            stat(
                "Collectors that fail",
                "Collectors that could not do their part of the last pass.",
                "count(nsexporter_collector_success == 0)",
                "short",
                steps=KILLS,
                graph=False,
                size=(6, 4),
                empty="0",
            ),
            stat(
                "Cgroups left out",
                "Cgroups that the cap (collection.max_cgroups) or the patterns left out.",
                "sum(nsexporter_cgroups_dropped)",
                "short",
                size=(6, 4),
                empty="0",
            ),
            stat(
                "Unread processes",
                "Processes whose namespaces may not be read.",
                "sum(nsexporter_namespace_unread_processes)",
                "short",
                steps=((None, GREEN), (1, YELLOW)),
                size=(6, 4),
                empty="0",
            ),
            stat(
                "Metadata errors",
                "Lookups of a container's name and image that failed in this time.",
                "sum(increase(nsexporter_metadata_errors_total[$__range]))",
                "short",
                steps=((None, GREEN), (1, YELLOW)),
                decimals=0,
                size=(6, 4),
                graph=False,
                empty="0",
            ),
        ],
    )
