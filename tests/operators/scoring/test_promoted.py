"""A promoted model is in force from its event time on, however the rollups come."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.settings import Scoring
from models.artefact import Trained, read_artefact, write_artefact
from models.named import new_detector
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Scored
from operators.scoring.promoted import Promoted
from operators.scoring.step import ScoringLogic
from tests.flows.offline.made_rollups import BEGIN, WINDOW, Made, frame

SERIES = [11, 22, 33]
AT = 60
"""The window from which on the model is in force."""
HISTORY = np.random.default_rng(5).normal(50, 2, 400)


class Known:
    def __init__(self, *promoted: Promoted) -> None:
        self.promoted = promoted

    def after(self, effective: int, until: int) -> Sequence[Promoted]:
        return [one for one in self.promoted if effective < one.effective <= until]

    def of(self, version: str) -> Trained | None:
        return next((one.trained for one in self.promoted if one.version == version), None)


def model(detector: str, series: list[int] = SERIES[:2]) -> Trained:
    bank = new_detector(detector).bank()
    bank.grow(len(series))
    for row in range(len(series)):
        bank.judge_then_learn(np.full(400, row, np.int32), HISTORY, np.arange(400) * WINDOW)
    states = pl.DataFrame({"series": series, "detector": bank.state},
                          schema_overrides={"series": pl.UInt64})  # fmt: skip
    given: dict[str, Any] = {"detector": detector, "options": {}, "features": [], "alerts": 1.0, "window": WINDOW,
             "since": 0, "until": 1, "rollups": 1}  # fmt: skip
    return read_artefact(write_artefact(given, states, created="2026-01-01T00:00:00Z")[1], "x")


def rollups() -> pl.DataFrame:
    """Return three series; the third begins after the model came into force."""
    rng = np.random.default_rng(9)
    series = [
        Made(f"queue.{number}", "gauge", list(range(first, 120)), (50 + rng.normal(0, 2, 120 - first)).tolist())
        for number, first in enumerate((0, 0, 80))
    ]  # fmt: skip
    return frame(series, SERIES)


def scored(logic: ScoringLogic, frames: Sequence[pl.DataFrame]) -> pl.DataFrame:
    found = []
    for one in frames:
        found += [item.frame for item in logic.on_batch([Closed(one)]) if isinstance(item, Scored)]
    return pl.concat(found)


def whole() -> pl.DataFrame:
    return rollups().select(ROLLUPS.names())


@pytest.mark.parametrize("detector", ["peak_rank", "robust_ewma"])
def test_it_is_the_same_in_whatever_batches_and_after_a_restart(detector: str) -> None:
    trained = model(detector)
    known = Known(Promoted(BEGIN + AT * WINDOW, trained))
    single = whole().partition_by("window_start", maintain_order=True)
    settings = Scoring(detector="peak_rank")
    expected = scored(ScoringLogic(settings, WINDOW, None, known), single)

    assert scored(ScoringLogic(settings, WINDOW, None, known), [whole()]).equals(expected)

    logic = ScoringLogic(settings, WINDOW, None, known)
    parts = [scored(logic, single[:70])]
    state = pickle.loads(pickle.dumps(logic.snapshot()))
    parts.append(scored(ScoringLogic(settings, WINDOW, state, known), single[70:]))
    assert pl.concat(parts).equals(expected)

    number = (expected["window_start"] - BEGIN) // WINDOW
    stamp = expected.filter(expected["score"].is_not_null() & (number >= AT))["detector"].unique()
    assert stamp.to_list() == [f"{detector}@{trained.version}"]
    before = expected.filter(expected["score"].is_not_null() & (number < AT))["detector"].unique()
    assert before.to_list() == ["peak_rank"]


def test_from_then_on_scores_are_those_of_the_trained_detector_without_a_gap() -> None:
    trained = model("robust_ewma", SERIES)
    known = Known(Promoted(BEGIN + AT * WINDOW, trained))
    found = scored(ScoringLogic(Scoring(), WINDOW, None, known), [whole()])
    alone = new_detector("robust_ewma")
    for value in HISTORY:
        alone.learn(value)
    number = (pl.col("window_start") - BEGIN) // WINDOW
    for series in SERIES:  # the third is new after it, and does not warm up
        mine = found.filter(pl.col("series") == series, number >= AT)
        detector = alone.clone().resume(alone.state)
        expected = [detector.judge_then_learn(value).score for value in mine["mean"]]
        assert mine["score"].to_list() == expected


def test_a_rollback_to_nothing_keeps_detectors_of_the_same_kind() -> None:
    trained = model("peak_rank")
    known = Known(Promoted(BEGIN + AT * WINDOW, trained), Promoted(BEGIN + 90 * WINDOW, None))
    found = scored(ScoringLogic(Scoring(), WINDOW, None, known), [whole()])
    later = found.filter((pl.col("window_start") - BEGIN) // WINDOW >= 90)
    assert later["score"].null_count() == 10  # of the series that is still warming up
    assert set(later["detector"].drop_nulls()) == {"peak_rank"}
