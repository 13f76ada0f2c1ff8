"""A pass as samples: (name, labels) to value, read by prometheus-client's parser."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.parser import text_string_to_metric_families

from nsexporter import exposition
from nsexporter.catalogue import METRICS
from nsexporter.catalogue.rows import Metric
from nsexporter.collector import Collector
from nsexporter.families.columns import Columns
from nsexporter.gzip import plain

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def scrape(collector: Collector) -> Samples:
    return rendered(Columns(collector.collect()))


def rendered(columns: Columns, metrics: Sequence[Metric] = METRICS) -> Samples:
    """What the rows make of a snapshot."""
    return read(plain(exposition.text(exposition.render(columns, metrics))).decode())


def read(text: str) -> Samples:
    """An exposition's samples."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def of(samples: Samples, name: str, /, **labels: str) -> float | None:
    return samples.get((name, frozenset(labels.items())))


def capabilities_of(samples: Samples) -> dict[str, float]:
    """What nsexporter_capability tells, by name."""
    return {
        dict(labels)["name"]: value
        for (name, labels), value in samples.items()
        if name == "nsexporter_capability"
    }
