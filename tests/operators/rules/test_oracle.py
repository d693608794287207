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
