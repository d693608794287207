"""OTLP's metrics and number points as columns, once the nesting of JSON is flattened."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, Self

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.nested import combine_hashes
from operators.contracts.frames import POINTS, STREAMS
from operators.decoders.otlp.kinds import NO_RECORDED_VALUE

__all__ = ["OtlpMetrics", "PointColumns", "points_of"]

_LATEST: Final = np.uint64(2**63 - 1)
_MARKER: Final = float(np.array([0x7FF0000000000002], np.uint64).view(np.float64)[0])
"""Prometheus' staleness marker, which is what a point without a value is there."""


@dataclass(frozen=True, slots=True)
class OtlpMetrics:
    """The metrics of a poll: one element a metric in every array.

    ``rises`` says that the points are changes of what only rises, so that none can be negative.
    """

    message: NDArray[np.uint32]
    name: pa.Array
    unit: pa.Array
    kind: NDArray[np.uint8]
    gauge: NDArray[np.bool_]
    rises: NDArray[np.bool_]
    scope: NDArray[np.int64]
    resource: NDArray[np.int64]
    hashes: NDArray[np.uint64]

    def streams(
        self, rows: NDArray[np.int64], scopes: pl.Series
    ) -> tuple[pl.DataFrame, NDArray[np.int64]]:
        """Return the STREAMS frame of the metrics at ``rows``, and the resources it refers to.

        ``scopes`` has a text for each scope of the poll; the resources are rows of the poll's.
        """
        resources, resource = np.unique(self.resource[rows], return_inverse=True)
        streams = pl.DataFrame(
            {
                "name": pl.Series(pl.from_arrow(self.name.take(pa.array(rows)))),
                "unit": pl.Series(pl.from_arrow(self.unit.take(pa.array(rows)))),
                "kind": self.kind[rows],
                "scope": scopes.gather(self.scope[rows]),
                "resource": resource.astype(np.uint32),
            },
            schema=STREAMS,
        )
        return streams, resources


@dataclass(frozen=True, slots=True)
class PointColumns:
    """The data points of a poll: one element a point in every array.

    ``metric`` is the row in ``OtlpMetrics``; ``attributes`` are list arrays that follow each other.
    """

    metric: NDArray[np.int64]
    ts: NDArray[np.uint64]
    start: NDArray[np.uint64]
    value: NDArray[np.float64]
    has_value: NDArray[np.bool_]
    flags: NDArray[np.uint32]
    attributes: list[pa.ListArray]
    hashes: NDArray[np.uint64]

    @classmethod
    def join(cls, parts: list[Self]) -> Self:
        """Return the points of ``parts``, one after the other."""
        parts = [part for part in parts if len(part.metric)] or parts[:1]
        if len(parts) == 1:
            return parts[0]
        return cls(
            metric=np.concatenate([part.metric for part in parts]),
            ts=np.concatenate([part.ts for part in parts]),
            start=np.concatenate([part.start for part in parts]),
            value=np.concatenate([part.value for part in parts]),
            has_value=np.concatenate([part.has_value for part in parts]),
            flags=np.concatenate([part.flags for part in parts]),
            attributes=[lists for part in parts for lists in part.attributes],
            hashes=np.concatenate([part.hashes for part in parts]),
        )


class UsedPoints(NamedTuple):
    """POINTS frames, and the row in ``PointColumns`` of each of their rows.

    ``points`` are those with a finite value; ``unusual`` those that are stale or not finite, which
    rules look at. ``skipped`` counts all but the former, by reason.
    """

    points: pl.DataFrame
    rows: NDArray[np.intp]
    unusual: pl.DataFrame
    unusual_rows: NDArray[np.intp]
    skipped: dict[str, int]


def points_of(metrics: OtlpMetrics, columns: PointColumns) -> UsedPoints:
    """Return what can be used of the data points."""
    stale = (columns.flags & NO_RECORDED_VALUE) != 0
    finite = np.isfinite(columns.value)
    timeless = columns.ts == 0
    negative = metrics.rises[columns.metric] & (columns.value < 0)
    usable = finite & columns.has_value & ~stale & ~timeless & ~negative
    skipped: dict[str, int] = {}
    kept = np.arange(len(columns.metric))
    unusual = np.empty(0, np.intp)
    if not usable.all():
        unusual = np.flatnonzero((stale | (~finite & columns.has_value)) & (columns.ts != 0))
        empty = ~columns.has_value & ~stale
        odd = ~finite & ~stale & ~empty
        timeless &= ~(stale | empty | odd)
        negative &= ~(stale | empty | odd | timeless)
        reasons = {
            "stale": stale, "no_value": empty, "not_finite": odd, "no_time": timeless,
            "negative_delta": negative,
        }  # fmt: skip
        skipped = {name: int(count) for name, rows in reasons.items() if (count := rows.sum())}
        kept = np.flatnonzero(usable)
    others = _points(metrics, columns, unusual).with_columns(
        value=pl.Series(np.where(stale[unusual], _MARKER, columns.value[unusual]))
    )
    return UsedPoints(_points(metrics, columns, kept), kept, others, unusual, skipped)


def _points(metrics: OtlpMetrics, columns: PointColumns, kept: NDArray[np.intp]) -> pl.DataFrame:
    metric = columns.metric[kept]
    points = {
        "message": metrics.message[metric],
        "raw": combine_hashes(columns.hashes[kept], metrics.hashes[metric]),
        # Past 2262 an int64 would turn negative; such a time is refused as future all the same.
        "ts": np.minimum(columns.ts[kept], _LATEST).view(np.int64),
        "start": np.minimum(columns.start[kept], _LATEST).view(np.int64),
        "value": columns.value[kept],
    }
    return pl.DataFrame(points, schema=POINTS)
