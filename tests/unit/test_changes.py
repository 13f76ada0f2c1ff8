"""What tells that a state file has changed: real files, inotify and what is left without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from nsexporter.containers.changes import Changes
from nsexporter.containers.state import StateFiles


@pytest.fixture
def changes(tmp_path: Path) -> Iterator[Changes]:
    """Of two users: `a` has /a/state, `b` has that and /b/state; both are as they were."""
    files = StateFiles(str(tmp_path))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").write_text(name)
    changes = Changes(files)
    follow(changes, files, "a", "/a/state")
    follow(changes, files, "b", "/a/state", "/b/state")
    assert changes.users() == set()
    yield changes
    changes.close()


def follow(changes: Changes, files: StateFiles, user: str, *paths: str) -> None:
    stamps = {path: stamp for path in paths if (stamp := files.stamp(path)) is not None}
    assert len(stamps) == len(paths)
    changes.follow(user, stamps)


def replace(file: Path) -> None:
    new = file.with_name(f".{file.name}")
    new.write_text("other")
    new.rename(file)


def append(file: Path) -> None:
    with file.open("a") as open_:
        open_.write("more")


def overflow(directory: Path) -> None:
    most = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    for number in range(most // 2 + 1):
        (directory / str(number)).touch()
        os.unlink(directory / str(number))


@pytest.mark.parametrize("change", [replace, append, Path.unlink])
def test_a_change_is_told_to_all_who_use_the_file(
    changes: Changes, tmp_path: Path, change: Callable[[Path], None]
) -> None:
    change(tmp_path / "b" / "state")
    assert changes.users() == {"b"}
    change(tmp_path / "a" / "state")
    assert changes.users() >= {"a"}


def test_what_changed_between_reading_and_watching_is_told(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("a")
    files = StateFiles(str(tmp_path))
    changes = Changes(files)
    stamp = files.stamp("/state")
    assert stamp is not None
    replace(tmp_path / "state")
    changes.follow("a", {"/state": stamp})
    assert changes.users() == {"a"}
    changes.close()


def test_other_files_of_the_directory_are_nobodys(changes: Changes, tmp_path: Path) -> None:
    append(tmp_path / "a" / "state.log")
    assert changes.users() == set()


def test_a_directory_that_goes_or_is_replaced_is_told(changes: Changes, tmp_path: Path) -> None:
    (tmp_path / "b").rename(tmp_path / "old")
    assert changes.users() == {"b"}
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "state").write_text("another")
    assert changes.users() == {"b"}  # until it is read again
    follow(changes, StateFiles(str(tmp_path)), "b", "/b/state")
    assert changes.users() == set()


def test_what_inotify_lost_is_looked_for(changes: Changes, tmp_path: Path) -> None:
    overflow(tmp_path / "a")
    replace(tmp_path / "b" / "state")
    assert changes.users() == {"b"}
    assert changes.users() == {"b"}
    replace(tmp_path / "a" / "state")
    assert changes.users() == {"a", "b"}


def test_a_directory_whose_end_inotify_lost_is_watched_again(
    changes: Changes, tmp_path: Path
) -> None:
    overflow(tmp_path / "a")
    (tmp_path / "b" / "state").unlink()
    (tmp_path / "b").rmdir()
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "state").write_text("another")
    assert changes.users() == {"b"}
    follow(changes, StateFiles(str(tmp_path)), "b", "/b/state")
    assert changes.users() == set()
    replace(tmp_path / "b" / "state")
    assert changes.users() == {"b"}


def test_without_inotify_every_file_is_looked_at(changes: Changes, tmp_path: Path) -> None:
    changes.close()
    files = StateFiles(str(tmp_path))
    follow(changes, files, "a", "/a/state")
    assert changes.users() == set()
    replace(tmp_path / "a" / "state")
    assert changes.users() == {"a"}


def test_who_follows_nothing_any_more_is_told_nothing(changes: Changes, tmp_path: Path) -> None:
    changes.follow("b", {})
    replace(tmp_path / "b" / "state")
    replace(tmp_path / "a" / "state")
    assert changes.users() == {"a"}
