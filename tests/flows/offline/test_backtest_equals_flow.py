"""The backtest says what the flow's scoring says of the same rollups, to the last bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from flows.offline.backtest.judging import judge, scores_of
from flows.offline.history.lake import LakeHistory
from flows.settings import LakeSection as LakeSettings
from flows.settings import Scoring
from operators.contracts.alert import AlertEvent, decode_event
from operators.contracts.frames import ROLLUPS, shard_of
from operators.contracts.items import Closed, Events, Passed, Scored
from operators.scoring.step import ScoringLogic
from operators.scoring.together import TogetherLogic
from sinks.lake import Lake
from tests.flows.offline.made_rollups import WINDOW, frame, made

SHARDS = 3
NUMBERS = ["score", "expected", "lower", "upper"]


def by_flow(
    rollups: pl.DataFrame, scoring: Scoring
) -> tuple[pl.DataFrame, list[tuple[AlertEvent, int]]]:
    """Return what the flow's scoring step says, one window after the other."""
    logics = [ScoringLogic(scoring, WINDOW, None) for _ in range(SHARDS)]
    causes = TogetherLogic(scoring.together, SHARDS, None)
    shard = pl.Series("shard", shard_of(rollups["series"].to_numpy(), SHARDS))
    frames: list[pl.DataFrame] = []
    events: list[tuple[AlertEvent, int]] = []

    def take(number: int, items: list[Any]) -> None:
        frames.extend(item.frame for item in items if isinstance(item, Scored))
        raised = [(str(number), item) for item in items if not isinstance(item, Scored)]
        tell(causes.on_batch(raised))

    def tell(told: list[Events]) -> None:
        for item in told:
            rows = item.frame.select("event", "at").iter_rows()
            events.extend((decode_event(event), at) for event, at in rows)

    for window in rollups.with_columns(shard).partition_by("window_start", maintain_order=True):
        watermark = int(window["window_start"][0]) + WINDOW
        for number, logic in enumerate(logics):
            mine = window.filter(shard=number).select(ROLLUPS.names())
            if mine.height:
                take(number, logic.on_batch([Closed(mine)]))
            take(number, logic.on_batch([Passed(watermark)]))
    tell(causes.on_end())
    return pl.concat(frames), events


def stored(path: Path, rollups: pl.DataFrame) -> LakeHistory:
    lake = Lake(LakeSettings(path=path))
    # In pieces, as storage writes them; some twice, as after a crash.
    for piece in (*rollups.iter_slices(1700), rollups.head(900)):
        lake.write(piece)
    lake.close()
    return LakeHistory(path, WINDOW)


def scores(history: LakeHistory, scoring: Scoring) -> pl.DataFrame:
    found = []
    for facts, judged in scores_of(history, scoring, shards=SHARDS):
        found.append(
            pl.DataFrame(
                {
                    "series": facts["series"].to_numpy()[judged.rows],
                    "window_start": judged.starts,
                    **{name: judged.judgements[at] for at, name in enumerate(NUMBERS)},
                }
            )
        )
    return pl.concat(found).sort("series", "window_start")


DETECTORS = [
    {},
    {"detector": "robust_ewma", "fire_after": 1, "stale_after": "1m", "evict_after": "5m"},
    {"stale_after": "10m", "evict_after": "5m", "accept_after": "3m"},
]


@pytest.mark.parametrize(("seed", "changes"), list(enumerate(DETECTORS)))
def test_scores_and_events_are_those_of_the_flow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], seed: int
) -> None:
    monkeypatch.setattr("flows.offline.history.lake._ROWS", 700)  # several stretches of time
    scoring = Scoring(**({"evict_after": "20m"} | changes))
    series = made(seed)
    identities = np.random.default_rng(seed + 1).integers(1, 2**63, len(series)).tolist()
    rollups = frame(series, identities)
    history = stored(tmp_path, rollups)

    scored, events = by_flow(rollups, scoring)
    value = pl.when(pl.col("kind") == "gauge").then("mean").otherwise("rate")
    expected = scored.filter(value.is_finite())
    expected = expected.filter(~pl.col("name").str.starts_with("headrace."))
    expected = expected.with_columns(pl.col(NUMBERS).fill_null(np.nan)).sort(
        "series", "window_start"
    )
    given_ = scores(history, scoring)
    for name in ("series", "window_start"):
        assert given_[name].to_list() == expected[name].to_list()
    for name in NUMBERS:
        assert given_[name].to_numpy().tobytes() == expected[name].to_numpy().tobytes(), name

    for cores in (1, 2):
        found = judge(history, scoring, shards=SHARDS, cores=cores)
        assert found.events == events
        assert found.series["rollups"].sum() == expected.height
        assert found.series["anomalous"].sum() == (scored["score"] >= 1).sum()
