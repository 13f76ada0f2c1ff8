"""Every kill once, in whatever order and by whomever it is told of."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from nsexporter.model import Container, OomKill
from nsexporter.oom import state
from nsexporter.oom.account import accounts
from nsexporter.oom.ledger import Ledger

KILL = OomKill(time=1000.0, constraint="memcg", pid=7, comm="x")


def counts(ledger: Ledger) -> tuple[dict[str, dict[str, int]], int]:
    """Kills by cgroup and constraint, and those of no cgroup."""
    kills = {cgroup: entry.kills for cgroup, entry in ledger.entries.items() if entry.kills}
    assert ledger.attributed == sum(sum(one.values()) for one in kills.values())
    return kills, ledger.unattributed


def settle(ledger: Ledger, total: int | None, living: set[str], at: float) -> None:
    ledger.settle(total, living, at, 1000.0 + at)


def started(total: int = 0) -> Ledger:
    """A ledger after its first pass, at 0."""
    ledger = Ledger()
    settle(ledger, total, {"/a"}, 0.0)
    return ledger


def test_a_kill_told_by_the_log_and_then_by_the_counter_is_one() -> None:
    ledger = started()
    ledger.kill(KILL, "/a", sure=True, now=1.0)
    assert ledger.count("/a", 5, 1, 2.0) == 0
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 0)


def test_a_kill_told_by_the_counter_and_then_by_the_log_is_one() -> None:
    ledger = started()
    assert ledger.count("/a", 5, 1, 1.0) == 1
    ledger.kill(KILL, "/a", sure=True, now=1.1)
    settle(ledger, 1, {"/a"}, 1.0)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 0)
    assert ledger.entries["/a"].last == KILL


def test_a_line_of_the_log_that_comes_after_the_pass_is_not_counted_again() -> None:
    ledger = started()
    ledger.count("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)
    ledger.kill(KILL, "/a", sure=True, now=1.5)
    ledger.kill(replace(KILL, time=1002.5), "/a", sure=True, now=2.5)  # another one
    assert counts(ledger) == ({"/a": {"unknown": 1, "memcg": 1}}, 0)


def test_a_counter_of_a_cgroup_made_anew_begins_at_0() -> None:
    ledger = started()
    ledger.count("/a", 5, 2, 1.0)
    ledger.count("/a", 6, 2, 2.0)
    ledger.count("/a", 5, 3, 1.5)  # read before the other one was, told later
    settle(ledger, 4, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a": {"unknown": 4}}, 0)


def test_kills_of_an_earlier_cgroup_do_not_hide_those_of_its_successor() -> None:
    ledger = started()
    ledger.kill(KILL, "/a", sure=True, now=1.0)  # gone before its counter was read
    ledger.count("/a", 6, 0, 2.0)
    settle(ledger, 1, {"/a"}, 2.0)
    assert ledger.count("/a", 6, 1, 3.0) == 1
    settle(ledger, 2, {"/a"}, 3.0)
    assert sum(ledger.entries["/a"].kills.values()) == 2


def test_a_remembered_pid_needs_the_counter_or_a_cgroup_that_is_gone() -> None:
    ledger = started()
    ledger.kill(KILL, "/a", sure=False, now=1.0)
    ledger.kill(KILL, "/b", sure=False, now=1.0)
    ledger.count("/a", 5, 0, 2.0)
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/b": {"memcg": 1}}, 0)
    ledger.kill(KILL, "/a", sure=False, now=3.0)
    ledger.count("/a", 5, 1, 4.0)
    assert counts(ledger) == ({"/a": {"memcg": 1}, "/b": {"memcg": 1}}, 0)


def test_a_remembered_pid_whose_cgroup_is_gone_is_what_a_counter_above_told() -> None:
    ledger = started()
    ledger.kill(KILL, "/a/b", sure=False, now=1.0)
    assert ledger.count_below("/a", 5, 1, 1.0) == 1
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a/b": {"memcg": 1}}, 0)
    assert ledger.count_below("/a", 5, 1, 1.0) == 0


def test_a_cgroup_made_after_the_listing_is_not_counted_twice() -> None:
    ledger = started()
    ledger.kill(KILL, "/new", sure=False, now=1.0)
    settle(ledger, 0, {"/a"}, 2.0)  # listed before /new was made
    ledger.count("/new", 9, 1, 3.0)
    settle(ledger, 1, {"/a", "/new"}, 3.0)
    assert counts(ledger) == ({"/new": {"memcg": 1}}, 0)


def test_what_nothing_names_is_unattributed_after_a_second_and_for_good() -> None:
    ledger = started(10)
    assert counts(ledger) == ({}, 10)
    settle(ledger, 12, {"/a"}, 5.0)
    assert counts(ledger) == ({}, 10)
    settle(ledger, 12, {"/a"}, 5.5)
    assert counts(ledger) == ({}, 10)
    settle(ledger, 12, {"/a"}, 6.5)
    assert counts(ledger) == ({}, 12)
    settle(ledger, 12, {"/a"}, 9.0)
    assert counts(ledger) == ({}, 12)


def test_a_late_line_does_not_count_what_was_unattributed() -> None:
    ledger = started()
    settle(ledger, 1, {"/a"}, 5.0)
    settle(ledger, 1, {"/a"}, 6.5)
    ledger.kill(KILL, "/b", sure=True, now=7.0)
    assert counts(ledger) == ({}, 1)


def test_a_child_that_is_gone_shows_in_the_counter_above_it() -> None:
    ledger = started()
    assert ledger.count_below("/a/b", 6, 1, 1.0) == 1
    assert ledger.count_below("/a", 5, 1, 1.0) == 0  # the same kill
    settle(ledger, 1, {"/a", "/a/b"}, 1.0)
    assert ledger.count_below("/a", 5, 3, 1.0) == 2
    settle(ledger, 3, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a/b": {"unknown": 1}, "/a": {"unknown": 2}}, 0)


def test_a_log_line_moves_what_the_counter_above_told_to_the_child() -> None:
    ledger = started()
    ledger.count_below("/a", 5, 1, 1.0)
    ledger.kill(KILL, "/a/b", sure=True, now=1.1)
    settle(ledger, 1, {"/a"}, 1.0)
    assert counts(ledger) == ({"/a/b": {"memcg": 1}}, 0)
    ledger.count_below("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 3.0)
    assert counts(ledger) == ({"/a/b": {"memcg": 1}}, 0)


def test_what_the_counter_above_told_first_is_not_counted_again_for_the_child() -> None:
    ledger = started()
    ledger.count_below("/a", 5, 1, 1.0)  # /a/b was made after the listing
    ledger.kill(KILL, "/a/b", sure=True, now=1.1)
    ledger.count("/a/b", 9, 1, 1.2)
    settle(ledger, 1, {"/a"}, 1.0)
    assert ledger.count_below("/a", 5, 1, 2.0) == 0
    settle(ledger, 1, {"/a", "/a/b"}, 2.0)
    assert counts(ledger) == ({"/a/b": {"memcg": 1}}, 0)


def test_a_counter_below_tells_whose_kill_it_was_that_the_one_above_told_first() -> None:
    ledger = started()
    ledger.count_below("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)
    ledger.count("/a/b", 9, 1, 1.2)
    settle(ledger, 1, {"/a", "/a/b"}, 2.0)
    assert counts(ledger) == ({"/a/b": {"unknown": 1}}, 0)
    assert ledger.count_below("/a", 5, 2, 3.0) == 1  # so there was another in a child that is gone
    settle(ledger, 2, {"/a", "/a/b"}, 3.0)
    settle(ledger, 2, {"/a", "/a/b"}, 4.0)
    assert counts(ledger) == ({"/a": {"unknown": 1}, "/a/b": {"unknown": 1}}, 0)


def test_an_own_counter_read_before_the_kill_and_a_hierarchical_one_after_it_tell_of_one() -> None:
    ledger = started()
    ledger.count("/a", 5, 0, 1.0)
    ledger.count_below("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)
    ledger.count("/a", 5, 1, 2.0)
    ledger.count_below("/a", 5, 1, 2.0)
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a": {"unknown": 1}}, 0)


def test_a_kill_that_a_new_cgroups_counter_does_not_have_yet_is_expected_in_it() -> None:
    ledger = started()
    ledger.count("/a/b", 8, 1, 1.0)
    ledger.count_below("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)
    ledger.count("/a/b", 9, 1, 2.1)  # both are new, and /a was read before the kill
    assert ledger.count_below("/a", 6, 0, 2.0) == 0
    settle(ledger, 2, {"/a"}, 2.0)
    assert ledger.count_below("/a", 6, 1, 3.0) == 0
    settle(ledger, 2, {"/a"}, 3.0)
    assert counts(ledger) == ({"/a/b": {"unknown": 2}}, 0)


def test_a_kill_in_a_child_told_by_the_log_is_not_told_again_above() -> None:
    ledger = started()
    ledger.kill(KILL, "/a/b", sure=True, now=1.0)
    assert ledger.count_below("/a", 5, 1, 1.0) == 0
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a/b": {"memcg": 1}}, 0)


def test_a_group_kill_counts_as_the_kernel_counts_it() -> None:
    ledger = started()
    for pid in (1, 1, 2, 3, 4):  # the first victim is counted and printed twice
        kill = replace(KILL, pid=pid, group="/a")
        ledger.kill(kill, "/a", sure=pid == 1, now=1.0)
    ledger.count("/a", 5, 5, 2.0)
    ledger.count_below("/a", 5, 5, 1.0)
    settle(ledger, 5, {"/a"}, 2.0)
    assert counts(ledger) == ({"/a": {"memcg": 5}}, 0)


def test_who_was_out_of_memory_and_is_gone_had_the_kill_that_nobody_else_had() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.0, sure=True)
    settle(ledger, 1, {"/a"}, 1.2)
    settle(ledger, 1, {"/a"}, 2.5)
    assert counts(ledger) == ({"/b": {"unknown": 1}}, 0)
    ledger.suspects.add("/c", 3.0, sure=True)  # no kill is missing
    settle(ledger, 1, {"/a"}, 5.0)
    settle(ledger, 1, {"/a"}, 7.0)
    assert counts(ledger) == ({"/b": {"unknown": 1}}, 0)


def test_a_suspect_whose_kill_was_told_of_does_not_get_that_of_another() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.0, sure=True)
    ledger.kill(replace(KILL, time=1000.9), "/b", sure=True, now=1.0)
    settle(ledger, 2, {"/a"}, 1.2)
    settle(ledger, 2, {"/a"}, 2.5)
    assert counts(ledger) == ({"/b": {"memcg": 1}}, 1)


def test_a_suspect_whose_counter_told_its_kill_does_not_get_that_of_another() -> None:
    ledger = started()
    settle(ledger, 2, {"/a"}, 0.9)
    ledger.count("/b", 5, 1, 1.0)
    ledger.suspects.add("/b", 1.1, sure=True)  # told twice to be out of memory, and then gone
    settle(ledger, 3, {"/a"}, 2.5)
    settle(ledger, 3, {"/a"}, 3.5)
    assert counts(ledger) == ({"/b": {"unknown": 1}}, 2)


def test_a_cgroup_that_was_renamed_has_no_new_kills_for_that() -> None:
    ledger = started()
    ledger.count("/a", 5, 1, 1.0)
    ledger.count("/a/c", 6, 2, 1.0)
    settle(ledger, 3, {"/a", "/a/c"}, 1.0)
    ledger.kill(replace(KILL, time=1063.0), "/a", sure=True, now=63.0)  # not in its counter yet
    assert ledger.count("/z", 5, 2, 63.1) == 0
    assert ledger.count("/z/c", 6, 3, 63.1) == 1
    assert ledger.count("/a/c", 6, 3, 63.0) == 0  # listed before the rename
    settle(ledger, 5, {"/z", "/z/c"}, 63.0)
    assert counts(ledger) == (
        {"/a": {"unknown": 1, "memcg": 1}, "/a/c": {"unknown": 2}, "/z/c": {"unknown": 1}},
        0,
    )


def test_a_line_that_nothing_places_is_of_the_cgroup_that_went_with_it() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.1, sure=False)
    ledger.suspects.add("/c", 1.0, sure=True)  # certainly out of memory: before one that may be
    ledger.kill(KILL, None, sure=False, now=1.0)
    settle(ledger, 1, {"/a"}, 1.2)
    assert counts(ledger) == ({}, 0)  # another line may still say whose it is
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/c": {"memcg": 1}}, 0)
    assert ledger.entries["/c"].last == KILL
    settle(ledger, 1, {"/a"}, 9.0)
    assert counts(ledger) == ({"/c": {"memcg": 1}}, 0)


def test_in_a_storm_that_hides_what_is_missing_lines_find_their_cgroups() -> None:
    ledger = started()
    for number in range(1, 31):
        at = number / 2
        if number == 4:
            ledger.suspects.add("/lost", at, sure=True)
            ledger.kill(KILL, None, sure=False, now=at)
        else:
            ledger.kill(replace(KILL, time=1000 + at), f"/c{number}", sure=True, now=at)
        settle(ledger, number, {"/a"}, at + 0.1)
    assert ledger.entries["/lost"].kills == {"memcg": 1}
    assert ledger.attributed == 30


def test_of_two_cgroups_that_went_neither_is_blamed_for_a_single_kill() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.0, sure=False)
    ledger.suspects.add("/c", 1.0, sure=False)
    ledger.kill(KILL, None, sure=False, now=1.0)
    settle(ledger, 1, {"/a"}, 2.0)
    settle(ledger, 1, {"/a"}, 4.0)
    assert counts(ledger) == ({}, 1)


def test_a_line_that_a_living_cgroup_explains_is_not_of_one_that_is_gone() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.0, sure=False)
    ledger.kill(KILL, None, sure=False, now=1.0)
    ledger.count("/a", 5, 1, 2.0)
    settle(ledger, 1, {"/a"}, 2.0)
    settle(ledger, 1, {"/a"}, 4.0)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 0)


def test_a_suspect_of_long_before_has_nothing_to_do_with_a_line() -> None:
    ledger = started()
    ledger.suspects.add("/b", 1.0, sure=True)
    ledger.kill(KILL, None, sure=False, now=5.0)
    settle(ledger, 0, {"/a"}, 5.6)
    assert counts(ledger) == ({}, 0)


def test_lines_from_before_the_start_tell_of_nothing_that_came_after() -> None:
    ledger = Ledger()
    ledger.kill(KILL, None, sure=False, now=0.0)
    settle(ledger, 1, {"/a"}, 0.0)
    assert counts(ledger) == ({}, 1)
    settle(ledger, 2, {"/a"}, 1.0)
    settle(ledger, 2, {"/a"}, 3.0)
    assert [kill.pid for _, kill in ledger.news] == [KILL.pid, None]


def test_the_only_line_without_a_cgroup_tells_of_the_only_kill_without_a_line() -> None:
    ledger = started()
    ledger.kill(KILL, None, sure=False, now=1.0)
    ledger.count("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 0)
    assert ledger.entries["/a"].last == KILL


def test_without_a_total_a_line_that_nobody_can_place_is_unattributed() -> None:
    ledger = Ledger()
    settle(ledger, None, set(), 0.0)
    ledger.kill(KILL, None, sure=False, now=1.0)
    ledger.kill(KILL, "/a", sure=True, now=1.0)
    settle(ledger, None, set(), 1.5)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 0)
    settle(ledger, None, set(), 2.5)
    assert counts(ledger) == ({"/a": {"memcg": 1}}, 1)


def test_cgroups_that_are_gone_are_kept_for_a_while_and_no_more_than_so_many() -> None:
    ledger = started()
    for number, cgroup in enumerate(["/b", "/c", "/d"]):
        ledger.kill(KILL, cgroup, sure=True, now=1.0)
        settle(ledger, 0, {"/a"}, 2.0 + number)
    ledger.kill(KILL, "/a", sure=True, now=1.0)
    ledger.drop(before=2.5, most=10, living={"/a"})
    assert list(ledger.entries) == ["/c", "/d", "/a"]
    ledger.drop(before=0.0, most=1, living={"/a"})
    assert list(ledger.entries) == ["/d", "/a"]
    assert ledger.attributed == 4


@pytest.mark.parametrize("living", [{"/a"}, set[str]()], ids=["there", "gone"])
def test_a_containers_kills_do_not_fall_when_those_of_a_cgroup_below_it_are_old(
    living: set[str],
) -> None:
    ledger = started()
    container = Container(container_id="0", label_id="0", runtime="docker", cgroup="/a")
    for number, cgroup in enumerate(["/a/b", "/a/c"]):
        ledger.kill(replace(KILL, pid=number), cgroup, sure=True, now=1.0 + number)
        ledger.entries[cgroup].container = container
        settle(ledger, 2, living, 2.0 + number)
    ledger.drop(before=2.5, most=10, living=living)
    assert "/a/b" not in ledger.entries
    (account,) = accounts(ledger.entries, lambda _: True).values()
    assert account.kills == {"memcg": 2}
    ledger.drop(before=3.5, most=10, living=set())
    assert "/a/c" not in ledger.entries


def test_a_kill_that_waits_for_the_next_pass_outlives_its_cgroup() -> None:
    ledger = started()
    ledger.kill(KILL, "/b", sure=False, now=1.1)
    settle(ledger, 1, {"/a"}, 1.0)  # began before: whether /b is gone is told by the next one
    ledger.drop(before=0.0, most=10, living={"/a"})
    settle(ledger, 1, {"/a"}, 2.0)
    assert counts(ledger) == ({"/b": {"memcg": 1}}, 0)


def test_a_ledger_comes_back_from_its_state_as_it_was() -> None:
    ledger = started(3)
    ledger.kill(KILL, "/a", sure=True, now=1.0)
    ledger.kill(KILL, "/b", sure=False, now=1.0)
    ledger.kill(KILL, None, sure=False, now=1.0)
    ledger.count_below("/c", 5, 2, 1.0)
    ledger.suspects.add("/d", 1.0, sure=True)
    text = state.dump(state.Kept(ledger, 17, 2.5), "boot")
    loaded = state.load(text, "boot")
    assert loaded is not None
    assert loaded[1:] == (17, 2.5)
    assert state.dump(loaded, "boot") == text
    assert loaded.ledger.entries == ledger.entries
    assert state.load(text, "another boot") is None


def test_a_state_with_anything_of_another_type_is_rubbish() -> None:
    ledger = started(3)
    ledger.kill(KILL, "/a", sure=True, now=1.0)
    ledger.entries["/a"].container = Container(
        container_id="0" * 64, label_id="0", runtime="docker", cgroup="/a", labels=(("x", "y"),)
    )
    ledger.kill(KILL, "/b", sure=False, now=1.0)
    ledger.kill(KILL, None, sure=False, now=1.0)
    ledger.suspects.add("/d", 1.0, sure=True)
    text = state.dump(state.Kept(ledger, 17, 2.5), "boot")
    assert state.load(text, "boot") is not None
    taken = []
    for path in paths(json.loads(text)):
        wrong = json.loads(text)
        *above, last = path
        inside = wrong
        for step in above:
            inside = inside[step]
        inside[last] = {"wrong": "\N{SNOWMAN}"}
        try:
            if state.load(json.dumps(wrong).encode(), "boot") is not None:
                taken.append(path)
        except ValueError:
            pass
    assert taken == []


def paths(value: Any) -> Iterator[tuple[Any, ...]]:
    """The way to everything within a document."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for step, inside in pairs:
        yield (step,)
        if isinstance(inside, dict | list):
            yield from ((step, *more) for more in paths(inside))


def test_a_line_that_comes_after_its_kill_was_counted_is_nobody_elses() -> None:
    ledger = started()
    ledger.count("/a", 5, 1, 1.0)
    settle(ledger, 1, {"/a"}, 1.0)  # counted, and the log has said nothing yet
    ledger.suspects.add("/b", 1.2, sure=True)
    ledger.kill(KILL, None, sure=False, now=1.2)
    settle(ledger, 2, {"/a"}, 2.0)  # of the other kill in the total nothing was told yet
    assert counts(ledger) == ({"/a": {"unknown": 1}}, 0)
