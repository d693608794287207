"""What both versions of remote write make of a series: its kind, its times, its samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.nested import owners
from operators.contracts.decoder import Description, UndecodableError
from operators.contracts.frames import (
    ATTRIBUTES,
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    GAUGE,
    POINTS,
    STREAMS,
    empty,
)

__all__ = [
    "COUNTER",
    "GAUGE_HISTOGRAM",
    "HISTOGRAM",
    "NAME",
    "SUMMARY",
    "SampleColumns",
    "SeriesColumns",
    "Skipped",
    "count_reasons",
    "describe_streams",
    "is_stale",
    "kinds_of",
    "nanoseconds",
    "samples_of",
]

NAME: Final = "__name__"
"""The label that holds the name of the metric."""

COUNTER: Final = 1
"""A type of metric, by its number in both versions' metadata."""
HISTOGRAM: Final = 3
GAUGE_HISTOGRAM: Final = 4
SUMMARY: Final = 5
_TYPES: Final = 8

_STALE: Final = np.uint64(0x7FF0000000000002)
_LATEST: Final = (2**63 - 1) // 1_000_000  # in milliseconds

Skipped = dict[str, int]
"""Number of data points that carry nothing to aggregate, by reason."""


@dataclass(frozen=True, slots=True)
class SeriesColumns:
    """The series of a poll: one element a series in every array.

    ``hashes`` are of all that identifies a series: labels, and the type and unit if it has them.
    ``named`` is false where the name is missing. ``refused`` are those of messages that turned
    out to be bad. ``type`` is 0 where none is given; ``created`` is milliseconds, 0 likewise.
    """

    message: NDArray[np.uint32]
    hashes: NDArray[np.uint64]
    named: NDArray[np.bool_]
    refused: NDArray[np.bool_]
    type: NDArray[np.int32]
    created: NDArray[np.int64]


def kinds_of(names: pl.Series, types: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return the kind of each series of samples, by its type; by its name if that is not known.

    The series of a classic histogram or summary are counters, but for a summary's quantiles.
    """
    suffix = names.str.extract(r"(_total|_count|_sum|_bucket|_created)$").fill_null("").to_numpy()
    counts = (suffix == "_count") | (suffix == "_sum")
    by_type = np.select(
        [types == COUNTER, types == HISTOGRAM, types == SUMMARY, (types <= 0) | (types >= _TYPES)],
        [
            suffix != "_created",
            suffix != "_created",
            counts,
            counts | (suffix == "_total") | (suffix == "_bucket"),
        ],
        default=False,
    )
    return np.where(by_type, CUMULATIVE, GAUGE).astype(np.uint8)


def describe_streams(
    names: pl.Series,
    units: pl.Series,
    types: NDArray[np.int32],
    is_histogram: NDArray[np.bool_],
    labels: pl.DataFrame,
) -> Description:
    """Return the description of series with the given names, units and types.

    ``labels`` is an ATTRIBUTES frame with all labels; the name is no attribute.

    Raises:
        UndecodableError: a label stands twice in a series, so nobody can tell which one is meant.
    """
    _refuse_duplicates(labels)
    kinds = np.where(is_histogram, np.uint8(CUMULATIVE_HISTOGRAM), kinds_of(names, types))
    streams = pl.DataFrame(
        {"name": names, "unit": units, "kind": kinds}, schema_overrides=STREAMS
    ).with_columns(scope=pl.lit(""), resource=pl.lit(0, pl.UInt32))
    attributes = labels.filter(pl.col("key") != NAME).cast(ATTRIBUTES)
    # A sender that does not know the type may say none, or one that was made up since.
    parted = ~is_histogram & ((types == HISTOGRAM) | (types <= 0) | (types >= _TYPES))
    return Description(
        streams.select(STREAMS.names()), attributes, empty(ATTRIBUTES), parted=parted
    )


@dataclass(frozen=True, slots=True)
class SampleColumns:
    """The samples of a poll: POINTS frames, and the row in ``SeriesColumns`` of each of their rows.

    ``points`` are those with a finite value, ``unusual`` the others that a rule looks at.
    """

    points: pl.DataFrame
    of_point: NDArray[np.intp]
    unusual: pl.DataFrame
    of_unusual: NDArray[np.intp]
    skipped: Skipped


def samples_of(series: SeriesColumns, lists: pa.ListArray) -> SampleColumns:
    """Return the samples of all series.

    Args:
        series: the series.
        lists: the samples of each.
    """
    samples = lists.values
    owner = owners(lists)
    value = np.asarray(samples.field("value"))
    milliseconds = np.asarray(samples.field("timestamp"))
    finite = np.isfinite(value)
    good = milliseconds > 0
    flawless = series.named & ~series.refused
    if not flawless.all():
        good &= flawless[owner]
    usable = finite & good
    start = series.created[owner]
    if "start_timestamp" in {field.name for field in samples.type}:
        own = np.asarray(samples.field("start_timestamp"))
        start = np.where(own > 0, own, start)
    skipped: Skipped = {}
    columns = _Columns(series, owner, value, milliseconds, start)
    unusual = np.empty(0, np.intp)
    if not usable.all():
        unusual = np.flatnonzero(good & ~finite)
        reasons = {
            "no_name": ~series.named[owner],
            "stale": is_stale(value),
            "not_finite": ~finite,
            "no_time": milliseconds <= 0,
        }
        skipped = count_reasons(reasons, ~series.refused[owner])
        kept = np.flatnonzero(usable)
        used = columns.only(kept)
    else:
        used = columns
    others = columns.only(unusual)
    return SampleColumns(used.points(), used.owner, others.points(), others.owner, skipped)


@dataclass(frozen=True, slots=True)
class _Columns:
    """Samples as they stand in the messages, times in milliseconds."""

    series: SeriesColumns
    owner: NDArray[np.intp]
    value: NDArray[np.float64]
    milliseconds: NDArray[np.int64]
    start: NDArray[np.int64]

    def only(self, rows: NDArray[np.intp]) -> _Columns:
        return _Columns(
            self.series,
            self.owner[rows],
            self.value[rows],
            self.milliseconds[rows],
            self.start[rows],
        )

    def points(self) -> pl.DataFrame:
        points = {
            "message": self.series.message[self.owner],
            "raw": self.series.hashes[self.owner],
            "ts": nanoseconds(self.milliseconds),
            "start": nanoseconds(self.start),
            "value": self.value,
        }
        return pl.DataFrame(points, schema=POINTS)


def _refuse_duplicates(labels: pl.DataFrame) -> None:
    twice = labels.filter(labels.select("owner", "key").is_duplicated()).unique("owner")
    if twice.height:
        reasons = {
            owner: f"not remote write: the label {key!r} stands twice in a series"
            for owner, key in twice.select("owner", "key").iter_rows()
        }
        raise UndecodableError(next(iter(reasons.values())), reasons)


def count_reasons(reasons: dict[str, NDArray[np.bool_]], rest: NDArray[np.bool_]) -> Skipped:
    """Return how many of ``rest`` each reason holds for; what two hold for counts for the first."""
    skipped: Skipped = {}
    for reason, rows in reasons.items():
        if count := int((rows & rest).sum()):
            skipped[reason] = count
        rest = rest & ~rows
    return skipped


def nanoseconds(milliseconds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return times in nanoseconds, 0 where none is given.

    Past 2262 they would not fit; such a time is cut off there, and refused as future all the same.
    """
    return np.clip(milliseconds, 0, _LATEST) * 1_000_000


def is_stale(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Return where the values are Prometheus's staleness marker, one NaN of many."""
    bits: Any = np.ascontiguousarray(values).view(np.uint64)
    return bits == _STALE  # type: ignore[no-any-return]
