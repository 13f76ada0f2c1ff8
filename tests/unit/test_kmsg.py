"""The kernel log's clock against the host's."""

from __future__ import annotations

from nsexporter.kernel.kmsg import Clock


def test_a_record_that_is_read_late_is_as_old_as_it_is() -> None:
    clock = Clock()
    assert clock.age(100.0, 100.25, new=True) == 0.25
    # What was told of it by a counter meanwhile is the same kill only if it is not taken as new.
    assert clock.age(101.0, 104.0, new=True) > 2.99
    assert clock.age(104.0, 104.0, new=True) == 0


def test_a_clock_that_falls_behind_is_followed() -> None:
    clock = Clock()
    ages = [clock.age(now * 0.9999, now, new=True) for now in range(0, 1_000_000, 3600)]
    assert max(ages) < 1.5


def test_an_exporter_that_starts_after_weeks_knows_with_the_first_new_record() -> None:
    weeks, clock = 2_000_000.0, Clock()
    assert clock.age(weeks - 100, weeks, new=False) == 100
    assert clock.age(weeks - 20, weeks, new=True) == 0
    assert clock.age(weeks - 15, weeks + 6, new=True) > 0.99


def test_a_clock_that_runs_ahead_is_followed_at_once() -> None:
    clock = Clock()
    assert clock.age(5.0, 3.0, new=False) == 0
    assert clock.age(6.0, 4.5, new=True) == 0.5


def test_what_was_there_before_is_as_old_as_it_says() -> None:
    assert Clock().age(10.0, 1000.0, new=False) == 990
