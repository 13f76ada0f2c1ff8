"""Expressions of the dashboards: PromQL that is written without the host.

`select` adds `job` and `instance` to every selector, so that these live in one place.
"""

from __future__ import annotations

import re

HOST = 'job=~"$job",instance=~"$instance"'
NAME = r"///(/.*)|//([^/]+)//.*|/?([^/]+(?:/[^/]+)?)/{1,2}[^/]*//.*"
"""Of pod_name/container_name/container_id/cgroup: what a person calls it."""


def select(expr: str) -> str:
    """The expression with the chosen hosts in every selector, on one line.

    >>> select('rate(nsexporter_x_total{a="b"}[5m])')
    'rate(nsexporter_x_total{job=~"$job",instance=~"$instance",a="b"}[5m])'
    >>> select("time() - nsexporter_y")
    'time() - nsexporter_y{job=~"$job",instance=~"$instance"}'
    """

    def add(found: re.Match[str]) -> str:
        return f"{found[1]}{{{HOST}" + ("," if found[2] else "}")

    expr = " ".join(expr.split())
    return re.sub(
        r"\b((?:instance:|cgroup:)?(?:nsexporter|process|scrape)_[\w:]+|up\b)(\{)?", add, expr
    )


def named(expr: str) -> str:
    """The same with a label `name`: pod/container, else container, its id, the cgroup's path."""
    joined = f'label_join({expr}, "name", "/", "pod_name", "container_name", "container_id",'
    return f'label_replace({joined} "cgroup"), "name", "$1$2$3", "name", "{NAME}")'


def by_name(expr: str, *labels: str) -> str:
    """One series for each host and name (and what else is asked for)."""
    return f"max by ({', '.join(('instance', 'name', *labels))}) ({named(expr)})"


def kills_drawn(selector: str = "") -> str:
    """OOM kills between two points of a graph, integers kept (`increase()` extrapolates).

    A series that is born above 0 counts where its last kill was in that time, or some scrapes
    before it: the first one that has it comes later than the kill. What was killed in the time
    range is 0 at other points: bars are as wide as their series' points are near.
    """
    now = f"nsexporter_oom_kills_total{selector}"
    last = f"nsexporter_oom_last_kill_timestamp_seconds{selector}"
    return (
        f"({now} - {now} offset $__interval > 0"
        f" or ({now} > 0 unless {now} offset $__interval) and on (job, instance, cgroup)"
        f" {last} > time() - $__rate_interval_ms / 1000"
        f" or 0 * ({now} > 0) and on (job, instance, cgroup)"
        f" last_over_time({last}[$__range] @ end()) > $__from / 1000)"
    )


def kills(selector: str = "") -> str:
    """OOM kills in the whole time range, of what is gone too.

    A counter that is new, or was reset, counts where its last kill was in the range.
    """
    now = f"last_over_time(nsexporter_oom_kills_total{selector}[$__range])"
    return (
        f"({now} - nsexporter_oom_kills_total{selector} offset $__range > 0"
        f" or {now} > 0 and on (job, instance, cgroup)"
        f" last_over_time(nsexporter_oom_last_kill_timestamp_seconds{selector}[$__range])"
        " > time() - $__range_s)"
    )
