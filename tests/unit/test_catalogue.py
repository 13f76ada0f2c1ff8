"""The rows keep the rules that names and help texts have."""

from __future__ import annotations

import re
from pathlib import Path

from nsexporter.catalogue import METRICS
from nsexporter.catalogue.rows import Metric
from nsexporter.reference import reference
from nsexporter.selfmetrics import SELF_METRICS, SelfMetric

ROWS: tuple[Metric | SelfMetric, ...] = (*METRICS, *SELF_METRICS)


def test_names_are_unique_and_carry_their_type_and_unit() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names))
    for row in ROWS:
        assert re.fullmatch(r"(nsexporter|process|python)_[a-z_]+", row.name)
        assert (row.type == "counter") == row.name.endswith("_total"), row.name
        assert (row.type == "info") == row.name.endswith("_info"), row.name


def test_help_is_one_sentence_that_is_nobody_elses() -> None:
    texts = [row.help for row in ROWS]
    assert len(texts) == len(set(texts))
    for row in ROWS:
        assert (row.help.endswith((".", "; 1.")) and row.help[0].isupper()) or row.help[0] == "1"
        assert not set('\\\n"') & set(row.help)  # what would have to be escaped


def test_no_label_is_one_that_scrape_targets_have() -> None:
    for row in ROWS:
        labels = {*row.labels, getattr(row, "label", None)}
        assert not labels & {"container", "pod", "namespace", "instance", "job"}, row.name


def test_every_row_has_a_source() -> None:
    for row in METRICS:
        assert any(series.v1 or series.v2 for series in row.series) or row.sources[0], row.name


def test_the_reference_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "metrics.md"
    assert written.read_text(encoding="utf-8") == reference()


def test_help_says_what_may_be_some_passes_old() -> None:
    old = {row.name for row in METRICS if row.help.endswith(" (at most 16 passes old).")}
    assert "nsexporter_cgroup_memory_failcnt_total" in old
    assert not old & {
        "nsexporter_cgroup_memory_usage_bytes",  # read in every pass
        "nsexporter_cgroup_memory_limit_bytes",  # inotify tells
    }
