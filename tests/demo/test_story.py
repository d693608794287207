"""What the demo says was measured, on a story whose figures can be counted on fingers."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import pytest

from tests.demo.observer import Seen, WrittenEvent
from tests.demo.samples import FAULT, START, event, notification, rollups, seen
from tests.demo.story import Fault, tell
from tests.demo.summary import steps, verdict


def test_points_are_counted_once_and_at_the_finest_resolution() -> None:
    fine = rollups()
    coarse = fine.head(6).with_columns(window=pl.lit(10_000_000_000))
    story = tell(seen(frame=pl.concat([fine, coarse])), FAULT)
    assert story.points == 60
    assert story.points_per_second == pytest.approx(1.0)
    assert story.windows == {2_000_000_000: 30, 10_000_000_000: 6}


def test_delays_are_those_between_the_fault_and_what_was_written() -> None:
    story = tell(seen(), FAULT)
    # The first window that is anomalous begins at 42 s, ends at 44 s, and is written 1.5 s later.
    took = [step.since for step in steps(story, FAULT)]
    assert took == pytest.approx([0.0, 5.0, 5.0, 6.0, 10.0, 9.0, 12.0])
    assert verdict(story, FAULT) == "The fault was found and told in 6.0 s, and its end in 12.0 s."
    assert story.is_over


def test_anomalies_are_told_apart_by_the_fault() -> None:
    story = tell(seen(frame=rollups((16, 18, 21, 22, 23, 28))), FAULT)
    assert story.anomalies == (2, 3, 1)


def test_an_alert_that_is_still_firing_is_not_over() -> None:
    story = tell(seen(resolved=False), FAULT)
    assert story.is_found
    assert not story.is_over
    assert story.firing == 1
    assert verdict(story, FAULT).endswith("but nobody was told that it is over.")


def test_an_alert_before_the_fault_is_a_false_one_and_finds_nothing() -> None:
    early, over = event("firing", START + 30), event("resolved", START + 30, START + 34)
    false = Seen(
        rollups(()),
        (WrittenEvent(START + 35.0, early), WrittenEvent(START + 39.0, over)),
        (notification(START + 36.0, early), notification(START + 40.0, over)),
    )
    story = tell(false, FAULT)
    assert len(story.false_alerts) == 1
    assert not story.is_found
    assert not story.is_over
    assert verdict(story, FAULT) == "The fault was not found: nobody was told of it."


def test_a_second_life_of_an_alert_must_resolve_too() -> None:
    once = seen()
    again = event("firing", START + 64)
    twice = replace(
        once,
        events=(*once.events, WrittenEvent(START + 68.0, again)),
        notifications=(*once.notifications, notification(START + 69.0, again)),
    )
    story = tell(twice, FAULT)
    assert len(story.alerts) == 2
    assert len(story.late_alerts) == 1
    assert not story.is_over


def test_what_was_told_to_a_chat_only_does_not_count_as_told_by_the_webhook() -> None:
    once = seen()
    chat = tuple(replace(one, channel="slack") for one in once.notifications)
    assert not tell(replace(once, notifications=chat), FAULT).is_found


def test_before_anything_has_come_there_is_nothing_to_tell() -> None:
    story = tell(Seen(), Fault())
    assert (story.points, story.series, story.rollups, story.alerts) == (0, 0, 0, ())
    assert story.first_anomaly is None
