"""The rows as documents: `python -m nsexporter.reference [--check] docs`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import compress
from pathlib import Path

from nsexporter.catalogue import CADVISOR_METRICS, CGROUP_METRICS
from nsexporter.catalogue.breakdown import BREAKDOWN_METRICS
from nsexporter.catalogue.host import HOST_METRICS
from nsexporter.catalogue.namespaces import NAMESPACE_METRICS
from nsexporter.catalogue.oom import OOM_METRICS
from nsexporter.catalogue.rows import Metric
from nsexporter.config import ROWS
from nsexporter.families.labels import CGROUP_LABELS
from nsexporter.selfmetrics import SELF_METRICS

_HEAD = """\
# Metrics

Generated from the catalogue by `make docs`; do not edit.

A source that is absent on a host yields no sample: never 0, -1 or a large number. No limit is
`+Inf`. Every sample of a cgroup has the label `cgroup` (its path in the hierarchy that carries
memory); on a container's own cgroup `container_id` and, where the runtime's state tells,
`container_name`; on a pod's cgroup and those below it, where that is known, `pod_name` and
`pod_namespace`.
"""
_NOTES = {
    "Under cAdvisor's names": (
        "\nOnly with `compat.cadvisor`; [cadvisor.md](cadvisor.md) has the differences.\n"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What is told of one metric; `v1` and `v2` are its sources in words, empty for none."""

    name: str
    type: str
    help: str
    labels: tuple[str, ...]
    unit: str = ""
    v1: str = ""
    v2: str = ""
    since: str = ""

    @property
    def facts(self) -> list[str]:
        """Its sources and the kernel that first has them, in words."""
        told = [("v1: ", self.v1), ("v2: ", self.v2), ("since Linux ", self.since)]
        if self.v1 == self.v2:
            told[:2] = [("from ", self.v1)]
        return [f"{lead}{text}" for lead, text in told if text]

    def as_json(self) -> dict[str, object]:
        """The same as JSON has it; what is empty is left out."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for field in fields(self)
            if (value := getattr(self, name := field.name))
        }


_CONFIGURATION_HEAD = """\
# Configuration

Generated from the settings by `make docs`; do not edit.

Every setting has a default; `--config.file FILE` names a YAML file, flags win over it.
[config.example.yaml](../config.example.yaml) is the same as a file, `nsexporter check-config FILE`
says whether a file is right, SIGHUP reads it again. `collectors: {pids: false}` is short for
`collectors: {pids: {enabled: false}}`. The web configuration file (TLS, passwords) is another one:
[security.md](security.md).
"""
_CONFIGURATION_COLUMNS = ("key", "flag", "default", "why")


def sections() -> list[tuple[str, list[Entry]]]:
    """Every metric, below the headings of docs/metrics.md."""
    host = BREAKDOWN_METRICS + OOM_METRICS + HOST_METRICS + NAMESPACE_METRICS
    own = [Entry(name=m.name, type=m.type, help=m.help, labels=m.labels) for m in SELF_METRICS]
    return [
        ("Cgroups", list(map(_entry, CGROUP_METRICS))),
        ("Containers, namespaces and the host", list(map(_entry, host))),
        ("Under cAdvisor's names", list(map(_entry, CADVISOR_METRICS))),
        ("The exporter itself", own),
    ]


def reference() -> str:
    """docs/metrics.md, whole."""
    parts = [_HEAD]
    for title, found in sections():
        parts += [f"\n## {title}\n", _NOTES.get(title, ""), _table(found)]
    return "".join(parts)


def _table(found: Sequence[Entry]) -> str:
    """The columns of which an entry tells something."""
    head = ("name", "type", "labels", "unit", "meaning", "v1 source", "v2 source", "since kernel")
    rows = [
        (
            f"`{entry.name}`",
            entry.type,
            ", ".join(entry.labels) or "-",
            entry.unit or "-",
            entry.help,
            entry.v1 or "-",
            entry.v2 or "-",
            entry.since or "-",
        )
        for entry in found
    ]
    told = [any(row[i] != "-" for row in rows) for i in range(len(head))]
    return _rows(*([*compress(line, told)] for line in (head, *rows)))


def _entry(metric: Metric) -> Entry:
    names = CGROUP_LABELS if metric.series and not metric.labels else metric.labels
    v1, v2 = metric.sources
    if metric.series and not v1:
        v1 = ", ".join(series.v1.text for series in metric.series if series.v1)
        v2 = ", ".join(series.v2.text for series in metric.series if series.v2)
    return Entry(
        name=metric.name,
        type=metric.type,
        help=metric.help,
        labels=(*names, metric.label) if metric.label and not metric.labels else names,
        unit=metric.unit,
        v1=v1,
        v2=v2,
        since=metric.since,
    )


def entries() -> list[Entry]:
    """Every metric, the exporter's own last."""
    return [entry for _, found in sections() for entry in found]


def _rows(head: Sequence[str], *rows: Sequence[str]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n" + "".join(f"| {' | '.join(line)} |\n" for line in lines)


def configuration() -> str:
    """docs/configuration.md, whole."""
    parts = [_CONFIGURATION_HEAD]
    section = None
    rows: list[tuple[str, ...]] = []
    for row in ROWS:
        if row.key.partition(".")[0] != section:
            parts += [_rows(_CONFIGURATION_COLUMNS, *rows)] if rows else []
            section, rows = row.key.partition(".")[0], []
            parts.append(f"\n## {section}\n")
        flag = f"`{row.flag}`" if row.flag else "-"
        rows.append((f"`{row.key}`", flag, f"`{row.default_text()}`", row.why.replace("|", "\\|")))
    return "".join([*parts, _rows(_CONFIGURATION_COLUMNS, *rows)])


DOCUMENTS = {"metrics.md": reference, "configuration.md": configuration}
"""What is generated, by its name in docs/."""


def main(arguments: Sequence[str]) -> int:
    """Write the documents, or with --check say whether they are current."""
    *flags, directory = arguments
    stale = 0
    for name, document in DOCUMENTS.items():
        path = Path(directory) / name
        if "--check" not in flags:
            path.write_text(document(), encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != document():
            print(f"{path} is stale: run make docs", file=sys.stderr)
            stale = 1
    return stale


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
