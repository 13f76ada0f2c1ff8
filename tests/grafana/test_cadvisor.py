"""Expressions written for cAdvisor get answers from a real Prometheus, by --compat.cadvisor."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest

from tests.conftest import Need
from tests.grafana.stack import PROGRAMS, Stack, stack
from tests.live import lab
from tests.waiting import until

# As in cAdvisor's and Kubernetes' documentation, the kubernetes-mixin and dashboards for docker.
EXPRESSIONS = (
    'sum(container_memory_usage_bytes{id!="/"}) by (id)',
    'sum(container_memory_working_set_bytes{name!=""}) by (name)',
    'container_memory_rss{name!=""}',
    "sum(container_memory_cache) by (id)",
    'container_memory_max_usage_bytes{name!=""}',
    'rate(container_memory_failcnt{name!=""}[1m])',
    'sum(rate(container_memory_failures_total{failure_type="pgmajfault"}[1m])) by (id)',
    'increase(container_oom_events_total{name!=""}[1m])',
    'container_memory_working_set_bytes{name!=""}'
    ' / (container_spec_memory_limit_bytes{name!=""} < +Inf) * 100',
    'count(container_last_seen{name!=""})',
    'time() - container_last_seen{name!=""}',
    "sum(container_memory_usage_bytes) / on () group_left () machine_memory_bytes",
    'sum (container_memory_working_set_bytes{id="/"}) / sum (machine_memory_bytes) * 100',
    '(sum(container_memory_working_set_bytes{name!=""}) by (instance, name)'
    " / sum(container_spec_memory_limit_bytes > 0) by (instance, name) * 100) < 80",
    'count(rate(container_last_seen{name=~".+"}[1m]))',
    'topk(10, sum(container_memory_swap{name=~".+"}) by (name))',
    'container_memory_mapped_file{name=~".+"}',
    'absent(container_last_seen{name="gone"})',
)


@pytest.fixture(scope="module")
def scraped(need: Need, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A Prometheus with a minute's worth of samples of two containers, one with a limit."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    need("grafana", not missing and os.geteuid() == 0, f"not root, or not installed: {missing}")
    need("grafana", lab.memory_root() is not None, "no memory hierarchy to make cgroups in")
    with lab.pair(), stack(tmp_path_factory.mktemp("cadvisor"), "--compat.cadvisor") as running:
        until(lambda: running.query("container_last_seen offset 10s"), 60)
        yield running


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_an_expression_for_cadvisor_has_an_answer(expression: str, scraped: Stack) -> None:
    assert scraped.query(expression)


def test_usage_of_the_limit_is_that_of_the_one_with_a_limit(scraped: Stack) -> None:
    (answer,) = scraped.query(
        'container_memory_usage_bytes{id=~"/nsexporter-test-.*"}'
        ' / (container_spec_memory_limit_bytes{name!=""} < +Inf)'
    )
    assert 0 < float(answer["value"][1]) < 1
