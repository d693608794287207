"""The past of series at even steps, from stored rollups."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from flows.offline.forecasting.methods import Values
from flows.offline.history.base import FACTS, History
from flows.offline.history.catalog import judged_stretches
from operators.scoring.wanted import ScoringSettings

__all__ = ["Past", "pasts"]

_HOLES: Final = 0.5
"""A series with more holes than this part of its steps is not forecast."""


class Past(NamedTuple):
    """One series at even steps.

    Attributes:
        facts: a row of a FACTS frame.
        ends: end of the last step, in nanoseconds.
        values: a mean a step; holes are filled by a line between their ends.
    """

    facts: dict[str, str]
    ends: int
    values: Values


def pasts(history: History, settings: ScoringSettings, step: int) -> Iterator[Past]:
    """Yield the series of a history, each at steps of so many nanoseconds.

    A counter is taken by its rate. A step that is not whole at the end is left out.

    Raises:
        BadHistory: it can't be read.
    """
    catalog, stretches = judged_stretches(history, settings, 1)
    sums: list[pl.DataFrame] = []
    last = 0
    for stretch in stretches:
        rows = pl.DataFrame(
            {"row": stretch.rows, "step": stretch.starts // step, "value": stretch.values}
        )
        sums.append(
            rows.group_by("row", "step").agg(pl.col("value").sum(), pl.len().alias("count"))
        )
        if len(stretch.ticks):
            last = int(stretch.ticks[-1]) + history.window
    if not sums:
        return
    means = (
        pl.concat(sums)
        .group_by("row", "step")
        .agg((pl.col("value").sum() / pl.col("count").sum()).alias("mean"))
        .filter(pl.col("step") < last // step)
        .sort("row", "step")
    )
    facts = catalog.facts
    for part in means.partition_by("row"):
        numbers, values = part["step"].to_numpy(), part["mean"].to_numpy()
        first, end = int(numbers[0]), int(numbers[-1]) + 1
        # What stopped reporting is not forecast, nor what is hardly ever there.
        if end < last // step or len(numbers) < _HOLES * (end - first):
            continue
        whole = _filled(numbers - first, values, end - first)
        row = facts.row(int(part["row"][0]), named=True)
        yield Past({name: row[name] for name in FACTS.names()}, end * step, whole)


def _filled(at: NDArray[np.int64], values: Values, count: int) -> Values:
    filled: Values = np.interp(np.arange(count), at, values)
    return filled
