"""A false alarm lowers its pattern from its event time on, however the rollups come."""

from __future__ import annotations

import pickle

import numpy as np
import orjson
import polars as pl
import pytest

from flows.settings import Scoring
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Events, Scored
from operators.scoring.feedback import FalseAlarm
from operators.scoring.step import ScoringLogic
from tests.flows.offline.made_rollups import BEGIN, WINDOW, Made, frame
from tests.operators.scoring.reports import Reports

SERIES = [11, 22]
SPIKES = (100, 200, 300)
SETTINGS = Scoring(detector="robust_ewma", fire_after=1)


def whole(last: float = 80.0) -> pl.DataFrame:
    """Two series with three spikes each; the last of them is ``last`` high."""
    made = []
    for name in ("a", "b"):
        values = np.random.default_rng(len(made)).normal(50, 2, 400)
        for at in SPIKES:
            values[at] = last if at == SPIKES[-1] else 80.0
        made.append(Made(name, "gauge", list(range(400)), values.tolist()))
    return frame(made, SERIES).select(ROLLUPS.names())


def fired(logic: ScoringLogic, rollups: pl.DataFrame) -> list[tuple[str, int, dict]]:
    """Return metric, window and evidence of each alert that fires."""
    found = []
    for item in logic.on_batch([Closed(rollups)]):
        if isinstance(item, Events):
            for payload, at in item.frame.select("event", "at").iter_rows():
                event = orjson.loads(payload)
                if event["status"] == "firing":
                    number = (at - BEGIN) // WINDOW - 1
                    found.append((event["labels"]["metric"], number, event["evidence"]))
    return found


def report(score: float, window: int = 150, statistic: str = "value") -> FalseAlarm:
    return FalseAlarm(BEGIN + window * WINDOW, SERIES[0], statistic, score)


def test_the_same_again_is_no_alert_and_what_is_stronger_is() -> None:
    plain = fired(ScoringLogic(SETTINGS, WINDOW, None), whole())
    assert [(name, at) for name, at, _ in plain] == [(n, at) for at in SPIKES for n in ("a", "b")]
    score = plain[0][2]["score"]
    assert plain[0][2]["series"] == f"{SERIES[0]:016x}"
    assert plain[0][2]["statistic"] == "value"

    known = Reports(report(score))
    after = [at for name, at, _ in fired(ScoringLogic(SETTINGS, WINDOW, None, reports=known), whole())
             if name == "a"]  # fmt: skip
    assert after == [100], "only before it was reported"
    loud = fired(ScoringLogic(SETTINGS, WINDOW, None, reports=known), whole(last=400.0))
    assert [at for name, at, _ in loud if name == "a"] == [100, 300]
    assert [at for name, at, _ in loud if name == "b"] == list(SPIKES)


def test_a_report_that_is_taken_back_counts_no_more() -> None:
    known = Reports(report(6.0), report(0.0, window=250))
    found = fired(ScoringLogic(SETTINGS, WINDOW, None, reports=known), whole())
    assert [at for name, at, _ in found if name == "a"] == [100, 300]


def test_another_statistic_and_another_detector_are_judged_as_before() -> None:
    known = Reports(report(6.0, statistic="level"))
    found = fired(ScoringLogic(SETTINGS, WINDOW, None, reports=known), whole())
    assert [at for name, at, _ in found if name == "a"] == list(SPIKES)


@pytest.mark.parametrize("cut", [120, 151, 220])
def test_batches_and_restarts_change_no_score_and_the_bands_go_with_the_scores(cut: int) -> None:
    known = Reports(report(3.0), report(2.0, window=210))
    rollups = whole()

    def scores(logic: ScoringLogic, *frames: pl.DataFrame) -> pl.DataFrame:
        items = logic.on_batch([Closed(one) for one in frames])
        return pl.concat([item.frame for item in items if isinstance(item, Scored)])

    whole_run = scores(ScoringLogic(SETTINGS, WINDOW, None, reports=known), rollups)
    first = ScoringLogic(SETTINGS, WINDOW, None, reports=known)
    parts = [scores(first, *rollups[: 2 * cut].partition_by("window_start", maintain_order=True))]
    state = pickle.loads(pickle.dumps(first.snapshot()))
    # What was reported before the snapshot is in it: the topic need not have it any more.
    left = Reports(*[one for one in known.reports if one.effective > BEGIN + cut * WINDOW])
    parts.append(scores(ScoringLogic(SETTINGS, WINDOW, state, reports=left), rollups[2 * cut :]))
    assert pl.concat(parts).equals(whole_run)

    judged = whole_run.filter(pl.col("score").is_not_null() & (pl.col("series") == SERIES[0]))
    outside = ~judged["mean"].is_between(judged["lower"], judged["upper"])
    assert ((judged["score"] >= 1) == outside).all()
