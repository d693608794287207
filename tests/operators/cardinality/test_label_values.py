"""Labels' values are counted as sets would count them, within what HyperLogLog promises."""

import random

import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.cardinality.label_values import LabelCounts

# Four standard errors of 1.04 / sqrt(1024); small sets are told within one or two.
TOLERANCE = 0.13


def series(*labels: dict[str, str]) -> pl.Series:
    return pl.Series(
        [orjson.dumps(each, option=orjson.OPT_SORT_KEYS).decode() for each in labels],
        dtype=pl.String,
    )


def of_one_metric(size: int) -> np.ndarray:
    return np.zeros(size, np.int32)


def about(exact: int) -> object:
    return pytest.approx(exact, rel=TOLERANCE, abs=2)


@pytest.mark.parametrize("size", [0, 1, 10, 300, 2_000, 3_000, 50_000])
def test_a_label_has_about_as_many_values_as_a_set_of_them(size):
    counts = LabelCounts()
    source = random.Random(size)
    values = [f"{source.random()}" for _ in range(size)]
    counts.add(of_one_metric(2 * size), series(*({"user": value} for value in values * 2)))
    assert counts.estimate(0).get("user", 0) == about(size)


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    rows=st.lists(
        st.tuples(st.integers(0, 3), st.dictionaries(texts, texts, max_size=6)), max_size=30
    ),
    cut=st.integers(0, 30),
)
def test_any_labels_of_any_metrics_are_told_apart(rows, cut):
    exact: dict[int, dict[str, set[str]]] = {}
    for metric, labels in rows:
        for label, value in labels.items():
            exact.setdefault(metric, {}).setdefault(label, set()).add(value)
    counts = LabelCounts()
    for part in (rows[:cut], rows[cut:]):
        numbers = np.array([metric for metric, _ in part], np.int32)
        counts.add(numbers, series(*(labels for _, labels in part)))
        counts = LabelCounts(counts.snapshot())
    for metric in range(4):
        found = counts.estimate(metric)
        assert found.keys() == exact.get(metric, {}).keys()
        for label, values in exact.get(metric, {}).items():
            assert found[label] == about(len(values))


def test_the_label_with_the_most_values_comes_first_and_of_equals_the_first_by_name():
    counts = LabelCounts()
    rows = [{"b": str(n % 3), "a": str(n % 3), "pod": str(n)} for n in range(500)]
    counts.add(of_one_metric(500), series(*rows))
    assert list(counts.estimate(0)) == ["pod", "a", "b"]


def test_what_is_not_there_for_a_whole_period_is_forgotten():
    counts = LabelCounts()
    counts.add(of_one_metric(2), series({"a": "1", "b": "1"}, {"a": "2"}))
    counts.turn()
    counts.add(of_one_metric(1), series({"a": "3"}))
    assert counts.estimate(0) == {"a": 3, "b": 1}
    counts.turn()
    assert counts.estimate(0) == {"a": 1}
    counts.turn()
    assert counts.estimate(0) == {}


def test_metrics_can_be_numbered_anew_and_go_on_being_counted():
    counts = LabelCounts()
    counts.add(np.array([0, 1, 2], np.int32), series({"a": "1"}, {"b": "1"}, {"c": "1"}))
    counts.renumber(np.array([1, -1, 0], np.int32))
    counts.add(np.array([0, 1], np.int32), series({"c": "2"}, {"a": "2"}))
    assert (counts.estimate(0), counts.estimate(1)) == ({"c": 2}, {"a": 2})
    assert counts.estimate(2) == {}


@pytest.mark.parametrize("labels", [1, 31, 32, 33, 47, 100, 1000, 2047, 2049, 4096])
def test_any_number_of_labels_is_found_again_after_a_restart_and_in_a_new_period(labels):
    counts = LabelCounts()
    rows = series({f"key{number}": "x" for number in range(labels)})
    counts.add(of_one_metric(1), rows)
    counts = LabelCounts(counts.snapshot())
    counts.turn()
    counts.add(of_one_metric(1), rows)
    assert counts.estimate(0) == {f"key{number}": 1 for number in range(labels)}


def test_a_flood_of_keys_does_not_fill_the_memory():
    counts = LabelCounts()
    rows = series(*({f"key{number}": "x"} for number in range(10_000)))
    counts.add(of_one_metric(10_000), rows)
    assert len(counts.estimate(0)) == 4096
