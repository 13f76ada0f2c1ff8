"""The code blocks of the documents, as their readers would copy them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCUMENTS = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INDENTED = re.compile(r"^(?: {4}|\t).*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its language and its text."""

    language: str
    text: str


def blocks(document: Path, language: str = "") -> list[Block]:
    """A document's fenced blocks, of one language where it is given."""
    found = [Block(*match) for match in _FENCED.findall(document.read_text(encoding="utf-8"))]
    return [block for block in found if language in ("", block.language)]


def indented(document: Path) -> list[str]:
    """Lines that are code by their indentation alone, of which no language is told."""
    return _INDENTED.findall(_FENCED.sub("", document.read_text(encoding="utf-8")))


def commands(document: Path) -> list[list[str]]:
    """The commands of each `sh` block; lines that end with a backslash go on in the next."""
    return [
        [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip()]
        for block in blocks(document, "sh")
    ]


def command(document: str, start: str) -> str:
    """The one command of docs/`document` that begins so, for a test that can run it."""
    (found,) = (
        line
        for block in commands(ROOT / "docs" / document)
        for line in block
        if line.startswith(start)
    )
    return found
