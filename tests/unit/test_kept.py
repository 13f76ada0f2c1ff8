"""Files that are kept open and read together."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from nsexporter.kernel.cgroup import Cgroup, Plan
from nsexporter.kernel.discovery import Node
from nsexporter.kernel.kept import Column

PLAN = Plan.of(["memory.stat"], frozenset(), told=True, exact=False)


def test_a_column_tells_what_has_changed_and_keeps_no_other_copy_of_it(tmp_path: Path) -> None:
    texts = [b"anon 1\n", b"anon 2\n", b"anon 3 and more than is read at first\n"]
    paths = [tmp_path / str(number) for number in range(len(texts))]
    cgroups = [Cgroup(Node(path.name, "/", None, 1), 0, PLAN, "/") for path in paths]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    opened = [os.open(path, os.O_RDONLY) for path in paths]
    try:
        column = Column(16)
        for one in zip(cgroups, opened, texts, strict=True):
            column.add(*one)
        assert [*column.read()] == []
        paths[1].write_bytes(b"anon 4\n")
        ((changed, told),) = column.read()
        assert (changed, told) == (cgroups[1], b"anon 4\n")
        before = sys.getrefcount(told)
        assert [*column.read()] == []
        assert sys.getrefcount(told) == before  # the one that was read now is gone again
        paths[2].write_bytes(b"anon 5 and more than is read at first\n")
        paths[1].write_bytes(b"anon 2\n")
        assert [*column.read()] == [
            (cgroups[1], b"anon 2\n"),
            (cgroups[2], b"anon 5 and more than is read at first\n"),
        ]
    finally:
        for fd in opened:
            os.close(fd)


def test_texts_that_grow_are_whole_however_many_do_at_once(tmp_path: Path) -> None:
    paths = [tmp_path / str(number) for number in range(3)]
    cgroups = [Cgroup(Node(path.name, "/", None, 1), 0, PLAN, "/") for path in paths]
    opened = []
    try:
        column = Column(4096)
        for one, path in zip(cgroups, paths, strict=True):
            path.write_bytes(b"short\n")
            opened.append(os.open(path, os.O_RDONLY))
            column.add(one, opened[-1], b"short\n")
        for length in (300, 256, 5000, 4096, 1024):
            texts = [b"%d" % number * length for number in range(3)]
            for path, text in zip(paths, texts, strict=True):
                path.write_bytes(text)
            assert [*column.read()] == [*zip(cgroups, texts, strict=True)]
            assert [*column.read()] == []
    finally:
        for fd in opened:
            os.close(fd)
