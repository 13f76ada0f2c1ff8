"""The documents: every command in them runs, every query and file is right, every link leads on."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from bench import scale
from nsexporter.cli import parser
from nsexporter.reference import entries
from nsexporter.web import webconfig
from tests.conftest import Need
from tests.deploy.checkout import copied
from tests.documents import DOCUMENTS, ROOT, Block, blocks, commands, indented
from tests.grafana import rules

ELSEWHERE = {
    "make run": "the fixture below does, from a fresh copy",
    "make test": "it runs the tests that this one is of",
    "make demo": "it goes on until Ctrl-C; tests/grafana/test_live.py has the same scene",
    "make test-kernels": "guests under QEMU take longer than everything else together",
    ".venv/bin/python -m tests.kernels": "the same",
    "docker build": "tests/runtimes/test_image.py runs it, with a base that needs no registry",
    "docker run": "tests/runtimes/test_image.py runs it",
    "docker compose": "it takes images from a registry; its files are checked in test_artifacts.py",
    "kubectl apply": "it needs a cluster; test_artifacts.py has kubectl render the same",
    "systemctl": "it needs a host that systemd runs",
}
"""Commands that are not run here, by how they begin, and why."""
PLACEHOLDERS = {
    "<this repository>": str(ROOT),
    "NAME": "/",  # the root cgroup is one that there always is
    "FILE": "config.example.yaml",
    "$2y$10$…": "$2y$10$" + "x" * 53,
    # Debian builds Prometheus without it.
    "kubernetes_sd_configs: [{role: pod}]": "static_configs: []",
}
# doctor's status tells that something cannot be seen here, which is no failure of the command.
PRELUDE = """
nsexporter() {
    command nsexporter "$@" || { status=$?; [ "$1" = doctor ] && [ $status = 1 ]; }
}
"""
INLINE = re.compile(r"`(nsexporter(?: [^`]*)?)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(#[^)\s]+)?\)")
every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)


def filled(text: str) -> str:
    """`text` with something that there is in the place of every placeholder."""
    return re.sub(
        "|".join(rf"{re.escape(one)}(?!\w)" for one in PLACEHOLDERS),
        lambda found: PLACEHOLDERS[found[0]],
        text,
    )


def begins(command: str) -> str | None:
    """The longest entry of ELSEWHERE that the command begins with."""
    found = [one for one in ELSEWHERE if f"{command} ".startswith(f"{one} ")]
    return max(found, key=len, default=None)


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A fresh checkout in which `make run` was typed and has answered."""
    directory = copied(tmp_path_factory.mktemp("docs") / "nsexporter")
    environment = {  # not what the `make` that runs this test was given
        name: value for name, value in os.environ.items() if name not in ("ARGS", "MAKEFLAGS")
    }
    exporter = subprocess.Popen(
        ["make", "run"],
        cwd=directory,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert exporter.stderr is not None
        for line in exporter.stderr:
            if "listens on" in line:
                break
        else:
            pytest.fail("make run has ended")
        yield directory
    finally:
        os.killpg(exporter.pid, signal.SIGTERM)
        exporter.communicate()


@every_document
def test_every_command_runs(document: Path, checkout: Path, tmp_path: Path) -> None:
    environment = os.environ | {
        "PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}",
        "VIRTUAL_ENV": "",
    }
    for lines in commands(document):
        block = filled("\n".join(line for line in lines if begins(line) is None))
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", PRELUDE + block],
            cwd=tmp_path if "git clone" in block else checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


def test_no_code_is_without_a_language_that_is_tested() -> None:
    for document in DOCUMENTS:
        assert indented(document) == []
        assert {block.language for block in blocks(document)} <= {"sh", "promql", "yaml", "text"}


def test_what_is_run_elsewhere_is_still_in_a_document() -> None:
    given = [line for document in DOCUMENTS for lines in commands(document) for line in lines]
    assert {begins(line) for line in given} - {None} == set(ELSEWHERE)


def test_every_metric_that_is_named_is_one_that_there_is() -> None:
    known = {entry.name for entry in entries()}
    known |= {rule["record"].split(":")[1] for rule in rules.every() if "record" in rule}
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        for name in re.findall(r"(?<![\w/.-])(nsexporter_[a-z0-9_]*[a-z0-9])(?![\w*(])", text):
            assert name in known, f"{document.name}: {name}"


@pytest.mark.parametrize(
    "block", [block for document in DOCUMENTS for block in blocks(document, "yaml")]
)
def test_every_file_is_one_that_its_reader_takes(block: Block, need: Need, tmp_path: Path) -> None:
    file = tmp_path / "file.yaml"
    file.write_text(filled(block.text), encoding="utf-8")
    if "tls_server_config" in yaml.safe_load(block.text):
        webconfig.load(str(file))
        return
    promtool = shutil.which("promtool")
    need("deploy", promtool is not None, "promtool is not installed")
    check = [str(promtool), "check", "config", "--syntax-only", str(file)]
    told = subprocess.run(check, capture_output=True, text=True)
    assert told.returncode == 0, told.stderr


@every_document
def test_every_command_in_the_text_is_one_that_there_is(document: Path) -> None:
    top = parser()
    for command in INLINE.findall(document.read_text(encoding="utf-8")):
        words = command.split()[1:]
        given = ["x" if re.fullmatch(r"\[?[A-Z][A-Z|…]*\]?|…", word) else word for word in words]
        try:
            top.parse_args([word for word in given if word not in ("--help", "--version")])
        except SystemExit:
            pytest.fail(f"{document.name}: `{command}` is not a command")


def test_the_lean_selection_is_the_one_that_was_measured() -> None:
    text = (ROOT / "docs/scale.md").read_text(encoding="utf-8")
    (lean,) = re.findall(r'regex: "(nsexporter_\(.*\))"\n +action: keep', text)
    (sent,) = re.findall(r'regex: "\(instance\|cgroup\):nsexporter_\.\*\|(.*)"', text)
    assert lean == sent == scale.LEAN


def test_the_lean_selection_has_what_alerts_and_the_fleet_dashboard_need() -> None:
    fleet = (ROOT / "grafana/dashboards/fleet.json").read_text(encoding="utf-8")
    wanted = " ".join([fleet, *(rule["expr"] for rule in rules.every())])
    names = set(re.findall(r"(?<![\w:-])nsexporter_\w+", wanted))
    assert {name for name in names if not re.fullmatch(scale.LEAN, name)} == set()


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path = (document.parent / target) if target else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor[1:] in anchors(path), f"{document.name}: {target}{anchor}"
