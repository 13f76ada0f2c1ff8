"""Text for a person at a terminal: tables and colours; plain when it is no terminal."""

from __future__ import annotations

import errno
import io
import os
import sys
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from nsexporter.views.units import printable

RED, YELLOW, GREEN, BOLD = "31", "33", "32", "1"
_GAP = "  "


@dataclass(frozen=True, slots=True)
class Cell:
    """A text and its colour (an SGR number of ECMA-48, empty for none)."""

    text: str
    colour: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table, and what becomes of it where the terminal is too narrow."""

    title: str
    right: bool = False
    flexible: bool = False  # it is cut
    spare: bool = False  # where cutting does not do, it is left out; the last of these first
    rare: bool = False  # it is left out anywhere when every cell is -


@dataclass(frozen=True, slots=True)
class Terminal:
    """Where text goes: its size (None: any) and whether it shows colours."""

    width: int | None = None
    colours: bool = False
    height: int | None = None

    @staticmethod
    def of(stream: TextIO) -> Terminal:
        """What `stream` is: colours only on a terminal, and not with NO_COLOR (no-color.org)."""
        if not stream.isatty():
            return Terminal()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        import shutil  # serving has no terminal

        width, height = shutil.get_terminal_size()
        return Terminal(width, not plain, height)

    def paint(self, text: str, colour: str) -> str:
        """`text` in a colour, where colours are shown."""
        return f"\x1b[{colour}m{text}\x1b[0m" if self.colours and colour else text

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[Cell | str]]) -> list[str]:
        """The lines of a table with a head; every cell printable, none wider than it may be."""
        cells = [
            [cell if isinstance(cell, Cell) else Cell(cell) for cell in row]
            for row in ([Cell(column.title, BOLD) for column in columns], *rows)
        ]
        cells = [[Cell(printable(cell.text), cell.colour) for cell in row] for row in cells]
        widths = {
            i: max(display_width(row[i].text) for row in cells)
            for i, column in enumerate(columns)
            if not column.rare or any(row[i].text != "-" for row in cells[1:])
        }
        if self.width is not None:
            widths = _narrowed(columns, widths, self.width)
        return [
            _GAP.join(
                self.paint(_padded(row[i].text, width, columns[i].right), row[i].colour)
                for i, width in widths.items()
            ).rstrip()
            for row in cells
        ]


def _narrowed(columns: Sequence[Column], widths: Mapping[int, int], total: int) -> dict[int, int]:
    """Widths by index that fit into `total`: the widest flexible column gives way, down to 8."""
    result = dict(widths)
    while sum(result.values()) + len(_GAP) * (len(result) - 1) > total:
        flexible = [i for i, width in result.items() if columns[i].flexible and width > 8]
        spare = [i for i in result if columns[i].spare]
        if flexible:
            result[max(flexible, key=lambda i: result[i])] -= 1
        elif spare:
            result = {i: widths[i] for i in result if i != spare[-1]}
        else:
            break
    return result


def _padded(text: str, width: int, right: bool) -> str:
    if display_width(text) > width:
        while display_width(text) > width - 1:
            text = text[:-1]
        text += "…"
    padding = " " * (width - display_width(text))
    return padding + text if right else text + padding


def display_width(text: str) -> int:
    """Columns that `text` takes on a terminal (Unicode Standard Annex 11, combining marks 0).

    >>> display_width("größe"), display_width("容器")
    (5, 4)
    """
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1
        for c in text
    )


def mend_streams() -> None:
    """Closed streams are /dev/null; a letter that an encoding has not is shown by its number."""
    if sys.stdout is None or sys.stderr is None:
        while os.open(os.devnull, os.O_RDWR) < 2:
            pass  # nothing that is opened later is to be taken for one of them
        sys.stdout, sys.stderr = sys.stdout or os.fdopen(1, "w"), sys.stderr or os.fdopen(2, "w")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


class OutputError(Exception):
    """Standard output takes nothing more, and not because its reader has gone."""


def write(lines: Iterable[str]) -> bool:
    """Print lines; False where the reader has gone, as `head` does, which is no error."""
    return _written(lambda: sys.stdout.writelines(f"{line}\n" for line in lines))


def write_bytes(chunks: Iterable[bytes]) -> bool:
    """The same of bytes as they are."""
    return _written(lambda: sys.stdout.buffer.writelines(chunks))


def _written(write: Callable[[], None]) -> bool:
    try:
        write()
        sys.stdout.flush()
    except OSError as error:
        # The interpreter would complain of it at exit otherwise.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno not in (errno.EPIPE, errno.EIO):  # a pipe, a terminal that was closed
            raise OutputError(error.strerror) from None
        return False
    return True
