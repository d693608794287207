"""Rows merge in any order and grouping: those of gauges, counters and histograms in one series too."""

from math import inf, nan

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.windows.rollups import Rows, merge_rows, rollup_frame

NOTHING = (0, 0.0, nan, nan, -(2**62), nan, 0.0, 0, 0, 9)
"""What a window comes to whose only point was taken back."""

Row = (
    tuple[int, float, float, float, int, float, float, int, int, int]
    | tuple[int, float, float, float, int, float, float]
)


def rows(*listed: Row) -> Rows:
    columns = list(zip(*(row if len(row) > 7 else (*row, 0, 0, 1) for row in listed), strict=True))
    owner = np.zeros(len(listed), np.int32)
    count, last_ts = np.array(columns[0], np.int64), np.array(columns[4], np.int64)
    total, least, most = (np.array(column, float) for column in columns[1:4])
    return Rows(
        owner, count, total, least, most, last_ts, np.array(columns[5], float),
        np.array(columns[6], float), np.array(columns[7], np.int64),
        np.array(columns[8], np.int64), np.array(columns[9], np.uint64),
    )  # fmt: skip


def merged(*parts: Rows) -> list[float]:
    (found,) = zip(*(column.tolist() for column in merge_rows(parts, 1)[1:]), strict=True)
    return list(found)


numbers = st.builds(
    lambda ts, value, counter, covered, stream: (
        1, value, value, value, ts, value, value if counter else nan, covered, covered, stream
    ),
    st.integers(0, 3), st.integers(-5, 5).map(float), st.booleans(), st.integers(-1, 3),
    st.integers(1, 2),
)  # fmt: skip
histograms = st.builds(
    lambda ts, count, known: (
        count, 2.0 * count, 1.0 if known and count else nan, 4.0 if known and count else nan, ts,
        nan, float(count), 5, 5, 3,
    ),
    st.integers(0, 3), st.integers(0, 3), st.booleans(),
)  # fmt: skip


@settings(deadline=None)  # the first call compiles
@given(st.lists(st.one_of(numbers, histograms, st.just(NOTHING)), min_size=1), st.randoms())
def test_merging_does_not_depend_on_order_or_grouping(listed, random):
    whole = merged(rows(*listed))
    one_by_one = rows(listed[0])
    for row in listed[1:]:
        one_by_one = merge_rows([one_by_one, rows(row)], 1)
    assert merged(one_by_one) == pytest.approx(whole, nan_ok=True, rel=1e-12)
    random.shuffle(listed)
    assert merged(rows(*listed)) == pytest.approx(whole, nan_ok=True, rel=1e-12)


def test_extremes_are_of_what_says_them():
    known = (2, 5.0, 1.0, 4.0, 7, nan, 2.0)
    unknown = (2, 5.0, nan, nan, 8, nan, 2.0)
    assert merged(rows(known, NOTHING))[2:4] == [1.0, 4.0]
    assert merged(rows(NOTHING, known))[2:4] == [1.0, 4.0]
    for listed in ((known, unknown), (unknown, known)):
        assert merged(rows(*listed))[2:4] == [1.0, 4.0]
    assert np.isnan(merged(rows(unknown, NOTHING))[2:4]).all()


def test_the_last_value_is_the_latest_that_there_is():
    gauge = (1, 3.0, 3.0, 3.0, 5, 3.0, nan)
    histogram = (1, 9.0, nan, nan, 6, nan, 1.0)
    for listed in ((gauge, histogram), (histogram, gauge)):
        assert merged(rows(*listed))[5] == 3.0


def test_sums_that_overflow_are_infinite_and_not_nothing():
    huge = (1, 1e308, 1e308, 1e308, 5, 1e308, 1e308)
    found = merged(rows(huge, huge, huge))
    assert (found[1], found[6]) == (inf, inf)


@pytest.mark.parametrize("value", [1e308, -1e308, 1.7976931348623157e308])
def test_values_whose_sum_no_double_holds_have_numbers_all_the_same(value):
    """Backends refuse infinity, and a mean of it would say nothing."""
    huge = rows((1, value, value, value, 5, value, value, 10**9, 10**9, 1))
    found = merge_rows([huge] * 3, 1)
    texts = {
        "tenant": "t", "series": 1, "name": "m", "labels": "{}", "unit": "", "kind": "cumulative"
    }  # fmt: skip
    names = {name: pl.Series([text]) for name, text in texts.items()}
    frame = rollup_frame(found, names, 10**9, np.zeros(1, np.int64), np.zeros(1, np.int64), None)
    (row,) = frame.to_dicts()
    largest = 1.7976931348623157e308
    assert abs(row["sum"]) == abs(row["increase"]) == largest
    assert (row["mean"], row["min"], row["max"], row["last"]) == (value,) * 4
    assert all(np.isfinite(number) for number in row.values() if isinstance(number, float))
