"""What the exporter tells of its own process, against prometheus-client's collectors."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest
from prometheus_client import (
    CollectorRegistry,
    GCCollector,
    Metric,
    PlatformCollector,
    ProcessCollector,
)
from prometheus_client.parser import text_string_to_metric_families

from nsexporter import exposition
from nsexporter.gzip import plain
from nsexporter.kernel import itself
from nsexporter.kernel.files import Reader
from nsexporter.selfmetrics import families, of_process

TOLERANCES = {
    "process_cpu_seconds": 0.2,  # theirs in clock ticks
    "process_start_time_seconds": 1.1,  # theirs from btime, whole seconds
    "process_virtual_memory_bytes": 16 << 20,
    "process_resident_memory_bytes": 16 << 20,
    "process_open_fds": 1,  # theirs counts the descriptor that counts
}


def ours() -> dict[str, Metric]:
    rendered = plain(exposition.text(families(of_process(itself.itself(Reader())))))
    return {one.name: one for one in text_string_to_metric_families(rendered.decode())}


@pytest.fixture
def theirs() -> dict[str, Metric]:
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return {one.name: one for one in registry.collect()}


@pytest.fixture
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_the_process_is_told_as_prometheus_client_tells_it(
    no_garbage_collection: None, theirs: dict[str, Metric]
) -> None:
    found = ours()
    assert found.keys() == theirs.keys()
    for name, family in theirs.items():
        assert found[name].type == family.type
        own = {(one.name, frozenset(one.labels.items())): one.value for one in found[name].samples}
        expected = {(s.name, frozenset(s.labels.items())): s.value for s in family.samples}
        assert own == pytest.approx(expected, abs=TOLERANCES.get(name, 0))


def test_descriptors_are_counted_where_stat_does_not_tell(monkeypatch: pytest.MonkeyPatch) -> None:
    counted = itself.itself(Reader()).open_fds
    real = os.stat

    def before_6_2(path: str) -> os.stat_result:
        told = [*real(path)]
        told[6] = 0  # st_size
        return os.stat_result(told)

    monkeypatch.setattr(os, "stat", before_6_2)
    assert itself.itself(Reader()).open_fds == counted
    opened = [os.open("/", os.O_PATH) for _ in range(10)]
    try:
        assert itself.itself(Reader()).open_fds == (counted or 0) + 10
    finally:
        for fd in opened:
            os.close(fd)


def test_what_proc_does_not_tell_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(itself, "_PROC", "/proc/self/nothing")
    told = itself.itself(Reader())
    assert (told.virtual, told.resident, told.open_fds) == (None, None, None)
    assert {"process_resident_memory_bytes", "process_open_fds"}.isdisjoint(of_process(told))
