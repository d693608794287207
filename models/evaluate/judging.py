"""A detector over labelled series, as the flow runs it: judged, then learned, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.evaluate.gate import gated
from models.evaluate.labelled import BadData, Labelled
from models.named import MINUTE, new_detector

__all__ = ["given_scores", "scores_of"]

Scores = list[NDArray[np.float64]]


def scores_of(
    series: Sequence[Labelled], detector: str, options: Mapping[str, Any], alerts: float
) -> tuple[Scores, float]:
    """Return the score of each row that would alert, 0 elsewhere, and microseconds a value.

    Every series has a detector of its own; no row is judged by what came after it.
    """
    found, spent, rows = [], 0.0, 0
    for one in series:
        bank = new_detector(detector, options, alerts=alerts, window=_rhythm(one)).bank()
        bank.grow(1)
        bank.judge_then_learn(np.zeros(0, np.int32), np.zeros(0), np.zeros(0, np.int64))
        began = perf_counter()
        judged = bank.judge_then_learn(np.zeros(len(one), np.int32), one.values, one.times)[0]
        spent += perf_counter() - began
        rows += len(one)
        found.append(gated(np.nan_to_num(judged)))
    return found, spent / max(rows, 1) * 1e6


def _rhythm(one: Labelled) -> int:
    """Return the usual time between two rows, in nanoseconds."""
    return int(np.median(np.diff(one.times))) if len(one) > 1 else MINUTE


def given_scores(series: Sequence[Labelled], path: Path) -> Scores:
    """Return the scores in a Parquet file with ``file``, ``row`` and ``anomaly_score``.

    Raises:
        BadData: a column is missing, or a series has other rows.
    """
    try:
        frame = pl.read_parquet(path)
        parts = frame.sort("file", "row").partition_by("file", as_dict=True)
        by_name = {str(key[0]): part["anomaly_score"].to_numpy() for key, part in parts.items()}
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadData(f"{path}: {error}") from None
    for one in series:
        found = len(by_name.get(one.name, ()))
        if found != len(one):
            raise BadData(f"{path}: {found} scores of {one.name}, which has {len(one)} rows")
    return [by_name[one.name].astype(np.float64) for one in series]
