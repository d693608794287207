"""What came too late is kept: points that no window can take any more, as messages."""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.frames import MESSAGES
from operators.histograms import Histograms
from operators.names import Names
from operators.sums import Points

__all__ = ["late_frame", "late_messages"]


def late_frame(points: Points, histograms: Histograms, names: Names) -> pl.DataFrame:
    """Return a row a point: identity, tenant, name, labels, ts, start, value; or count and sum.

    Points whose identity has no name yet have none here.
    """
    size = len(points.row)
    row = np.concatenate([points.row, histograms.row])
    owner = names.owner[row]
    texts = names.describe(np.maximum(owner, 0)) if names.owners else {}
    named = pl.Series(owner >= 0)
    nothing = np.full(len(histograms.row), np.nan)
    return pl.DataFrame(
        {
            "identity": names.identities[row],
            **{
                column: texts[column] if texts else pl.Series([None] * len(row), dtype=pl.String)
                for column in ("tenant", "name", "labels")
            },
            "ts": np.concatenate([points.ts, histograms.ts]),
            "start": np.concatenate([points.start, histograms.start]),
            "value": pl.Series(np.concatenate([points.value, nothing]), nan_to_null=True),
            "count": _after(size, histograms.count, pl.Int64),
            "sum": _after(size, histograms.sum, pl.Float64).fill_nan(None),
        }
    ).with_columns(pl.when(named).then(pl.col("tenant", "name", "labels")), reason=pl.lit("late"))


def late_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame with one message: a line of JSON a point.

    Args:
        frame: as ``late_frame`` gives it.
        topic: where it goes.
    """
    lines = frame.with_columns(pl.col("identity").cast(pl.String)).write_ndjson()
    return pl.DataFrame(
        {"topic": [topic], "key": [b""], "value": [lines.encode()]}, schema=MESSAGES
    )


def _after(size: int, values: NDArray[np.generic], kind: type[pl.DataType]) -> pl.Series:
    """Return ``values`` behind ``size`` nulls."""
    return pl.concat([pl.repeat(None, size, dtype=kind, eager=True), pl.Series(values, dtype=kind)])
