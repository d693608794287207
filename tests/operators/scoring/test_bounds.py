"""What a name and a unit say of values, and that no band leaves what is possible."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest

from flows.settings import Scoring
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed, Scored
from operators.scoring.bounds import nature
from operators.scoring.step import ScoringLogic
from tests.flows.offline.made_rollups import WINDOW, Made, frame


@pytest.mark.parametrize(
    ("name", "unit", "least", "largest"),
    [
        ("http.server.request.duration", "s", 0.0, math.inf),
        ("process.memory.usage", "By", 0.0, math.inf),
        ("queue.length", "{message}", 0.0, math.inf),
        ("mysql_connections", "", 0.0, math.inf),
        ("system.cpu.utilization", "1", 0.0, 1.0),
        ("disk_used_percent", "", 0.0, 100.0),
        ("http.errors", "", 0.0, math.inf),
        ("hw.temperature", "Cel", -math.inf, math.inf),
        ("node_timex_offset_seconds", "", -math.inf, math.inf),
        ("ntp.offset", "s", -math.inf, math.inf),
        ("account.balance", "", -math.inf, math.inf),
    ],
)
def test_names_and_units_tell_where_values_end(
    name: str, unit: str, least: float, largest: float
) -> None:
    assert nature(name, unit)[::2] == (largest, least)


def scored(name: str, kind: str, values: list[float]) -> pl.DataFrame:
    made = Made(name, kind, list(range(len(values))), values)
    logic = ScoringLogic(Scoring(detector="robust_ewma"), WINDOW, None)
    out = logic.on_batch([Closed(frame([made], [1]).select(ROLLUPS.names()))])
    (found,) = [item.frame for item in out if isinstance(item, Scored)]
    return found.drop_nulls("score")


BURSTY = np.random.default_rng(1).exponential(1.0, 200).tolist()


@pytest.mark.parametrize(("name", "kind"), [("latency", "gauge"), ("requests", "cumulative")])
def test_a_band_does_not_go_below_zero_where_values_cannot(name: str, kind: str) -> None:
    found = scored(name, kind, BURSTY)
    assert found["lower"].min() == 0.0
    assert found["expected"].min() >= 0.0
    assert ((found["lower"] <= found["expected"]) & (found["expected"] <= found["upper"])).all()


def test_it_does_where_they_can_and_where_a_value_is_there() -> None:
    assert scored("temperature", "gauge", BURSTY)["lower"].min() < 0.0
    values = [*BURSTY[:60], *[-3.0 - one for one in BURSTY[:60]]]
    below = scored("latency", "gauge", values).tail(50)
    assert below["lower"].max() < 0.0
