"""What came too late is kept: points that no window can take any more, as messages."""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.contracts.frames import BUCKET, MESSAGES
from operators.windows.histograms import Histograms
from operators.windows.names import Names
from operators.windows.sums import Points

__all__ = ["late_frame", "late_messages"]

_MESSAGE_BYTES: Final = 500_000


def late_frame(points: Points, histograms: Histograms, names: Names) -> pl.DataFrame:
    """Return a row a point: identity, tenant, name, labels, ts, start, value; or count and sum.

    Points whose identity has no name yet have none here. A bucket of a classic histogram is named as it
    was sent, with its bound as a label.
    """
    size = len(points.row)
    row = np.concatenate([points.row, histograms.row])
    owner = names.owner[row]
    texts = names.describe(np.maximum(owner, 0)) if names.owners else {}
    named = pl.Series(owner >= 0)
    buckets = _buckets(names, row)
    nothing = np.full(len(histograms.row), np.nan)
    frame = pl.DataFrame(
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
    )
    if len(buckets):
        frame = _as_sent(frame, buckets, names.parts.bound[row[buckets]])
    return frame.with_columns(
        pl.when(named).then(pl.col("tenant", "name", "labels")), reason=pl.lit("late")
    )


def _buckets(names: Names, row: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return which of ``row`` are buckets of classic histograms."""
    part = names.parts.part
    found = np.flatnonzero(row < len(part))
    chosen: NDArray[np.intp] = found[part[row[found]] == BUCKET]
    return chosen


def _as_sent(
    frame: pl.DataFrame, buckets: NDArray[np.intp], bound: NDArray[np.float64]
) -> pl.DataFrame:
    """Return the frame with the rows at ``buckets`` named as buckets; ``bound`` is that of each."""
    sent = frame[buckets].select("identity", "name", "labels", bound=pl.Series(bound))
    distinct = sent.unique("identity")
    labels = [
        orjson.dumps(
            {**orjson.loads(labels), "le": repr(upper) if upper < np.inf else "+Inf"},
            option=orjson.OPT_SORT_KEYS,
        ).decode()
        for labels, upper in distinct.select("labels", "bound").iter_rows()
    ]
    told = distinct.select(
        "identity",
        sent_name=pl.col("name") + "_bucket",
        sent_labels=pl.Series(labels, dtype=pl.String),
    )
    return (
        frame.join(told, on="identity", how="left", maintain_order="left")
        .with_columns(
            name=pl.coalesce("sent_name", "name"), labels=pl.coalesce("sent_labels", "labels")
        )
        .drop("sent_name", "sent_labels")
    )


def late_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame: a line of JSON a point, up to half a megabyte of them a message.

    Args:
        frame: as ``late_frame`` gives it.
        topic: where it goes.
    """
    row = pl.struct(pl.col("identity").cast(pl.String), pl.exclude("identity"))
    lines = frame.select(line=row.struct.json_encode())
    size = pl.col("line").str.len_bytes().cast(pl.Int64) + 1
    return (
        lines.with_columns(part=(size.cum_sum() - size) // _MESSAGE_BYTES)
        .group_by("part", maintain_order=True)
        .agg(value=pl.col("line").str.join("\n"))
        .select(
            topic=pl.lit(topic),
            key=pl.lit(b"", pl.Binary),
            value=pl.col("value").cast(pl.Binary),
        )
        .cast(MESSAGES)
    )


def _after(size: int, values: NDArray[np.generic], kind: type[pl.DataType]) -> pl.Series:
    """Return ``values`` behind ``size`` nulls."""
    return pl.concat([pl.repeat(None, size, dtype=kind, eager=True), pl.Series(values, dtype=kind)])
