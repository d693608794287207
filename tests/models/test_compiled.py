"""The compiled loop of the default says to the last bit what the same lines say in Python."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from models.named import new_detector
from models.peak_rank import PeakRank
from models.peak_rank_loop import _judge_then_learn
from models.peak_rank_state import NUMBERS, fresh

MINUTE = 60 * 10**9
BEGIN = 1_700_000_000 * 10**9

# What telemetry is: counts, ratios, latencies that double, levels that stay, and now and then what
# nothing measures.
usual = st.one_of(
    st.integers(0, 5).map(float), st.floats(0, 1), st.floats(1e-3, 1e3), st.just(0.0),
    st.sampled_from([50.0, 50.5, 51.0]),
)  # fmt: skip
wild = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e300, -1e300, 5e-324, -0.0])
)
gaps = st.one_of(st.just(1), st.integers(1, 5), st.integers(1, 10_000))
stories = st.lists(
    st.tuples(st.one_of(usual, usual, usual, wild), gaps, st.integers(1, 30)),
    min_size=1, max_size=25,
)  # fmt: skip


def unrolled(story: list[tuple[float, int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """Return values and times: each value so many times in a row, after a gap of so many minutes."""
    values, times, now = [], [], BEGIN
    for value, gap, times_over in story:
        now += (gap - 1) * MINUTE
        for turn in range(times_over):
            now += MINUTE
            values.append(value * (1 + 0.01 * (turn % 3)))
            times.append(now)
    return np.array(values), np.array(times, np.int64)


@settings(deadline=None, max_examples=40)
@given(
    story=stories,
    alerts=st.sampled_from([0.1, 1.0, 5.0]),
    a_month=st.sampled_from([2_880.0, 259_200.0]),
)
@example([(1.7e308, 1, 1), (0.0, 1, 1)], 0.1, 2_880.0)  # their ratio is no number any more
def test_python_and_the_compiled_loop_agree_to_the_last_bit(story, alerts, a_month):
    values, times = unrolled(story)
    values = values[np.isfinite(values)]
    times = times[: len(values)]
    bank = PeakRank(alerts, a_month).bank()
    bank.grow(2)
    rows = np.ones(len(values), np.int32)
    compiled = bank.judge_then_learn(rows, values, times)

    numbers, stored = (np.tile(part, (2, 1)) for part in fresh())
    plain = np.empty_like(compiled)
    with np.errstate(all="ignore"):
        _judge_then_learn(
            numbers, stored, rows, values, times, bank._threshold, bank._patience, True, plain
        )
    assert np.array_equal(compiled, plain, equal_nan=True)
    given_state = bank.state[1].to_numpy().tobytes()
    assert given_state[: NUMBERS * 8] == numbers[1].tobytes()
    assert np.array_equal(
        np.frombuffer(given_state[NUMBERS * 8 :], np.float32), stored[1], equal_nan=True
    )


@pytest.mark.parametrize("name", ["peak_rank", "robust_ewma"])
@settings(deadline=None, max_examples=25)
@given(story=stories, cut=st.integers(0, 200))
def test_values_one_by_one_or_at_once_and_a_restart_between_are_the_same(name, story, cut):
    values, times = unrolled(story)
    values = values[np.isfinite(values)]
    times = times[: len(values)]
    rows = np.zeros(len(values), np.int32)
    whole = new_detector(name).bank()
    whole.grow(1)
    at_once = whole.judge_then_learn(rows, values, times)

    first = new_detector(name).bank()
    first.grow(1)
    before = first.judge_then_learn(rows[:cut], values[:cut], times[:cut])
    second = new_detector(name).bank().resume(first.state)
    after = [
        second.judge_then_learn(rows[at : at + 1], values[at : at + 1], times[at : at + 1])
        for at in range(min(cut, len(values)), len(values))
    ]
    parts = np.concatenate([before, *after], axis=1)
    assert np.array_equal(at_once, parts, equal_nan=True)
