"""Captured hosts to whole expositions, held as text; `make golden` writes them anew."""

from __future__ import annotations

import contextlib
import gc
import gzip
import re
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as openmetrics_families,
)

from nsexporter import config, exposition
from nsexporter.catalogue import CADVISOR_METRICS, METRICS
from nsexporter.catalogue.rows import Metric
from nsexporter.collector import Collector
from nsexporter.families.columns import Columns, Memo
from nsexporter.gzip import Gzip, plain
from nsexporter.kernel.interface_files import WRITTEN
from tests import capture
from tests.samples import read

HOSTS = sorted((Path(__file__).parent / "hosts").glob("*.txtar"))


def families(
    host: Path, root: Path, rows: tuple[Metric, ...] = METRICS
) -> tuple[list[exposition.Family], Collector]:
    """What the exporter makes of a captured host."""
    collector = collector_of(host, root)
    try:
        columns = Columns(collector.collect())
        rendered = exposition.render(columns, rows)
    finally:
        collector.close()
    assert not columns.malformed
    return rendered, collector


def collector_of(host: Path, root: Path) -> Collector:
    """One that reads a captured host."""
    capture.expand(host.read_text(encoding="utf-8"), root)
    return Collector(
        config.load(
            None,
            {
                "path.procfs": str(root / "proc"),
                "path.sysfs": str(root / "sys"),
                "path.rootfs": str(root),
                "metadata.timeout": 30.0,
                "oom.kmsg": "none",
                "oom.state_file": "none",
            },
        )
    )


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_a_captured_host_gives_its_golden_exposition(
    host: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    rendered, collector = families(host, tmp_path)
    assert collector.health.success == dict.fromkeys(collector.health.success, True)
    assert not collector.reader.errors
    text = plain(exposition.text(rendered)).decode()
    golden = host.with_suffix(".metrics")
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["kubernetes-node", "v1-hybrid-docker"])
def test_a_captured_host_has_its_golden_exposition_under_cadvisors_names(
    name: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    host = next(path for path in HOSTS if path.stem == name)
    rows = tuple(row for row in CADVISOR_METRICS if row.name != "container_last_seen")  # the clock
    rendered, _ = families(host, tmp_path, rows)
    text = plain(exposition.text(rendered)).decode()
    golden = host.with_suffix(".cadvisor")
    if request.config.getoption("--update-golden"):
        golden.write_text(text, encoding="utf-8")
    assert text == golden.read_text(encoding="utf-8")
    # OpenMetrics has counters only with _total: what its strict parser takes is right.
    openmetrics = plain(exposition.openmetrics(rendered)).decode() + "# EOF\n"
    assert {family.name: family.type for family in openmetrics_families(openmetrics)}[
        "container_memory_failcnt"
    ] == "unknown"


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_prometheus_clients_parser_reads_both_formats_alike(host: Path, tmp_path: Path) -> None:
    rendered, _ = families(host, tmp_path)
    text = plain(exposition.text(rendered)).decode()
    openmetrics = plain(exposition.openmetrics(rendered)).decode() + "# EOF\n"
    strict = {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in openmetrics_families(openmetrics)
        for sample in family.samples
    }
    samples = read(text)
    assert samples == strict
    assert len(samples) == sum(plain(family.bodies).count(b"\n") for family in rendered)
    assert len(samples) > 300


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_families_compressed_as_they_are_made_are_the_same(host: Path, tmp_path: Path) -> None:
    member = Gzip()
    with contextlib.closing(collector_of(host, tmp_path)) as collector:
        rendered = exposition.render(Columns(collector.collect()), METRICS, member.chunk)
    golden = host.with_suffix(".metrics").read_bytes()
    assert gzip.decompress(b"".join(member.member(exposition.text(rendered)))) == golden
    assert plain(exposition.text(rendered)) == golden


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_no_sample_is_what_unlimited_or_absent_must_not_be(host: Path, tmp_path: Path) -> None:
    rendered, _ = families(host, tmp_path)
    for family in rendered:
        assert not re.search(rb" (-|92233720368547\d+)", plain(family.bodies)), family.name


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_what_a_pass_made_goes_with_it_not_with_the_garbage(host: Path, tmp_path: Path) -> None:
    collector = collector_of(host, tmp_path)
    memo: Memo = {}
    gc.disable()
    try:
        for _ in range(3):
            gc.collect()
            exposition.render(Columns(collector.collect(), memo), (*METRICS, *CADVISOR_METRICS))
        assert gc.collect() == 0
    finally:
        gc.enable()
        collector.close()


@pytest.mark.parametrize("host", HOSTS, ids=lambda path: path.stem)
def test_settings_that_are_the_same_are_one_object_of_all_cgroups(
    host: Path, tmp_path: Path
) -> None:
    with contextlib.closing(collector_of(host, tmp_path)) as collector:
        cgroups = collector.collect().cgroups
    texts = [cgroup.files[name] for cgroup in cgroups for name in WRITTEN & {*cgroup.files}]
    assert len({*map(id, texts)}) == len({*texts})
