"""The documents: every command in them runs, every link leads somewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench import scale
from nsexporter.cli import parser
from tests.deploy.test_artifacts import copied
from tests.live.exporter import COMMAND

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCED = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(nsexporter(?: [^`]*)?)`")
LINK = re.compile(r"\[[^\]]+\]\(([^)#\s]*)(#[^)\s]+)?\)")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A checkout that was installed, with an exporter on the default port."""
    directory = copied(tmp_path_factory.mktemp("docs") / "nsexporter")
    make = ["make", "--silent", f"PYTHON={sys.executable}", ".venv/bin/nsexporter"]
    subprocess.run(make, cwd=directory, check=True)
    exporter = subprocess.Popen(
        [*COMMAND, "--web.listen-address=127.0.0.1:10061"], stderr=subprocess.PIPE, text=True
    )
    try:
        assert exporter.stderr is not None
        assert "listens on" in exporter.stderr.readline()
        yield directory
    finally:
        exporter.kill()
        exporter.communicate()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_in_a_shell_block_runs(document: Path, checkout: Path) -> None:
    environment = os.environ | {
        "PATH": f"{checkout}/.venv/bin:{os.environ['PATH']}",
        "VIRTUAL_ENV": "",
    }
    for block in FENCED.findall(document.read_text(encoding="utf-8")):
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=checkout,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
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


def anchors(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", document.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target, anchor in LINK.findall(document.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        path = (document.parent / target) if target else document
        assert path.exists(), f"{document.name}: {target}"
        if anchor and path.suffix == ".md":
            assert anchor[1:] in anchors(path), f"{document.name}: {target}{anchor}"
