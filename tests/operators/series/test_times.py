"""Times are judged by what is in the log: the message's own timestamp, and the calendar."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.series.times import both, judge_times, limits_of, reasons_of, skipped_of

SECOND = 10**9
NOW = 1_700_000_000 * SECOND
FUTURE = 600 * SECOND
SANE = 946_684_800 * SECOND
LAST = 4_102_444_800 * SECOND
LEAST = np.iinfo(np.int64).min
relaxed = settings(deadline=None)  # the first call compiles


def judge(points, times, places=None, tolerance=2 * SECOND):
    """Judge points, which are pairs of a message and a time."""
    of = np.array(places if places is not None else [0] * len(times))
    caps, limits = limits_of(np.array(times, np.int64), FUTURE)
    return judge_times(
        np.array([ts for _, ts in points], np.int64),
        np.array([message for message, _ in points], np.uint32),
        of, int(of.max()) + 1, caps, limits, tolerance,
    )  # fmt: skip


def told(points, encoding="otlp_proto"):
    """Return what is said of the times of one message that Kafka has at NOW."""
    faults = judge([(0, ts) for ts in points], [NOW]).faults
    return reasons_of(faults, encoding).get(0, ""), skipped_of(faults, encoding)


def test_a_clock_that_runs_ahead_moves_event_time_no_further_than_its_message():
    ahead = NOW + 90 * SECOND
    found = judge([(0, NOW - SECOND), (0, ahead), (0, ahead - 1)], [NOW])
    assert found.kept.all(), "its points count, in their own windows"
    assert found.largest.tolist() == [NOW]
    assert found.latest.tolist() == [ahead], "and are read again after a restart"
    assert (found.ahead[0], found.furthest[0], found.example[0]) == (2, 90 * SECOND, 1)


def test_clocks_that_differ_by_what_is_allowed_are_not_spoken_of():
    found = judge([(0, NOW + SECOND)], [NOW])
    assert (found.ahead[0], found.early[0], found.largest[0]) == (0, -1, NOW)


def test_what_is_further_ahead_than_allowed_is_left_out_and_moves_nothing():
    found = judge([(0, NOW + FUTURE + 1), (1, NOW + FUTURE)], [NOW, NOW])
    assert found.kept.tolist() == [False, True]
    assert found.largest.tolist() == [NOW]
    assert "further ahead of the message's own" in told([NOW + FUTURE + 1])[0]


def test_a_message_that_kafka_has_no_time_of_is_judged_by_the_calendar_alone():
    for time in (0, 1, SANE - 1, LAST):
        found = judge([(0, NOW), (0, LAST)], [time])
        assert found.kept.tolist() == [True, False]
        assert found.largest.tolist() == [NOW]


@pytest.mark.parametrize(
    ("encoding", "divisor", "unit"),
    [
        ("influx", 10**3, "microseconds"),
        ("influx", 10**6, "milliseconds"),
        ("otlp_json", 10**9, "seconds"),
        ("prometheus_remote_write", 10**3, "seconds"),
    ],
)
def test_a_time_in_another_unit_is_named(encoding, divisor, unit):
    reason, skipped = told([NOW // divisor, NOW], encoding)
    assert reason.startswith(f"1 point has a time that looks like {unit}, where {encoding} has ")
    assert skipped == {f"time_in_{unit}": 1}


@pytest.mark.parametrize("ts", [0, -1, -NOW, 1, SANE - 1, LEAST])
def test_a_time_of_no_sane_year_is_left_out_in_every_format(ts):
    for encoding in ("otlp_proto", "telegraf_json", "vector_json", "collectd_json"):
        reason, skipped = told([ts], encoding)
        assert "before the year 2000" in reason
        assert skipped == {"time_before_2000": 1}
    reason, skipped = told([2**63 - 1], "prometheus_remote_write_v2")
    assert "microseconds or nanoseconds where prometheus_remote_write_v2 has milliseconds" in reason
    assert skipped == {"time_after_2100": 1}


times_ = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-1000, 1000).map(lambda s: NOW + s * SECOND),
    st.sampled_from([0, SANE, SANE - 1, LAST, LAST - 1, NOW // 10**6]),
)


@relaxed
@given(
    st.lists(st.tuples(st.integers(0, 3), times_), max_size=30),
    st.lists(st.one_of(st.just(NOW), st.just(0), times_), min_size=4, max_size=4),
    st.integers(0, 30),
)
def test_points_are_judged_one_by_one_as_the_rules_say(points, times, cut):
    places = [0, 1, 1, 2]
    sane = [SANE <= time < LAST for time in times]
    kept = [
        SANE <= ts < LAST and (not sane[message] or ts <= times[message] + FUTURE)
        for message, ts in points
    ]
    found = both(
        judge(points[:cut], times, places), judge(points[cut:], times, places)
    )  # numbers and distributions
    assert found.kept.tolist() == kept
    for place in range(3):
        mine = [
            point
            for point, keep in zip(points, kept, strict=True)
            if keep and places[point[0]] == place
        ]
        assert found.latest[place] == max((ts for _, ts in mine), default=LEAST)
        reached = [min(ts, times[m]) if sane[m] else ts for m, ts in mine]
        assert found.largest[place] == max(reached, default=LEAST)
    assert found.faults.sum() == len(points) - found.kept.sum()
