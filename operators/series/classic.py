"""Classic histograms of Prometheus: which streams are their parts, and what they are parts of.

``X_bucket`` with a label ``le`` that is a number or ``+Inf`` is a bucket, and ``X_count`` and
``X_sum`` may be the count and the sum of the same histogram, ``X`` with their other labels. A type
that says otherwise (``Description.parted``) goes before the name. Whether a count has buckets beside
it is not known here, since they may come in other messages: ``operators.windows.classic`` finds out.

The histogram has the identity that a native one of the same name and labels has. So where both are
sent, as while people change over, they are one series, and each observation counts once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.decoder import Description
from operators.contracts.frames import (
    BUCKET,
    COUNT,
    CUMULATIVE_HISTOGRAM,
    PARTS,
    SERIES,
    SUM,
    TOGETHER,
)

__all__ = ["CLASSIC_ENCODINGS", "Parts", "parts_of", "with_parts"]

CLASSIC_ENCODINGS: Final = frozenset(
    {
        "prometheus_remote_write", "prometheus_remote_write_v2", "prometheus_json", "influx",
        "telegraf_json",
    }
)  # fmt: skip
"""Formats that have no explicit histograms of their own."""

_BOUND: Final = "le"
_ENDS: Final = {"_bucket": BUCKET, "_count": COUNT, "_sum": SUM}
_PATTERN: Final = r"^(.+)(_bucket|_count|_sum)$"


@dataclass(frozen=True, slots=True)
class Parts:
    """Streams that are parts.

    Attributes:
        rows: which streams of the description they are.
        part: BUCKET, COUNT or SUM of each.
        bound: the upper bound of each bucket, infinity for all else.
        wholes: a description of the histogram of each.
    """

    rows: NDArray[np.intp]
    part: NDArray[np.uint8]
    bound: NDArray[np.float64]
    wholes: Description


def parts_of(description: Description) -> Parts | None:
    """Return the streams that are parts of classic histograms, None if there are none."""
    streams = description.streams
    ends = streams["name"].str.extract(_PATTERN, 2)
    if ends.null_count() == streams.height:
        return None
    part = ends.replace_strict(_ENDS, default=0, return_dtype=pl.UInt8).to_numpy()
    is_bound = (description.attributes["key"] == _BOUND).to_numpy()
    bounded = description.attributes.filter(pl.Series(is_bound))
    owner = bounded["owner"].to_numpy()
    bound = np.full(streams.height, np.nan)
    bound[owner] = bounded["value"].cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    has_bound = np.zeros(streams.height, np.bool_)
    has_bound[owner] = True
    found = np.where(part == BUCKET, bound > -np.inf, (part > 0) & ~has_bound)  # NaN is not above
    if description.parted is not None:
        found &= description.parted
    rows = np.flatnonzero(found)
    if not len(rows):
        return None
    part = part[rows]
    return Parts(
        rows, part, np.where(part == BUCKET, bound[rows], np.inf), _wholes(description, rows, ~is_bound)
    )  # fmt: skip


def _wholes(
    description: Description, rows: NDArray[np.intp], kept: NDArray[np.bool_]
) -> Description:
    """Return the description of the histograms that the streams at ``rows`` are parts of.

    Args:
        description: of all streams.
        rows: of those that are parts.
        kept: which of the attributes are not the bound of a bucket.
    """
    streams = description.streams[rows].with_columns(
        name=pl.col("name").str.extract(_PATTERN, 1),
        kind=pl.lit(CUMULATIVE_HISTOGRAM, pl.UInt8),
    )
    place = np.full(description.streams.height, -1, np.int64)
    place[rows] = np.arange(len(rows))
    owner = place[description.attributes["owner"].to_numpy()]
    chosen = np.flatnonzero(kept & (owner >= 0))
    attributes = description.attributes[chosen].with_columns(
        owner=pl.Series(owner[chosen].astype(np.uint32))
    )
    exact = description.exact_attributes
    return replace(
        description,
        streams=streams,
        attributes=attributes,
        exact_attributes=None if exact is None else exact[chosen],
        parted=None,
        is_gauge=None,
    )


def with_parts(series: pl.DataFrame, parts: Parts, wholes: pl.DataFrame) -> pl.DataFrame:
    """Return a SERIES frame with the columns of PARTS, and the histograms of buckets at its end.

    Args:
        series: a SERIES frame with a row a stream.
        parts: which of them are parts.
        wholes: a SERIES frame of their histograms, in their order.
    """
    size = series.height
    part, bound = np.zeros(size, np.uint8), np.full(size, np.inf)
    part[parts.rows], bound[parts.rows] = parts.part, parts.bound
    whole = series["identity"].to_numpy().copy()
    whole[parts.rows] = wholes["identity"].to_numpy()
    here = np.arange(size)
    source = here.copy()
    source[parts.rows] = size + np.arange(len(parts.rows))
    merged = pl.concat([series, wholes])[source]
    is_total = (part == COUNT) | (part == SUM)
    alone = pl.concat([merged, series])[np.where(is_total, size + here, here)]
    found = merged.with_columns(
        identity=series["identity"],
        part=pl.Series(part),
        bound=pl.Series(bound),
        whole=pl.Series(whole),
        alone_series=alone["series"],
        alone_name=alone["name"],
        alone_kind=alone["kind"],
    )
    together = (
        wholes.filter(pl.Series(parts.part == BUCKET))
        .unique("identity", maintain_order=True)
        .with_columns(
            part=pl.lit(TOGETHER, pl.UInt8),
            bound=pl.lit(np.inf),
            whole="identity",
            alone_series="series",
            alone_name="name",
            alone_kind="kind",
        )
    )
    return pl.concat([found, together]).cast(pl.Schema({**SERIES, **PARTS}))
