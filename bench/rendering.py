"""Our renderer against prometheus-client's generate_latest, on the same families."""

from __future__ import annotations

import statistics
import time
from collections.abc import Hashable, Iterator

from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector as ClientCollector

from nsexporter import config, exposition
from nsexporter.catalogue import METRICS
from nsexporter.collector import Collector
from nsexporter.families.columns import Columns, Memo
from nsexporter.gzip import plain

_NAMES = {metric.name for metric in METRICS}


class _Families(ClientCollector):
    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        yield from self._families


def _rendered(key: Hashable) -> bool:
    """Whether it is lines or a family that the memo has by this key."""
    return key in _NAMES or (isinstance(key, tuple) and key[0] == "lines")


def compare(rounds: int) -> dict[str, float]:
    """Row name to figure: this host rendered, by us and by prometheus-client."""
    collector = Collector(config.load(None, {}))
    try:
        snapshot = collector.collect()
    finally:
        collector.close()
    memo: Memo = {}
    columns = Columns(snapshot, memo)
    text = plain(exposition.text(exposition.render(columns, METRICS)))
    registry = CollectorRegistry()
    registry.register(_Families(list(text_string_to_metric_families(text.decode()))))
    times: dict[str, list[float]] = {"first": [], "lines": [], "theirs": []}
    for _ in range(rounds):
        before = time.process_time()
        exposition.render(Columns(snapshot), METRICS)
        times["first"].append(time.process_time() - before)
        # As in a pass in which every family has changed; the memory of the old ones is used again.
        for key in [key for key in memo if _rendered(key)]:
            del memo[key]
        before = time.process_time()
        exposition.text(exposition.render(columns, METRICS))
        between = time.process_time()
        generate_latest(registry)
        times["lines"].append(between - before)
        times["theirs"].append(time.process_time() - between)
    first, lines, theirs = (statistics.median(some) * 1000 for some in times.values())
    return {
        "samples rendered": sum(not line.startswith(b"#") for line in text.splitlines()),
        "first render, nothing known: parse, derive, labels, lines, ms": first,
        "render, every line anew, labels and columns known, ms": lines,
        "generate_latest, values and labels known, ms": theirs,
        "first render ÷ generate_latest": first / theirs,
        "render ÷ generate_latest": lines / theirs,
    }
