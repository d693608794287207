"""``python -m bench.detectors --data DIR --labels FILE``: what users choose a detector by.

Every detector, ours and River's, over the same labelled series, each series with one of its own,
through the bank that the flow uses. At the threshold of the flow: NAB's score, what is detected,
false events; and what a value and a series cost.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.evaluate.judging import scores_of
from models.evaluate.labelled import Labelled, nab_series
from models.evaluate.report import report
from models.named import new_detector

DETECTORS: Final[Mapping[str, Mapping[str, Any]]] = {
    "peak_rank": {},
    "robust_ewma": {},
    "river.anomaly.StandardAbsoluteDeviation": {},
    "river.anomaly.GaussianScorer": {},
    "river.anomaly.OneClassSVM": {"nu": 0.1},
    "river.anomaly.HalfSpaceTrees": {"n_trees": 10, "height": 6},
    "river.anomaly.LODA": {"n_random_cuts": 10},
    "river.anomaly.PredictiveAnomalyDetection": {
        "predictive_model": {"river.time_series.SNARIMAX": {"p": 4, "d": 1, "q": 0}}
    },
}


def main() -> None:
    """Print a line a detector, and the same as JSON if asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--json", action="store_true", help="a JSON object a line")
    parser.add_argument("detectors", nargs="*", default=list(DETECTORS))
    given = parser.parse_args()
    series = nab_series(given.data, given.labels)
    for name in given.detectors:
        found = row(name, series)
        print(json.dumps(found) if given.json else _text(found), flush=True)


def row(name: str, series: list[Labelled]) -> dict[str, Any]:
    """Return what is measured of one detector."""
    options = DETECTORS.get(name, {})
    scores, microseconds = scores_of(series, name, options, alerts=1.0)
    at_one = report(series, scores, 1.0)["profiles"]["standard"]
    best = report(series, scores, None)["profiles"]["standard"]
    return {
        "detector": name,
        "score": at_one["score"],
        "detected": f"{at_one['detected']}/{at_one['windows']}",
        "false_events_a_month": at_one["false_events_per_series_month"],
        "best_score": best["score"],
        "best_false_events_a_month": best["false_events_per_series_month"],
        "microseconds": round(microseconds, 1),
        "bytes": state_size(name, series[0]),
    }


def state_size(name: str, one: Labelled) -> int:
    """Return the bytes of the state of a series after a thousand values."""
    bank = new_detector(name, DETECTORS.get(name, {})).bank()
    bank.grow(1)
    bank.judge_then_learn(np.zeros(1000, np.int32), one.values[:1000], one.times[:1000])
    state = bank.state[0]
    if isinstance(state, bytes):
        return len(state)
    return int(state.to_numpy().nbytes)


def _text(found: dict[str, Any]) -> str:
    return (
        f"{found['detector']:44} {found['score']:7.1f} {found['detected']:>6} "
        f"{found['false_events_a_month'] or 0:7.2f}/month  best {found['best_score']:5.1f} "
        f"{found['microseconds']:8.1f} us {found['bytes']:8} bytes"
    )


if __name__ == "__main__":
    main()
