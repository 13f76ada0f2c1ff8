"""Fleet: many hosts, by what grafana/rules/recording.yaml records of each."""

from __future__ import annotations

from grafana.board import dashboard
from grafana.expressions import by_name
from grafana.panels import (
    GREEN,
    KILLS,
    RED,
    SHARE,
    YELLOW,
    Json,
    Query,
    kill_bars,
    ranking,
    row,
    stat,
    timeseries,
)
from grafana.tables import table

PER_HOST = "max by (job, instance)"
AGE = ((None, GREEN), (60, YELLOW), (120, RED))
TO_HOST: Json = {
    "title": "This host",
    "url": "/d/nsexporter-host?${datasource:queryparam}&var-job=${__data.fields.Job}"
    "&var-instance=${__data.fields.Host}&${__url_time_range}",
    "targetBlank": False,
}


def fleet() -> Json:
    worst = "instance:nsexporter_memory_limit_share:max"
    kills = "nsexporter_host_oom_kills_total"
    return dashboard(
        "nsexporter-fleet",
        "nsexporter / Fleet",
        "All hosts at once: kills, worst headroom, exporters' health."
        " Needs the rules of grafana/rules/recording.yaml.",
        [
            stat(
                "Hosts",
                "Hosts whose exporter answers.",
                "count(nsexporter_up)",
                "short",
                empty="0",
            ),
            stat(
                "Exporters down",
                "Exporters that Prometheus cannot scrape.",
                "count(up == 0)",
                "short",
                steps=KILLS,
                graph=False,
                empty="0",
            ),
            stat(
                "OOM kills",
                "Processes that any OOM killer killed on any of the hosts in this time.",
                f"sum(increase({kills}[$__range]))",
                "short",
                steps=KILLS,
                decimals=0,
                graph=False,
                empty="0",
            ),
            stat(
                "Hosts with kills",
                "Hosts on which something was OOM-killed in this time.",
                f"count(increase({kills}[$__range]) > 0)",
                "short",
                steps=KILLS,
                graph=False,
                empty="0",
            ),
            stat(
                "Worst share of a limit",
                "The largest share of an effective limit that any working set takes.",
                f"max({worst})",
                "percentunit",
                steps=SHARE,
                decimals=0,
                empty="no limits",
            ),
            stat(
                "Containers",
                "Containers on all hosts.",
                "sum(instance:nsexporter_containers:count)",
                "short",
                empty="0",
            ),
            table(
                "Every host",
                "One row for each host, what is nearest to a limit first; click a host to see it.",
                [
                    Query(
                        expr=f"{PER_HOST} (instance:nsexporter_memory_used:ratio)",
                        ref="used",
                        column="Memory used",
                        unit="percentunit",
                        steps=SHARE,
                        bar=True,
                        width=170,
                    ),
                    Query(
                        expr=f"{PER_HOST} ({worst})",
                        ref="worst",
                        column="Worst of its limit",
                        unit="percentunit",
                        steps=SHARE,
                        bar=True,
                        width=170,
                    ),
                    Query(
                        expr=f"{PER_HOST} (instance:nsexporter_memory_headroom_bytes:min)",
                        ref="headroom",
                        column="Least headroom",
                        unit="bytes",
                        width=130,
                    ),
                    Query(
                        expr=f"{PER_HOST} (instance:nsexporter_containers:count)",
                        ref="containers",
                        column="Containers",
                        unit="none",
                        width=110,
                    ),
                    Query(
                        expr=f"{PER_HOST} (increase({kills}[$__range]))",
                        ref="kills",
                        column="Kills",
                        unit="none",
                        decimals=0,
                        steps=KILLS,
                        width=80,
                    ),
                    Query(
                        expr=f"{PER_HOST} (nsexporter_oom_last_kill_timestamp_seconds) * 1000",
                        ref="last",
                        column="Last kill",
                        unit="dateTimeFromNow",
                        width=150,
                    ),
                    Query(
                        expr=f"{PER_HOST} (time() - nsexporter_last_pass_timestamp_seconds)",
                        ref="age",
                        column="Age of the pass",
                        unit="s",
                        steps=AGE,
                        width=130,
                    ),
                    Query(
                        expr=f"{PER_HOST} (instance:nsexporter_capabilities_missing:count)",
                        ref="blind",
                        column="Cannot see",
                        unit="none",
                        width=100,
                    ),
                    Query(
                        expr="max by (job, instance, version) (nsexporter_build_info)",
                        ref="version",
                        hidden=True,
                    ),
                ],
                {"instance": "Host", "job": "Job", "version": "Version"},
                size=(24, 10),
                sort="Worst of its limit",
                widths={"version": 90},
                links={"instance": TO_HOST},
                empty="",
            ),
            row("In the course of time"),
            kill_bars(
                "OOM kills by host",
                "Kills between two points, one bar for each.",
                f"sum by (instance) ({kills} - {kills} offset $__interval > 0"
                f" or 0 * {kills} and on (job, instance)"
                f" increase({kills}[$__range] @ end()) > 0)",
                "{{instance}}",
            ),
            timeseries(
                "Worst share of a limit by host",
                "Of each host, the working set that takes most of its effective limit.",
                [Query(expr=f"max by (instance) ({worst})", legend="{{instance}}")],
                "percentunit",
                steps=((None, "transparent"), (0.9, RED)),
                empty="no limits",
            ),
            timeseries(
                "Memory used by host",
                "Share of each host's memory that is not available.",
                [
                    Query(
                        expr="max by (instance) (instance:nsexporter_memory_used:ratio)",
                        legend="{{instance}}",
                    )
                ],
                "percentunit",
                maximum=1,
            ),
            ranking(
                "Nearest to a limit, of all hosts",
                "Working sets that take most of their effective limit, wherever they are.",
                f"topk(10, {by_name('cgroup:nsexporter_memory_limit_share:ratio > 0')})",
                "percentunit",
                size=(12, 8),
                steps=SHARE,
                maximum=1,
                empty="no limits",
            ),
        ],
        start="now-24h",
    )
