"""Namespaces: how many, who is in the host's, who shares what, which nobody is in."""

from __future__ import annotations

from grafana.board import dashboard
from grafana.expressions import by_name
from grafana.panels import GREEN, ORANGE, SHARE, Json, Query, ranking, row, stat, timeseries
from grafana.tables import table, value_map
from nsexporter.model import NS_TYPES

HOSTS = value_map(_1=("host", ORANGE), _0=("own", GREEN))
PER_NAMESPACE = "instance, ns_type, ns_inode"
NOT_THE_HOSTS = (
    'unless on (job, instance, ns_type, ns_inode) nsexporter_namespace_info{scope="host"}'
)


def namespaces() -> Json:
    processes = (
        "nsexporter_namespace_processes * on (job, instance, ns_type, ns_inode)"
        " group_left (scope) nsexporter_namespace_info"
    )
    shared = (
        "nsexporter_container_namespace_info and on (job, instance, ns_type, ns_inode)"
        f" (nsexporter_namespace_containers > 1 {NOT_THE_HOSTS})"
    )
    largest = f"topk(30, max by ({PER_NAMESPACE}, scope) ({processes}))"
    members_of = by_name(
        f"nsexporter_container_namespace_info {NOT_THE_HOSTS}", "ns_type", "ns_inode"
    )
    members = f"max by ({PER_NAMESPACE}) (nsexporter_namespace_containers > 1)"
    return dashboard(
        "nsexporter-namespaces",
        "nsexporter / Namespaces",
        "Namespaces by type, containers in the host's, sharing, and what nobody is in any more.",
        [
            stat(
                "Namespaces",
                "Namespaces of all types that at least one process is in.",
                "sum(nsexporter_namespaces)",
                "short",
            ),
            stat(
                "Nearest to its limit",
                "The type that uses most of what /proc/sys/user/max_*_namespaces allows a user.",
                "max(nsexporter_namespaces_limit_used_ratio)",
                "percentunit",
                steps=SHARE,
            ),
            stat(
                "In host namespaces",
                "Containers with a process in the host's own mnt, pid, net, ipc or uts namespace.",
                "count(max by (instance, cgroup) (nsexporter_container_host_namespace"
                '{ns_type=~"mnt|pid|net|ipc|uts"} == 1))',
                "short",
                graph=False,
                steps=((None, GREEN), (1, ORANGE)),
                empty="0",
            ),
            stat(
                "Sharing across pods",
                "Containers that share a namespace with one that is not of their pod, the host's"
                " namespaces left out.",
                "count(max by (instance, cgroup)"
                " (nsexporter_container_namespace_peers_outside_pod > 0))",
                "short",
                graph=False,
                steps=((None, GREEN), (1, ORANGE)),
                empty="0",
            ),
            stat(
                "Without a process",
                "Namespaces that no process is in: kept by a mount, an open descriptor or a child.",
                "sum(nsexporter_namespaces_without_process)",
                "short",
                empty="0",
            ),
            stat(
                "Forgotten for a day",
                "Namespaces that no process has been in for longer than a day.",
                "sum(nsexporter_namespaces_without_process_for_day)",
                "short",
                steps=((None, GREEN), (1, ORANGE)),
                empty="0",
            ),
            table(
                "By type",
                "Namespaces with a process against what the host allows a user to make.",
                [
                    Query(
                        expr="max by (instance, ns_type) (nsexporter_namespaces)",
                        ref="count",
                        column="Namespaces",
                        unit="none",
                        width=125,
                    ),
                    Query(
                        expr="max by (instance, ns_type) (nsexporter_namespaces_limit)",
                        ref="limit",
                        column="Limit",
                        unit="none",
                        width=90,
                    ),
                    Query(
                        expr="max by (instance, ns_type) (nsexporter_namespaces_limit_used_ratio)",
                        ref="used",
                        column="Used",
                        unit="percentunit",
                        steps=SHARE,
                        bar=True,
                        width=140,
                    ),
                    Query(
                        expr="max by (instance, ns_type) (nsexporter_host_namespace_containers)",
                        ref="host",
                        column="Containers in host's",
                        unit="none",
                        width=155,
                    ),
                    Query(
                        expr="sum by (instance, ns_type) (nsexporter_namespaces_without_process)",
                        ref="without",
                        column="Without a process",
                        unit="none",
                        width=145,
                    ),
                ],
                {"instance": "Host", "ns_type": "Type"},
                size=(14, 10),
                sort="Namespaces",
                widths={"ns_type": 80},
                empty="",
            ),
            timeseries(
                "Namespaces in the course of time",
                "Namespaces with a process, by type.",
                [
                    Query(
                        expr="sum by (ns_type) (nsexporter_namespaces)",
                        legend="{{ns_type}}",
                    )
                ],
                "short",
                size=(10, 10),
            ),
            row("Who is where"),
            table(
                "Containers in the host's namespaces",
                "Own or the host's, for each type. Containers are in the host's user and time"
                " namespaces by default, and on v1 in its cgroup namespace.",
                [
                    Query(
                        expr=by_name(f'nsexporter_container_host_namespace{{ns_type="{ns_type}"}}'),
                        ref=ns_type,
                        column=ns_type,
                        unit="none",
                        mappings=(HOSTS,),
                        steps=((None, "text"),),
                        width=90,
                    )
                    for ns_type in NS_TYPES
                ],
                {"instance": "Host", "name": "Container"},
                size=(24, 9),
                sort="pid",
                widths={"instance": 150},
                empty="",
            ),
            table(
                "Shared namespaces",
                "Namespaces with several containers, the host's left out: who is in each. Within a"
                " pod that is as it should be.",
                [
                    Query(
                        expr=by_name(shared, "ns_type", "ns_inode"),
                        ref="member",
                        hidden=True,
                    ),
                    Query(
                        expr=f"{members} unless max by ({PER_NAMESPACE})"
                        ' (nsexporter_namespace_info{scope="host"})',
                        ref="count",
                        column="Containers in it",
                        unit="none",
                    ),
                ],
                {
                    "instance": "Host",
                    "ns_type": "Type",
                    "ns_inode": "Inode",
                    "name": "Container",
                },
                size=(12, 9),
                sort="Inode",
                descending=False,
                widths={"instance": 130, "ns_type": 70, "ns_inode": 110},
                empty="no container shares one",
            ),
            ranking(
                "Most processes",
                "Namespaces with the most processes, the host's left out.",
                f"topk(12, max by ({PER_NAMESPACE}) (nsexporter_namespace_processes"
                f" {NOT_THE_HOSTS}))",
                "short",
                legend="{{ns_type}} {{ns_inode}} @ {{instance}}",
                size=(12, 9),
            ),
            row("Left behind"),
            timeseries(
                "Namespaces without a process",
                "Namespaces that no process is in, by type and what keeps them. What only grows is"
                " a leak.",
                [
                    Query(
                        expr="sum by (ns_type, held_by) (nsexporter_namespaces_without_process)"
                        " > 0",
                        legend="{{ns_type}} held by {{held_by}}",
                    )
                ],
                "short",
                size=(10, 8),
                stack=True,
                empty="none",
            ),
            table(
                "What is left behind",
                "Each namespace without a process: what keeps it, where it is mounted, since when.",
                [
                    Query(
                        expr=f"max by ({PER_NAMESPACE}, held_by, path) (nsexporter_namespace_info"
                        " and on (job, instance, ns_type, ns_inode)"
                        " nsexporter_namespace_without_process_since_timestamp_seconds)",
                        ref="info",
                        hidden=True,
                    ),
                    Query(
                        expr=f"max by ({PER_NAMESPACE})"
                        " (nsexporter_namespace_without_process_since_timestamp_seconds) * 1000",
                        ref="since",
                        column="Since",
                        unit="dateTimeFromNow",
                        width=130,
                    ),
                ],
                {
                    "instance": "Host",
                    "ns_type": "Type",
                    "ns_inode": "Inode",
                    "held_by": "Held by",
                    "path": "Path",
                },
                size=(14, 8),
                sort="Since",
                descending=False,
                widths={"instance": 130, "ns_type": 70, "ns_inode": 110, "held_by": 90},
            ),
            table(
                "All namespaces by processes",
                "The thirty namespaces with the most processes, and the containers in each, the"
                " host's left out: one row for each.",
                [
                    Query(
                        expr=f"{members_of} and on ({PER_NAMESPACE}) {largest}",
                        ref="member",
                        hidden=True,
                    ),
                    Query(
                        expr=largest,
                        ref="processes",
                        column="Processes",
                        unit="none",
                        width=110,
                    ),
                ],
                {
                    "instance": "Host",
                    "ns_type": "Type",
                    "ns_inode": "Inode",
                    "scope": "Scope",
                    "name": "Container",
                },
                size=(24, 8),
                sort="Processes",
                empty="",
            ),
        ],
    )
