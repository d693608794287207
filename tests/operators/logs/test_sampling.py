"""What is stored of lines that repeat, and what is said of those that come in a burst."""

from __future__ import annotations

from typing import Any

import numpy as np
import orjson
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.logs.bursts import Bursts
from operators.logs.sampling import MINUTE, Sampler
from tests.sinks.log_records import records

START = 29_453_760 * MINUTE


def frame(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    """Return records of template, minute and severity."""
    return records(
        *({"template": t, "ts": START + m * MINUTE + n, "severity": s} for n, (t, m, s) in enumerate(rows))
    ) if rows else records({}).clear()  # fmt: skip


feeds = st.lists(
    st.lists(
        st.tuples(st.integers(1, 2), st.integers(0, 3), st.sampled_from([9, 13, 17])), max_size=12
    ),
    max_size=6,
)


@settings(max_examples=40)
@given(feeds, st.integers(1, 3), st.sets(st.integers(0, 5)))
def test_the_weights_of_what_is_stored_are_the_number_of_records(
    batches: list[list[tuple[int, int, int]]], most: int, restarts: set[int]
) -> None:
    sampler, stored = Sampler(most, 17), []
    for number, rows in enumerate(
        sorted(batches, key=lambda each: max((m for _, m, _ in each), default=0))
    ):
        batch = frame(rows)
        chosen = sampler.choose(batch)
        stored += [chosen, sampler.tell(START + number * MINUTE // 2, lambda *_: "text")]
        # Nothing of severity error is ever left out.
        assert (
            chosen.filter(pl.col("severity") >= 17).height
            == batch.filter(pl.col("severity") >= 17).height
        )
        if number in restarts:
            sampler = Sampler(most, 17, orjson.loads(orjson.dumps(sampler.snapshot())))
    stored.append(sampler.tell(2**62, lambda *_: "text"))
    found = pl.concat(stored)
    weights = found.group_by("template").agg(pl.col("weight").fill_null(1).sum())
    expected = [t for rows in batches for t, _, _ in rows]
    assert dict(weights.rows()) == {t: expected.count(t) for t in set(expected)}


def test_the_first_of_each_minute_are_stored_and_one_that_says_how_many_were_not() -> None:
    sampler = Sampler(2, 17)
    rows = [(1, 0, 9)] * 5 + [(2, 0, 9)] + [(1, 0, 17)] * 4
    assert sorted(sampler.choose(frame(rows))["template"]) == [1, 1, 1, 1, 1, 1, 2]
    assert sampler.choose(frame([(1, 0, 9)] * 3)).height == 0
    assert sampler.tell(START + MINUTE - 1, lambda *_: "x").height == 0
    (left,) = sampler.tell(START + MINUTE, lambda t, s, n: f"{t} {s} {n}").rows(named=True)
    assert (left["weight"], left["body"], left["ts"]) == (6, "default shop 1", START + MINUTE - 1)
    assert orjson.loads(left["attributes"]) == {"headrace.left_out": 6}
    assert sampler.choose(frame([(1, 1, 9)] * 3)).height == 2


def minutes(bursts: Bursts, numbers: list[int], template: int = 1) -> list[tuple[int, int]]:
    """Feed so many lines a minute; return minute and number of each burst."""
    found = []
    for minute, number in enumerate(numbers):
        batch = frame([(template, minute, 9)] * number + [(7, minute, 9)])
        found += bursts.count(batch, START + minute * MINUTE)
    found += bursts.count(frame([]), START + (len(numbers) + 2) * MINUTE)
    return [((each.at - START) // MINUTE, each.lines) for each in found]


def test_a_burst_is_far_more_than_before_and_told_once() -> None:
    calm = np.random.default_rng(1).poisson(40, 30).tolist()
    assert minutes(Bursts(100), calm) == []
    assert minutes(Bursts(100), [*calm, 300, 400, 350, *calm[:20], 300]) == [(30, 300), (53, 300)]
    assert minutes(Bursts(100), [*calm, 99]) == [], "too few for anybody to care"
    assert minutes(Bursts(100), [*calm, *(int(40 * 1.2**n) for n in range(12))]) == [], (
        "slow growth"
    )
    # Of a service that is new nobody knows what it does; a template that is new in an old one is a burst.
    assert minutes(Bursts(100), [500, 10, 500]) == []
    assert minutes(Bursts(100), [0] * 15 + [500]) == [(15, 500)]
    assert minutes(Bursts(0), [*calm, 3000]) == []


def test_a_burst_is_the_same_after_a_restart_and_in_other_batches() -> None:
    rows: list[tuple[int, int, int]] = [
        (1, m, 9) for m in range(20) for _ in range(150 if m == 15 else 5)
    ]
    for size in (7, 50, 1000):
        bursts, found = Bursts(100), []
        for first in range(0, len(rows), size):
            batch = frame(rows[first : first + size])
            found += bursts.count(batch, int(batch["ts"].max() or 0))  # type: ignore[call-overload]
            state: Any = orjson.loads(orjson.dumps(bursts.snapshot()))
            bursts = Bursts(100, state)
        assert [(each.at, each.lines) for each in found] == [(START + 15 * MINUTE, 150)]
