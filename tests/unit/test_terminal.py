"""Tables and colours for people, plain text for pipes."""

from __future__ import annotations

import io

import pytest

from nsexporter.views import terminal
from nsexporter.views.terminal import Cell, Column, Terminal

COLUMNS = (Column(title="NAME", flexible=True), Column(title="N", right=True))


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_is_as_wide_as_its_cells_need() -> None:
    lines = Terminal().table(COLUMNS, [("a", "1"), ("longer", "234")])
    assert lines == ["NAME      N", "a         1", "longer  234"]


def test_a_table_is_cut_to_the_terminals_width() -> None:
    lines = Terminal(width=16).table(COLUMNS, [("x" * 40, "1234")])
    assert lines == ["NAME           N", "xxxxxxxxx…  1234"]


def test_what_is_spare_is_left_out_where_cutting_does_not_do() -> None:
    columns = (*COLUMNS, Column(title="A", spare=True), Column(title="B", spare=True))
    row = ("x" * 40, "1", "2", "3")
    assert Terminal(width=17).table(columns, [row]) == ["NAME      N  A  B", "xxxxxxx…  1  2  3"]
    assert Terminal(width=16).table(columns, [row]) == ["NAME        N  A", "xxxxxxxxx…  1  2"]
    assert Terminal(width=8).table(columns, [row]) == ["NAME      N", "xxxxxxx…  1"]


def test_a_rare_column_is_there_where_a_row_has_something_in_it() -> None:
    columns = (*COLUMNS, Column(title="POD", rare=True))
    assert Terminal().table(columns, [("a", "1", "-")]) == ["NAME  N", "a     1"]
    rows = [("a", "1", "-"), ("b", "2", "web")]
    assert Terminal().table(columns, rows) == ["NAME  N  POD", "a     1  -", "b     2  web"]


def test_wide_letters_take_two_columns() -> None:
    lines = Terminal().table(COLUMNS, [("容器", "1"), ("abcd", "2")])
    assert lines[1:] == ["容器  1", "abcd  2"]


def test_a_name_cannot_move_the_cursor() -> None:
    line = Terminal(colours=True).table(COLUMNS, [("a\x1b[2J\r\u202e", "1")])[1]
    assert line.startswith("a\\x1b[2J\\r\\u202e") and "\x1b" not in line


def test_colours_are_shown_only_on_a_terminal_and_not_with_no_color(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert Terminal.of(Tty()).colours
    assert Terminal.of(io.StringIO()) == Terminal()
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Terminal.of(Tty()).colours
    red = Cell("1", terminal.RED)
    assert Terminal(colours=True).table(COLUMNS, [("a", red)])[1] == "a     \x1b[31m1\x1b[0m"
