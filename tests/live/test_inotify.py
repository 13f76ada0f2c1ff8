"""inotify on real directories: what comes, and that a watch that is gone is no error."""

from __future__ import annotations

import contextlib
import select
from pathlib import Path

import pytest

from nsexporter.kernel.inotify import IN_CREATE, IN_DELETE, IN_ISDIR, Inotify


def test_what_is_made_and_removed_is_told_by_name(tmp_path: Path) -> None:
    with contextlib.closing(Inotify()) as inotify:
        assert inotify.read() == []
        wd = inotify.add(bytes(tmp_path), IN_CREATE | IN_DELETE)
        (tmp_path / "größe").mkdir()
        (tmp_path / "größe").rmdir()
        assert select.select([inotify], [], [], 0)[0] == [inotify]
        events = [(event.wd, event.mask, event.name.decode()) for event in inotify.read()]
        assert events == [(wd, IN_CREATE | IN_ISDIR, "größe"), (wd, IN_DELETE | IN_ISDIR, "größe")]
        inotify.remove(wd)
        inotify.remove(wd)


def test_a_path_that_is_not_there_is_an_error_with_its_name() -> None:
    with contextlib.closing(Inotify()) as inotify:
        with pytest.raises(FileNotFoundError) as caught:
            inotify.add(b"/nowhere/at/all", IN_CREATE)
        assert caught.value.filename == "/nowhere/at/all"
