"""Our renderer against prometheus-client's generate_latest, on the same families."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector as ClientCollector

from nsexporter import config, exposition
from nsexporter.catalogue import METRICS
from nsexporter.collector import Collector
from nsexporter.columns import Columns


class _Families(ClientCollector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def compare(rounds: int) -> dict[str, float]:
    """Row name to figure: this host rendered, by us and by prometheus-client."""
    collector = Collector(config.load(None, {}))
    try:
        snapshot = collector.collect()
    finally:
        collector.close()
    text = b"".join(exposition.text(exposition.render(Columns(snapshot), METRICS)))
    registry = CollectorRegistry()
    registry.register(_Families(list(text_string_to_metric_families(text.decode()))))
    ours, theirs = [], []
    for _ in range(rounds):
        before = time.process_time()
        exposition.text(exposition.render(Columns(snapshot), METRICS))
        between = time.process_time()
        generate_latest(registry)
        ours.append(between - before)
        theirs.append(time.process_time() - between)
    return {
        "samples rendered": sum(not line.startswith(b"#") for line in text.splitlines()),
        "render, ms": statistics.median(ours) * 1000,
        "generate_latest, ms": statistics.median(theirs) * 1000,
        "render ÷ generate_latest": statistics.median(ours) / statistics.median(theirs),
    }
