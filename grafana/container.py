"""Container: one container in depth."""

from __future__ import annotations

from grafana.board import dashboard, query_variable
from grafana.expressions import by_name, kills_drawn, named, select
from grafana.panels import KILLS, SHARE, Json, Query, kill_bars, override, row, stat, timeseries
from grafana.tables import UNLIMITED, table, value_map

ONE = '{container_id=~"$container"}'
MEMORY = "nsexporter_cgroup_memory"
RATE = "[$__rate_interval]"
KILLS_OF_ONE = f"nsexporter_oom_kills_total{ONE}"
LAST_OF_ONE = f"nsexporter_oom_last_kill_timestamp_seconds{ONE}"
WORKING_SET = f"{MEMORY}_working_set_bytes{ONE}"
LIMIT = f"{MEMORY}_effective_limit_bytes{ONE}"
CHOICE = by_name("last_over_time(nsexporter_container_info[$__range])", "container_id")
PEERS = (
    'nsexporter_container_namespace_info{container_id!~"$container"}'
    " and on (job, instance, ns_type, ns_inode)"
    f" nsexporter_container_namespace_info{ONE}"
    ' unless on (job, instance, ns_type, ns_inode) nsexporter_namespace_info{scope="host"}'
)
HOST_OR_OWN = value_map(_1=("host", "orange"), _0=("own", "green"))


def line(name: str, color: str, *, dashed: bool = False, width: int = 1) -> Json:
    """A line of its own in a graph of areas."""
    style = {"fill": "dash", "dash": [8, 6]} if dashed else {"fill": "solid"}
    return override(
        name,
        color={"mode": "fixed", "fixedColor": color},
        custom_stacking={"mode": "none", "group": "A"},
        custom_fillOpacity=0,
        custom_lineWidth=width,
        custom_lineStyle=style,
    )


def colored(name: str, color: str) -> Json:
    """An area of a colour of its own."""
    return override(name, color={"mode": "fixed", "fixedColor": color})


def gauge(suffix: str, legend: str, ref: str) -> Query:
    """One of the container's memory metrics, finite values only."""
    return Query(expr=f"max({MEMORY}_{suffix}{ONE} < +Inf)", legend=legend, ref=ref)


def _figures() -> list[Json]:
    """What it uses, what bounds that, and what it is."""
    return [
        stat(
            "Working set",
            "Usage less inactive page cache: what cannot be reclaimed at once.",
            f"max({WORKING_SET})",
            "bytes",
        ),
        stat(
            "Working set of the limit",
            "Working set by the smallest limit from the container up to the root.",
            f"max({WORKING_SET} / {LIMIT})",
            "percentunit",
            steps=SHARE,
        ),
        stat(
            "Effective limit",
            "The smallest limit from the container up to the root, whosever it is.",
            f"min({LIMIT})",
            "bytes",
            graph=False,
            mappings=(UNLIMITED,),
        ),
        stat(
            "Headroom",
            "What the container may grow before something is reclaimed or killed:"
            " the least of limit less usage from it up to the root.",
            f"min({MEMORY}_headroom_bytes{ONE})",
            "bytes",
            mappings=(UNLIMITED,),
        ),
        stat(
            "OOM kills so far",
            "Processes of the container that were OOM-killed, ever.",
            f"sum({KILLS_OF_ONE})",
            "short",
            steps=KILLS,
            graph=False,
            empty="0",
        ),
        stat(
            "Last OOM kill",
            "When a process of the container was last killed.",
            f"max({LAST_OF_ONE}) * 1000",
            "dateTimeFromNow",
            graph=False,
            empty="never",
        ),
        table(
            "What it is",
            "The container as its runtime calls it, and whose limit is its effective one.",
            [
                Query(
                    expr="max by (instance, name, image, runtime, qos, cgroup)"
                    f" ({named(f'nsexporter_container_info{ONE}')})",
                    ref="info",
                    hidden=True,
                ),
                Query(
                    expr="max by (instance, cgroup, limiting_cgroup)"
                    f" (nsexporter_cgroup_limited_by_info{ONE})",
                    ref="limited",
                    hidden=True,
                ),
            ],
            {
                "instance": "Host",
                "name": "Name",
                "image": "Image",
                "runtime": "Runtime",
                "qos": "QoS",
                "cgroup": "Cgroup",
                "limiting_cgroup": "Limited by",
            },
            size=(24, 4),
            widths={"instance": 150, "runtime": 100, "qos": 110},
            empty="",
        ),
    ]


def _memory() -> list[Json]:
    """What its memory is, and all limits."""
    return [
        timeseries(
            "Usage by kind",
            "What the memory is: anonymous, shared (tmpfs), page cache, kernel. The line is"
            " the usage that the kernel charges, the dashed one the effective limit.",
            [
                gauge("anon_bytes", "anonymous", "A"),
                gauge("shmem_bytes", "shared", "B"),
                Query(
                    expr=f"max({MEMORY}_file_bytes{ONE} - {MEMORY}_shmem_bytes{ONE})",
                    legend="page cache",
                    ref="C",
                ),
                gauge("kernel_bytes", "kernel", "D"),
                gauge("usage_bytes", "usage", "E"),
                gauge("effective_limit_bytes", "effective limit", "F"),
            ],
            "bytes",
            stack=True,
            overrides=[
                colored("anonymous", "blue"),
                colored("shared", "purple"),
                colored("page cache", "green"),
                colored("kernel", "orange"),
                line("usage", "text"),
                line("effective limit", "red", dashed=True, width=2),
            ],
        ),
        timeseries(
            "Limits and what they bound",
            "Own and effective hard limit, what protects and throttles on v2 (low, high),"
            " soft limit on v1, reservation, and the peak.",
            [
                gauge("usage_bytes", "usage", "A"),
                gauge("working_set_bytes", "working set", "B"),
                gauge("peak_bytes", "peak", "C"),
                gauge("limit_bytes", "own limit", "D"),
                gauge("effective_limit_bytes", "effective limit", "E"),
                gauge("reservation_bytes", "reservation", "F"),
                gauge("high_bytes", "high", "G"),
            ],
            "bytes",
            overrides=[
                colored("usage", "blue"),
                colored("working set", "green"),
                line("peak", "purple", dashed=True),
                line("own limit", "orange", dashed=True, width=2),
                line("effective limit", "red", dashed=True, width=2),
                line("reservation", "yellow", dashed=True),
                line("high", "semi-dark-orange", dashed=True),
            ],
        ),
    ]


def _at_the_limit() -> list[Json]:
    """What happens as the limit comes near."""
    return [
        timeseries(
            "Limit hits and events",
            "Times a second: the hard limit was hit (failcnt), memory.high throttled it,"
            " memory.low did not protect it.",
            [
                Query(expr=f"max(rate({MEMORY}_failcnt_total{ONE}{RATE}))", legend="limit hit"),
                Query(
                    expr=f"max(rate({MEMORY}_high_events_total{ONE}{RATE}))",
                    legend="throttled (high)",
                    ref="B",
                ),
                Query(
                    expr=f"max(rate({MEMORY}_low_events_total{ONE}{RATE}))",
                    legend="low breached",
                    ref="C",
                ),
            ],
            "cps",
            size=(8, 8),
        ),
        timeseries(
            "Faults and reclaim",
            "Pages a second: faults that read a device, refaults of pages reclaimed shortly"
            " before, pages scanned and reclaimed (v2 counts these, v1 does not).",
            [
                Query(
                    expr=f"max(rate({MEMORY}_major_page_faults_total{ONE}{RATE}))",
                    legend="major faults",
                ),
                Query(
                    expr=f"sum by (kind) (rate({MEMORY}_refaults_total{ONE}{RATE}))",
                    legend="refaults ({{kind}})",
                    ref="B",
                ),
                Query(
                    expr=f"sum by (by) (rate({MEMORY}_scanned_pages_total{ONE}{RATE}))",
                    legend="scanned ({{by}})",
                    ref="C",
                ),
                Query(
                    expr=f"sum by (by) (rate({MEMORY}_reclaimed_pages_total{ONE}{RATE}))",
                    legend="reclaimed ({{by}})",
                    ref="D",
                ),
            ],
            "cps",
            size=(8, 8),
        ),
        timeseries(
            "Pressure",
            "Share of the time in which some or all processes of the container waited for"
            " memory (PSI; v2 and hybrid hosts).",
            [
                Query(
                    expr=f"max(rate({MEMORY}_pressure_waiting_seconds_total{ONE}{RATE}))",
                    legend="some waited",
                ),
                Query(
                    expr=f"max(rate({MEMORY}_pressure_stalled_seconds_total{ONE}{RATE}))",
                    legend="all stalled",
                    ref="B",
                ),
            ],
            "percentunit",
            size=(8, 8),
            empty="no PSI on this host",
        ),
    ]


def _kills() -> list[Json]:
    """Its OOM kills."""
    return [
        kill_bars(
            "OOM kills",
            "Kills between two points, by what ran out: memcg is a limit of its own or of an"
            " ancestor, none is the whole host.",
            f"sum by (constraint) ({kills_drawn(ONE)})",
            "{{constraint}}",
            size=(12, 7),
        ),
        table(
            "History",
            "Kills by what ran out, the task that was killed last, and when.",
            [
                Query(
                    expr=f"sum by (instance, cgroup, constraint) ({KILLS_OF_ONE} > 0)",
                    ref="kills",
                    column="Kills",
                    unit="none",
                    width=80,
                ),
                Query(
                    expr=f"max by (instance, cgroup, task) (nsexporter_oom_last_kill_info{ONE})",
                    ref="task",
                    hidden=True,
                ),
                Query(
                    expr=f"max by (instance, cgroup) ({LAST_OF_ONE}) * 1000",
                    ref="last",
                    column="Last kill",
                    unit="dateTimeAsIso",
                    width=180,
                ),
            ],
            {
                "instance": "Host",
                "cgroup": "Cgroup",
                "constraint": "What ran out",
                "task": "Task",
            },
            size=(12, 7),
            sort="Last kill",
            widths={"instance": 130, "constraint": 120, "task": 110},
        ),
    ]


def _namespaces() -> list[Json]:
    """Its namespaces, and who shares them."""
    return [
        table(
            "Namespaces of the container",
            "Which namespaces its processes are in, whether they are the host's, and how many"
            " other containers are in them.",
            [
                Query(
                    expr=f"max by (ns_type, ns_inode) (nsexporter_container_namespace_info{ONE})",
                    ref="inode",
                    hidden=True,
                ),
                Query(
                    expr=f"max by (ns_type) (nsexporter_container_host_namespace{ONE})",
                    ref="host",
                    column="Whose",
                    unit="none",
                    steps=((None, "text"),),
                    mappings=(HOST_OR_OWN,),
                    width=100,
                ),
                Query(
                    expr=f"max by (ns_type) (nsexporter_container_namespace_peers{ONE})",
                    ref="peers",
                    column="Other containers in it",
                    unit="none",
                ),
            ],
            {"ns_type": "Type", "ns_inode": "Inode"},
            size=(12, 10),
            sort="Type",
            descending=False,
            widths={"ns_type": 100, "ns_inode": 130},
        ),
        table(
            "Peers",
            "Other containers that share a namespace with it, the host's namespaces left out.",
            [
                Query(
                    expr=by_name(f"({PEERS})", "ns_type"),
                    column="Shares",
                    unit="none",
                    hidden=True,
                )
            ],
            {"instance": "Host", "name": "Container", "ns_type": "Shared type"},
            size=(12, 10),
            sort="Container",
            descending=False,
            empty="shares with none",
        ),
    ]


def container() -> Json:
    return dashboard(
        "nsexporter-container",
        "nsexporter / Container",
        "One container in depth: memory by kind, what limits it, OOM kills, namespaces and peers.",
        [
            *_figures(),
            row("Memory"),
            *_memory(),
            row("At the limit"),
            *_at_the_limit(),
            row("OOM kills"),
            *_kills(),
            row("Namespaces"),
            *_namespaces(),
        ],
        variables=[
            query_variable(
                "container",
                "Container",
                f"query_result({select(CHOICE)})",
                regex='/container_id="(?<value>[^"]+)".*name="(?<text>[^"]+)"/',
                multi=False,
            )
        ],
        oom=LAST_OF_ONE,
    )
