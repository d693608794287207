"""Prometheus' own engine is asked the same as ours, about random series."""

from __future__ import annotations

import os
from random import Random

import numpy as np
import pytest

from operators.rules.errors import EvaluationError, ExpressionError
from operators.rules.evaluator import Evaluator
from operators.rules.samples import STALE
from operators.rules.store import SeriesStore
from tests.backends import in_ci
from tests.backends.process import UnavailableError
from tests.backends.promql_engine import build
from tests.operators.rules.random_promql import Expressions, close, series

EXPRESSIONS = int(os.environ.get("HEADRACE_PROMQL_EXPRESSIONS", "250"))
SEED = int(os.environ.get("HEADRACE_PROMQL_SEED", "12"))


@pytest.fixture
def engine():
    try:
        path = build.program()
    except UnavailableError as error:
        if in_ci():
            pytest.fail(str(error), pytrace=False)
        pytest.skip(str(error).splitlines()[0])
    with build.running(path) as started:
        yield started


def put_in_both(engine, made):
    """Give labels, times and texts of the values of series to Prometheus; return a store with them."""
    store = SeriesStore()
    rows = store.rows([labels for labels, _, _ in made])
    # Everything comes in the order of time, as it does from a topic.
    samples = sorted(
        (ts, int(row), STALE if text == "stale" else float(text))
        for row, (_, times, texts) in zip(rows, made, strict=True)
        for ts, text in zip(times, texts, strict=True)
    )
    engine.ask(
        {"series": [{"labels": labels, "ts": ts, "values": texts} for labels, ts, texts in made]}
    )
    columns = [np.array(column) for column in zip(*samples, strict=True)]
    store.append(columns[1].astype(np.int32), columns[0].astype(np.int64), columns[2])
    return store


def result(expression, time):
    """Return the series of our result, by labels."""
    frame = expression.at(time)
    return {
        tuple(frame.sets.labels(int(row)).items()): float(frame.values[row])
        for row in np.flatnonzero(frame.present)
    }


@pytest.mark.parametrize("delayed", [False, True])
def test_results_are_those_of_prometheus(engine, delayed):
    random = Random(SEED + delayed)
    made = series(random)
    store = put_in_both(engine, made)
    plan = Evaluator(store, delayed_name_removal=delayed)
    expressions = Expressions(random)
    different = []
    for _ in range(EXPRESSIONS):
        text = expressions.vector(random.choice((1, 2, 2, 3)))
        try:
            ours = plan.expression(text)
        except ExpressionError as error:
            # What is refused has to be wrong.
            if not engine.ask({"query": text, "time": 0, "delayed": delayed})["error"]:
                different.append((text, 0, f"refused: {error}"))
            continue
        for time in (300_000, 451_000, 900_000):
            plan.begin()
            said = engine.ask({"query": text, "time": time, "delayed": delayed})
            try:
                got = result(ours, time)
            except EvaluationError as error:
                if not said["error"]:
                    different.append((text, time, f"ours failed: {error}"))
                continue
            if said["error"]:
                different.append((text, time, f"Prometheus failed: {said['error']}"))
                continue
            expected = {
                tuple(sorted(row["labels"].items())): float(row["value"]) for row in said["rows"]
            }
            if got.keys() != expected.keys():
                different.append((text, time, f"{sorted(got)} instead of {sorted(expected)}"))
                continue
            different.extend(
                (text, time, f"{labels}: {got[labels]} instead of {value}")
                for labels, value in expected.items()
                if not close(got[labels], value)
            )
    assert not different, "\n".join(str(one) for one in different[:20])


@pytest.mark.parametrize("delayed", [False, True])
def test_a_ratio_of_the_series_are_those_of_prometheus(engine, delayed):
    """Which they are is decided by a hash of bytes, so labels of all lengths and scripts are there."""
    random, time = Random(SEED + delayed), 300_000
    alphabets = ("abc", "0123456789", "äöü", "日本語", "\U0001f600 ")
    made = [
        {
            "__name__": random.choice(("m", "a_metric_with_a_long_name_total")),
            "number": str(number),
            **{
                random.choice(("job", "zone", "le", "pod_" * 8)): "".join(
                    random.choices(random.choice(alphabets), k=size)
                )
                for size in random.sample((1, 3, 4, 7, 8, 20, 31, 33, 100, 254, 255, 256, 700), 3)
            },
        }
        for number in range(300)
    ]
    store = SeriesStore()
    values = [float(random.randint(0, 9)) for _ in made]
    store.append(
        store.rows(made).astype(np.int32), np.full(len(made), time, np.int64), np.array(values)
    )
    engine.ask(
        {
            "series": [
                {"labels": labels, "ts": [time], "values": [str(value)]}
                for labels, value in zip(made, values, strict=True)
            ]
        }
    )
    plan = Evaluator(store, delayed_name_removal=delayed)
    of_all = '{__name__=~".+"}'
    for ratio in (0, 0.01, 0.3, 0.5, 0.999, 1, 7, -0.01, -0.5, -1, -7, "NaN"):
        for text in (
            f"limit_ratio({ratio}, {of_all})",
            f"limit_ratio by (zone) ({ratio}, {of_all})",
            f"limit_ratio({ratio}, m + 1)",
            f"limit_ratio({ratio}, sum({of_all}))",
            f"limit_ratio({ratio}, nothing)",
        ):
            plan.begin()
            said = engine.ask({"query": text, "time": time, "delayed": delayed})
            try:
                got = result(plan.expression(text), time)
            except EvaluationError:
                assert said["error"], text
                continue
            assert not said["error"], text
            assert got == {
                tuple(sorted(row["labels"].items())): float(row["value"]) for row in said["rows"]
            }, text
