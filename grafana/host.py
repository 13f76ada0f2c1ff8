"""Host: what uses the memory of a host, who is near a limit, who was killed."""

from __future__ import annotations

from grafana.board import dashboard
from grafana.expressions import by_name, kills, kills_drawn, named
from grafana.panels import (
    KILLS,
    SHARE,
    Json,
    Query,
    kill_bars,
    override,
    ranking,
    row,
    stat,
    timeseries,
)
from grafana.tables import UNLIMITED, table

OF_CONTAINERS = '{container_id!=""}'
USAGE = f"nsexporter_cgroup_memory_usage_bytes{OF_CONTAINERS}"
WORKING_SET = f"nsexporter_cgroup_memory_working_set_bytes{OF_CONTAINERS}"
LIMIT = f"nsexporter_cgroup_memory_effective_limit_bytes{OF_CONTAINERS}"
SHARE_OF_LIMIT = f"{WORKING_SET} / {LIMIT}"
LAST_KILL = "nsexporter_oom_last_kill_timestamp_seconds"
LEGEND = "{{name}} @ {{instance}}"

TO_CONTAINER: Json = {
    "title": "This container in depth",
    "url": "/d/nsexporter-container?${datasource:queryparam}&${job:queryparam}"
    "&var-instance=${__data.fields.Host}&var-container=${__data.fields.ID}"
    "&${__url_time_range}",
    "targetBlank": False,
}


def column(ref: str, title: str, unit: str, expr: str, width: int = 110) -> Query:
    """A column of the table of containers."""
    running = by_name(of_running(expr), "container_id")
    return Query(expr=running, ref=ref, column=title, unit=unit, width=width)


def of_running(expr: str) -> str:
    """Of containers that run: sandboxes and what is gone left out."""
    return (
        f'({expr}) and on (job, instance, container_id) nsexporter_cgroup_info{{kind="container"}}'
    )


def top(count: int, expr: str) -> str:
    """The largest series at each time."""
    return f"topk({count}, {expr})"


def steady(count: int, expr: str, weight: str, labels: str = "job, instance, cgroup") -> str:
    """The series that were largest over the whole range, so that none comes and goes."""
    chosen = f"topk({count}, max_over_time({weight}[$__range] @ end()))"
    return f"{expr} and on ({labels}) {chosen}"


def _figures() -> list[Json]:
    """The host as a whole."""
    return [
        stat(
            "OOM kills",
            "Processes that any OOM killer killed on the chosen hosts in this time (/proc/vmstat).",
            "sum(increase(nsexporter_host_oom_kills_total[$__range]))",
            "short",
            steps=KILLS,
            decimals=0,
            graph=False,
            empty="0",
        ),
        stat(
            "Last OOM kill",
            "When a process was last killed, whatever became of its container.",
            f"max({LAST_KILL}) * 1000",
            "dateTimeFromNow",
            graph=False,
            empty="never",
        ),
        stat(
            "Memory used",
            "Share of the host's memory that is not available without swapping.",
            "1 - sum(nsexporter_host_memory_available_bytes) / sum(nsexporter_host_memory_bytes)",
            "percentunit",
            steps=SHARE,
            decimals=0,
        ),
        stat(
            "Memory pressure",
            "Share of the time in which at least one process of the host waited for memory"
            " (PSI some of /proc/pressure/memory; a kernel without PSI tells none).",
            "max(rate(nsexporter_host_memory_pressure_waiting_seconds_total[$__rate_interval]))",
            "percentunit",
            steps=((None, "green"), (0.05, "yellow"), (0.2, "red")),
            decimals=1,
            empty="no PSI",
        ),
        stat(
            "Running containers",
            "Containers that run now, those of all runtimes; pods' sandboxes left out.",
            'count(nsexporter_cgroup_info{kind="container"})',
            "short",
            empty="0",
        ),
        stat(
            "Smallest headroom",
            "What the container nearest to a limit, its own or an ancestor's, may still grow.",
            f"min(nsexporter_cgroup_memory_headroom_bytes{OF_CONTAINERS} < +Inf)",
            "bytes",
            graph=False,
            empty="no limits",
        ),
        timeseries(
            "Memory of the host",
            "Used and available memory; their sum is what the host has.",
            [
                Query(
                    expr="sum(nsexporter_host_memory_bytes)"
                    " - sum(nsexporter_host_memory_available_bytes)",
                    legend="used",
                ),
                Query(
                    expr="sum(nsexporter_host_memory_available_bytes)",
                    legend="available",
                    ref="B",
                ),
            ],
            "bytes",
            stack=True,
            overrides=[
                override("used", color={"mode": "fixed", "fixedColor": "blue"}),
                override("available", color={"mode": "fixed", "fixedColor": "green"}),
            ],
        ),
        kill_bars(
            "OOM kills by cgroup",
            "Kills between two points, one bar for each; containers that are gone included.",
            f"sum by (instance, name) ({named(kills_drawn())})",
            LEGEND,
        ),
    ]


def _nearest() -> list[Json]:
    """Who is nearest to a limit, and who is largest."""
    return [
        ranking(
            "Share of the effective limit",
            "Working set by the smallest limit from the container up to the root;"
            " at 100 % the next allocation is reclaimed for, or killed for.",
            top(10, by_name(f"({SHARE_OF_LIMIT}) > 0")),
            "percentunit",
            steps=SHARE,
            maximum=1,
            empty="no container has a limit",
        ),
        ranking(
            "Working set",
            "Usage less inactive page cache: what cannot be reclaimed at once.",
            top(10, by_name(WORKING_SET)),
            "bytes",
            empty="no containers",
        ),
        ranking(
            "Above the reservation",
            "Usage above --memory-reservation (soft limit on v1, memory.low on v2):"
            " what is reclaimed first when the host runs short.",
            top(
                10,
                by_name(f"nsexporter_cgroup_memory_reservation_excess_bytes{OF_CONTAINERS} > 0"),
            ),
            "bytes",
            empty="none above a reservation",
        ),
    ]


def _courses() -> list[Json]:
    """Containers in the course of time."""
    return [
        timeseries(
            "Working set of the ten largest containers",
            "The ten that were largest at any time of the range, whether they live or not.",
            [Query(expr=by_name(steady(10, WORKING_SET, WORKING_SET)), legend=LEGEND)],
            "bytes",
        ),
        timeseries(
            "Limit hits",
            "How often a second a charge did not fit below the hard limit"
            " (failcnt; on v2 the event max). Page cache alone can do that: it is a sign of"
            " pressure at the limit, not of a kill.",
            [
                Query(
                    expr=top(
                        10,
                        by_name(
                            "rate(nsexporter_cgroup_memory_failcnt_total[$__rate_interval]) > 0"
                        ),
                    ),
                    legend=LEGEND,
                )
            ],
            "cps",
            empty="no limit was hit",
        ),
        timeseries(
            "Pressure: waiting for memory",
            "Share of the time in which at least one process of the container waited for"
            " memory (PSI some; v2 and hybrid hosts with PSI).",
            [
                Query(
                    expr=top(
                        10,
                        by_name(
                            "rate(nsexporter_cgroup_memory_pressure_waiting_seconds_total"
                            f"{OF_CONTAINERS}[$__rate_interval]) > 0"
                        ),
                    ),
                    legend=LEGEND,
                )
            ],
            "percentunit",
            empty="no pressure, or no PSI",
        ),
        timeseries(
            "Refaults",
            "Pages a second that were read again soon after they had been reclaimed:"
            " memory that is too small for what is in use.",
            [
                Query(
                    expr=top(
                        10,
                        "sum by (instance, name) ("
                        + named(
                            "rate(nsexporter_cgroup_memory_refaults_total"
                            f"{OF_CONTAINERS}[$__rate_interval])"
                        )
                        + ")",
                    ),
                    legend=LEGEND,
                )
            ],
            "cps",
            empty="no refaults",
        ),
    ]


def _containers() -> list[Json]:
    """The tables."""
    return [
        table(
            "Containers",
            "Every container that runs now; click a name to see it in depth.",
            [
                Query(
                    expr=by_name(
                        of_running("nsexporter_container_info"),
                        "container_id",
                        "image",
                        "runtime",
                    ),
                    ref="info",
                    hidden=True,
                ),
                column("usage", "Usage", "bytes", USAGE),
                Query(
                    expr=by_name(of_running(LIMIT), "container_id"),
                    ref="limit",
                    column="Effective limit",
                    unit="bytes",
                    width=130,
                    mappings=(UNLIMITED,),
                ),
                Query(
                    expr=by_name(of_running(f"{SHARE_OF_LIMIT} > 0"), "container_id"),
                    ref="share",
                    column="Working set of limit",
                    unit="percentunit",
                    width=170,
                    bar=True,
                    steps=SHARE,
                ),
                Query(
                    expr=by_name(
                        of_running(f"nsexporter_cgroup_memory_headroom_bytes{OF_CONTAINERS}"),
                        "container_id",
                    ),
                    ref="headroom",
                    column="Headroom",
                    unit="bytes",
                    width=110,
                    mappings=(UNLIMITED,),
                ),
                column(
                    "failcnt",
                    "Limit hits",
                    "cps",
                    "rate(nsexporter_cgroup_memory_failcnt_total"
                    f"{OF_CONTAINERS}[$__rate_interval])",
                ),
                Query(
                    expr="sum by (instance, name, container_id) ("
                    + named(of_running(kills(OF_CONTAINERS)))
                    + ")",
                    ref="kills",
                    column="Kills",
                    unit="none",
                    width=70,
                    steps=KILLS,
                ),
                Query(
                    expr=by_name(of_running(f"{LAST_KILL}{OF_CONTAINERS}"), "container_id")
                    + " * 1000",
                    ref="last",
                    column="Last kill",
                    unit="dateTimeFromNow",
                    width=150,
                ),
            ],
            {
                "instance": "Host",
                "name": "Name",
                "container_id": "ID",
                "image": "Image",
                "runtime": "Runtime",
            },
            sort="Working set of limit",
            widths={"runtime": 100, "container_id": 125, "instance": 150},
            links={"name": TO_CONTAINER},
            empty="",
        ),
        table(
            "Killed in this time",
            "Every container and cgroup in which a process was OOM-killed, those that are gone"
            " included; of these the task is told for an hour (oom.retention).",
            [
                Query(
                    expr="sum by (instance, name, cgroup, constraint) (" + named(kills()) + ")",
                    ref="kills",
                    column="Kills",
                    unit="none",
                    width=80,
                ),
                Query(
                    expr="max by (instance, cgroup, task) (nsexporter_oom_last_kill_info"
                    f" and on (job, instance, cgroup) {LAST_KILL} > time() - $__range_s)",
                    ref="task",
                    hidden=True,
                ),
                Query(
                    expr="max by (instance, cgroup)"
                    f" (last_over_time({LAST_KILL}[$__range]) > time() - $__range_s) * 1000",
                    ref="last",
                    column="Last kill",
                    unit="dateTimeAsIso",
                    width=180,
                ),
            ],
            {
                "instance": "Host",
                "name": "Name",
                "cgroup": "Cgroup",
                "constraint": "What ran out",
                "task": "Last task",
            },
            size=(24, 7),
            sort="Last kill",
            widths={"instance": 150, "name": 250, "constraint": 130, "task": 130},
        ),
    ]


def host() -> Json:
    return dashboard(
        "nsexporter-host",
        "nsexporter / Host",
        "Memory and OOM kills of a host: what is used, who is near a limit, who was killed.",
        [
            *_figures(),
            row("Nearest to the edge"),
            *_nearest(),
            row("In the course of time"),
            *_courses(),
            row("Containers"),
            *_containers(),
        ],
    )
