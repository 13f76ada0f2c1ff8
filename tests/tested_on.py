"""docs/tested-on.md from what pytest wrote of runs: kernel, distribution, runtime, cgroups, result.

python -m tests.tested_on build/tested/*.xml >docs/tested-on.md
"""

from __future__ import annotations

import dataclasses
import json
import re
import subprocess
import sys
import xml.etree.ElementTree
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from nsexporter.kernel import host, mounts
from nsexporter.kernel.files import Reader

HEAD = """\
# Tested on

Written from what tests gave in CI (`make test-all` runs all of them in full size and writes this
anew): each row is a directory of tests/ on a kernel, with the last result of each test.
Guests are Debian's kernels under QEMU with the root of the host; where a runtime is named, the
exporter was compared with that runtime's own answer. Skipped is what a kernel or host lacks.

| Kernel | Distribution | cgroups | Runtime | Tests | Passed | Skipped | Failed | Date |
|---|---|---|---|---|---:|---:|---:|---|
"""
# What tells the version of a runtime, by the module of tests/runtimes (or tests/systemd) about it.
VERSIONS = {
    "docker": (("docker", "--version"),),
    "containerd": (("containerd", "--version"),),
    "podman": (("podman", "--version"),),
    "oci": (("runc", "--version"), ("crun", "--version"), ("lxc-start", "--version")),
    "installed": (("/lib/systemd/systemd", "--version"),),
    "units": (
        *(("/lib/systemd/systemd", "--version"), ("docker", "--version")),
        *(("podman", "--version"), ("crun", "--version")),
    ),
}
# In test ids: a test of a guest, which is named by its file there.
_INNER = re.compile(r"test_in_a_guest\[[\w-]+?-(tests/\S+?)\.py::")


@dataclass(frozen=True, slots=True, order=True)
class Where:
    """What a test ran on; `cgroups` is v1, v2, hybrid or none."""

    kernel: str
    distribution: str
    cgroups: str
    runtime: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """A test that ran: `module` is dotted, `outcome` passed, skipped or failed."""

    where: Where
    module: str
    name: str
    outcome: str
    day: str


def here() -> Where:
    """This host, or the guest that runs this."""
    reader = Reader()
    about = host.host(reader, "/")
    return Where(about.kernel, about.distribution, mounts.find(reader, "/proc", "/sys", "/").mode)


def cases(report: str, ours: Where) -> Iterator[Case]:
    """The tests of a JUnit report; where one does not say what it ran on, it was `ours`."""
    for suite in xml.etree.ElementTree.fromstring(report).iter("testsuite"):
        day = suite.get("timestamp", "")[:10]
        for case in suite.iter("testcase"):
            told = {one.get("name"): one.get("value", "") for one in case.iter("property")}
            where = Where(**json.loads(told["where"])) if "where" in told else ours
            name = case.get("name", "")
            found = _INNER.match(name)
            module = found[1].replace("/", ".") if found else case.get("classname", "")
            outcomes = {"error": "failed", "failure": "failed", "skipped": "skipped"}
            outcome = next((outcomes[one.tag] for one in case if one.tag in outcomes), "passed")
            yield Case(where, module, name, outcome, day)


def version(command: tuple[str, ...]) -> str:
    """A program's name and version, '' where it is not installed."""
    try:
        told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError):
        return ""
    found = re.search(r"\d+\.\d+[\w.+~-]*", told)
    name = Path(command[0]).name.removesuffix("-start")
    return f"{name} {found[0]}" if found else ""


def runtimes(module: str) -> str:
    """The runtimes that a module is about, with their versions."""
    subject = module.rpartition(".test_")[2]
    return ", ".join(filter(None, map(version, VERSIONS.get(subject, ()))))


def last(ran: Iterable[Case]) -> list[Case]:
    """The last result of each test on each host."""
    return list({(case.where, case.module, case.name): case for case in ran}.values())


def document(ran: Iterable[Case]) -> str:
    """Markdown with a row for each host, runtime and directory of tests."""
    rows: dict[tuple[Where, str], list[Case]] = {}
    for case in ran:
        suite = case.module.split(".")[1]
        where = case.where
        if suite in ("runtimes", "systemd"):
            where = dataclasses.replace(where, runtime=runtimes(case.module))
        rows.setdefault((where, suite), []).append(case)
    lines = []
    for (where, suite), group in sorted(rows.items()):
        outcomes = [case.outcome for case in group]
        counts = (outcomes.count(outcome) for outcome in ("passed", "skipped", "failed"))
        cells = (*dataclasses.astuple(where), suite, *counts, max(case.day for case in group))
        lines.append(f"| {' | '.join(map(str, cells))} |\n")
    return HEAD + "".join(lines)


def main(files: list[str]) -> int:
    ours = here()
    ran = last(case for file in files for case in cases(Path(file).read_text(), ours))
    sys.stdout.write(document(ran))
    return any(case.outcome == "failed" for case in ran)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
