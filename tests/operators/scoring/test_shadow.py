"""A model in shadow tells what it would tell in force, and changes nothing of what is told."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import polars as pl
import pytest

from flows.settings import Scoring
from operators.contracts.alert import decode_event
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Events, Scored, ShadowEvents
from operators.scoring.promoted import NOTHING_PROMOTED, Promoted
from operators.scoring.shadow import ShadowedLogic
from operators.scoring.step import ScoringLogic
from tests.flows.offline.made_rollups import BEGIN, WINDOW, Made, frame
from tests.operators.scoring.test_promoted import HISTORY, SERIES, Known, model

AT, OVER = 60, 110
"""Windows: from which on the candidate is in shadow, and up to which."""
CANDIDATE = Promoted(BEGIN + AT * WINDOW, model("robust_ewma", SERIES))


def single() -> list[pl.DataFrame]:
    """Return three series, a window each, with faults before, within and after the candidate's time."""
    values = HISTORY[:140].copy()
    for first in (40, 80, 120):
        values[first : first + 8] += 60
    series = [Made(f"queue.{at}", "gauge", list(range(140)), values.tolist()) for at in range(3)]
    rollups = frame(series, SERIES).select(ROLLUPS.names())
    return rollups.partition_by("window_start", maintain_order=True)


def told(items: Sequence[object], kind: type) -> list[dict]:
    frames = [item.frame for item in items if isinstance(item, kind)]
    return [decode_event(event) for frame in frames for event in frame["event"]]


def run(logic, frames: Sequence[pl.DataFrame]) -> list[object]:
    return [item for one in frames for item in logic.on_batch([Closed(one)])]


@pytest.mark.parametrize("detector", ["peak_rank", "robust_ewma"])
def test_a_candidate_tells_what_it_would_tell_in_force_and_nothing_else_changes(
    detector: str,
) -> None:
    settings = Scoring(detector=detector)
    shadows = Known(CANDIDATE, Promoted(BEGIN + OVER * WINDOW, None))
    logic = ShadowedLogic(settings, WINDOW, None, NOTHING_PROMOTED, shadows)
    items = run(logic, single()[:90])
    logic = ShadowedLogic(
        settings, WINDOW, pickle.loads(pickle.dumps(logic.snapshot())), NOTHING_PROMOTED, shadows
    )
    items += run(logic, single()[90:])

    alone = run(ScoringLogic(settings, WINDOW, None), single())
    assert told(items, Events) == told(alone, Events)
    scores = [
        pl.concat([item.frame for item in each if isinstance(item, Scored)])
        for each in (items, alone)
    ]
    assert scores[0].equals(scores[1])

    in_force = run(ScoringLogic(settings, WINDOW, None, Known(CANDIDATE)), single()[AT:OVER])
    expected = told(in_force, Events)
    assert {event["status"] for event in expected} == {"firing", "resolved"}
    assert told(items, ShadowEvents) == expected
    assert {event["evidence"]["detector"] for event in expected} == {
        f"robust_ewma@{CANDIDATE.version}"
    }
