"""Which of several rows of one window counts: no clock and no revision need be asked.

A rollup is a function of the set of its points, and that set only grows: what is written again
after a crash has the same points or more, unless what had been kept is lost. So of several rows the
one of the most points counts, of those that of the highest revision, and of those the last.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl

from operators.contracts.frames import CUMULATIVE, DELTA, GAUGE, KINDS

__all__ = ["POINTS_OF", "best_only"]

_COUNTED: Final = (KINDS[GAUGE], KINDS[DELTA], KINDS[CUMULATIVE])
POINTS_OF: Final = pl.when(pl.col("kind").is_in(_COUNTED)).then("count").otherwise(0).fill_null(0)
"""The points of a row; 0 of histograms and summaries, whose count is of what they observed."""
_PLACE: Final = ("series", "window", "window_start")
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)


def best_only(rows: pl.DataFrame) -> pl.DataFrame:
    """Return, of a SCORES frame in the order of writing, each window of a series once.

    >>> given = {"series": [1, 1, 2], "window": 10, "window_start": 0, "kind": "gauge",
    ...          "revision": 0}
    >>> best_only(pl.DataFrame({**given, "count": [5, 3, 4]}))["count"].to_list()
    [5, 4]
    """
    series, window, start = (rows[name].to_numpy() for name in _PLACE)
    with np.errstate(over="ignore"):
        key = (start.astype(np.uint64) + window.astype(np.uint64)) * _ODD ^ series
    if pl.Series(key).n_unique() == rows.height:
        return rows  # as nearly always
    return (
        rows.with_columns(points=POINTS_OF)
        .sort("points", "revision", maintain_order=True)
        .unique(_PLACE, keep="last", maintain_order=True)
        .drop("points")
    )
