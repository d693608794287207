"""Samples come in any order, are kept as long as they are needed, and each time is there once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.rules.evaluator import Evaluator
from operators.rules.samples import STALE, SampleStore
from operators.rules.store import SeriesStore


def kept(samples, row):
    begin, count = samples.start[row], samples.count[row]
    return dict(
        zip(
            samples.ts[begin : begin + count].tolist(),
            samples.values[begin : begin + count].tolist(),
            strict=True,
        )
    )


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 4), st.integers(0, 200), st.integers(0, 9)), max_size=80),
        max_size=8,
    )
)
def test_of_each_time_the_first_value_stays_and_times_are_in_order(batches):
    samples = SampleStore()
    samples.grow(5)
    expected: list[dict[int, float]] = [{} for _ in range(5)]
    for batch in batches:
        columns = [np.array(column) for column in zip(*batch, strict=True)] or [np.zeros(0)] * 3
        rows, ts, values = columns
        samples.append(rows.astype(np.int32), ts.astype(np.int64), values.astype(np.float64))
        for row, time, value in batch:
            expected[row].setdefault(time, float(value))
    for row in range(5):
        found = kept(samples, row)
        assert found == expected[row]
        assert list(found) == sorted(found)


def test_what_is_older_than_a_series_needs_goes_and_memory_stays():
    samples = SampleStore()
    samples.grow(10)
    samples.keep[:] = 60_000
    rows = np.arange(10, dtype=np.int32)
    used = []
    for k in range(1000):
        samples.append(rows, np.full(10, k * 15_000), np.full(10, float(k)))
        used.append(samples.nbytes)
    assert used[-1] == used[100]
    times = list(kept(samples, 3))
    assert times[-1] == 999 * 15_000
    assert times[0] <= 999 * 15_000 - 45_000


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 900)), min_size=1, max_size=6),
)
def test_what_a_series_has_to_keep_is_there_whatever_the_others_do(seed, kinds):
    source = np.random.default_rng(seed)
    samples = SampleStore()
    expected: list[dict[int, float]] = []
    for number, (_, keep) in enumerate(kinds):  # One after the other, as series come.
        samples.grow(number + 1)
        samples.keep[number] = keep
        expected.append({})
        for _ in range(source.integers(1, 12)):
            rows = source.integers(0, number + 1, source.integers(1, 40)).astype(np.int32)
            ts = np.array([max(expected[row], default=0) for row in rows], np.int64)
            for i, row in enumerate(rows):
                earlier = ts[:i][rows[:i] == row]
                ts[i] = max([ts[i], *earlier]) + source.integers(1, 2 * kinds[row][0] + 1)
            values = source.random(len(rows))
            samples.append(rows, ts, values)
            for row, time, value in zip(rows, ts.tolist(), values.tolist(), strict=True):
                expected[row][time] = value
    for row, (_, keep) in enumerate(kinds):
        found = kept(samples, row)
        needed = {t: v for t, v in expected[row].items() if t > max(expected[row]) - keep}
        assert needed.items() <= found.items() <= expected[row].items()
        assert list(found) == sorted(found)


def test_a_run_is_as_long_as_its_series_needs():
    samples = SampleStore()
    samples.grow(1000)
    samples.keep[:] = 300_000
    rows = np.arange(1000, dtype=np.int32)
    for k in range(100):
        samples.append(rows, np.full(1000, k * 15_000), np.full(1000, float(k)))
    # 20 samples are within five minutes; some more fit in, so that not each one moves the others.
    assert 20 * 16 <= samples.nbytes / 1000 <= 30 * 16
    assert list(kept(samples, 999))[-20:] == [k * 15_000 for k in range(80, 100)]


def test_what_series_left_behind_when_they_grew_does_not_stay():
    samples = SampleStore()
    samples.grow(64)
    for row in range(64):
        for k in range(40):
            samples.append(np.array([row], np.int32), np.array([k]), np.array([0.0]))
    # Each series went through runs of 8, 16 and 32 on its way to 64 places.
    assert samples.nbytes < 64 * (64 + 32) * 16
    for row in range(64):
        assert list(kept(samples, row)) == list(range(40))


def test_a_marker_is_remembered_and_ends_a_series():
    store = SeriesStore()
    rows = store.rows([{"__name__": "a"}, {"__name__": "b"}])
    store.append(rows, np.array([1000, 1000]), np.array([STALE, 1.0]))
    assert store.samples.last_marker.tolist() == [1000, np.iinfo(np.int64).min]


def test_the_same_labels_are_the_same_row_in_whatever_order():
    store = SeriesStore()
    first = store.rows([{"__name__": "a", "x": "1", "y": ""}, {"__name__": "a", "x": "2"}])
    second = store.rows([{"x": "2", "__name__": "a"}, {"x": "1", "__name__": "a"}, {"x": "3"}])
    assert second.tolist() == [first[1], first[0], 2]
    assert store.labels(second).labels(1) == {"__name__": "a", "x": "1"}


def test_native_histograms_that_no_sample_stands_for_are_forgotten_and_the_others_stay():
    store = SeriesStore(keep=60_000)
    rows = store.rows([{"__name__": "a"}, {"__name__": "b"}, {"__name__": "n"}])
    for second in range(0, 1500, 15):
        store.append_histogram(int(rows[0]), second * 1000, ("a", second))
        store.append_histogram(int(rows[1]), second * 1000, ("b", second))
        store.append(rows[2:], np.array([second * 1000]), np.array([float(second)]))
    waiting = store.boxed([("waits", 0)])
    store.forget_histograms([waiting])
    assert len(store.histograms) <= 2 * 16 + 1
    assert store.histogram(waiting[0]) == ("waits", 0)
    plan = Evaluator(store)
    for name in "ab":
        frame = plan.expression(name).at(1_485_000)
        assert frame.histograms is not None
        assert list(frame.histograms) == [(name, 1485)]
    assert plan.expression("n").at(1_485_000).values.tolist() == [1485.0]
