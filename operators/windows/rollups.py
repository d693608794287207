"""What a window comes to: one row an identity or series, and how such rows merge.

Rows merge in any grouping: identities into the series that they share, finer windows into a
coarser one. Everything here is a pure function of columns.
"""

# ruff: noqa: PLR0124, PLR0912, PLR0915 -- a compiled loop is one long function; NaN is what is not equal to itself

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numba import njit
from numpy.typing import NDArray

from operators.columns.ordering import order_by_number
from operators.contracts.frames import QUANTILES, ROLLUPS

__all__ = [
    "MIXED", "NOTHING_BEFORE", "NO_ROWS", "UNSAID", "Rows", "concat_rows", "empty_rows", "merge_rows", "rates",
    "rollup_frame", "take_rows",
]  # fmt: skip


class Rows(NamedTuple):
    """One row an owner in one window. ``owner`` is a row number of the shard's series table.

    ``min`` and ``max`` are of what says them, NaN where nothing does (histograms need not), ``last``
    is NaN where there is none, ``increase`` where the kind has none (gauges).

    ``covered`` is the time that the increments cover, ``UNSAID`` where a producer does not say it of
    one of them, and ``longest`` that of the longest, in nanoseconds. ``stream`` is the identity that
    the row is of, and ``MIXED`` if there are several.
    """

    owner: NDArray[np.int32]
    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    last_ts: NDArray[np.int64]
    last: NDArray[np.float64]
    increase: NDArray[np.float64]
    covered: NDArray[np.int64]
    longest: NDArray[np.int64]
    stream: NDArray[np.uint64]


def _no_rows() -> Rows:
    integers = {
        "owner": np.int32, "count": np.int64, "last_ts": np.int64, "covered": np.int64,
        "longest": np.int64, "stream": np.uint64,
    }  # fmt: skip
    return Rows._make(np.empty(0, integers.get(name, np.float64)) for name in Rows._fields)


NO_ROWS = _no_rows()

MIXED: Final = np.uint64(0)
NOTHING_BEFORE: Final = -(2**62)
"""The time of a tail that there is not, and of a row of nothing."""
UNSAID: Final = -1
_LARGEST: Final = float(np.finfo(np.float64).max)


def concat_rows(parts: Sequence[Rows]) -> Rows:
    """Return the rows of all ``parts``, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_ROWS
    return Rows._make(np.concatenate(columns) for columns in zip(*parts, strict=True))


def take_rows(rows: Rows, chosen: NDArray[Any]) -> Rows:
    """Return the chosen rows, given as a mask or as indexes."""
    return Rows._make(column[chosen] for column in rows)


def merge_rows(parts: Sequence[Rows], owners: int) -> Rows:
    """Return one row an owner, sorted by owner.

    Args:
        parts: rows whose owner may stand in several, or several times in one.
        owners: a number above every owner.
    """
    rows = concat_rows(parts)
    if not len(rows.owner) or (rows.owner[1:] > rows.owner[:-1]).all():
        return rows  # as it is where no two identities share a series
    return _merge(rows, owners)


@njit(cache=True, nogil=True)
def _merge(rows: Rows, owners: int) -> Rows:
    order, bounds = order_by_number(rows.owner, owners)
    size = 0
    for owner in range(owners):
        if bounds[owner + 1] > bounds[owner]:
            size += 1
    merged = empty_rows(size)
    at = -1
    for owner in range(owners):
        begin, end = bounds[owner], bounds[owner + 1]
        if begin == end:
            continue
        at += 1
        first = order[begin]
        count, total, lost = rows.count[first], rows.sum[first], 0.0
        least, most = rows.min[first], rows.max[first]
        last_ts, last, increase = rows.last_ts[first], rows.last[first], rows.increase[first]
        covered, longest, stream = rows.covered[first], rows.longest[first], rows.stream[first]
        rise_lost = 0.0
        for k in range(begin + 1, end):
            i = order[k]
            if not least <= rows.min[i] and rows.min[i] == rows.min[i]:
                least = rows.min[i]
            if not most >= rows.max[i] and rows.max[i] == rows.max[i]:
                most = rows.max[i]
            count += rows.count[i]
            # Neumaier's compensated sum: the result hardly depends on the order.
            new = total + rows.sum[i]
            if abs(total) >= abs(rows.sum[i]):
                lost += (total - new) + rows.sum[i]
            else:
                lost += (rows.sum[i] - new) + total
            total = new
            if last_ts == NOTHING_BEFORE:
                stream = rows.stream[i]
            elif rows.last_ts[i] != NOTHING_BEFORE and stream != rows.stream[i]:
                stream = MIXED
            # Of several with the latest time, the one with the largest value; any is before none.
            later = rows.last_ts[i] > last_ts
            if rows.last[i] == rows.last[i]:
                later = later or last != last
                later = later or (rows.last_ts[i] == last_ts and rows.last[i] > last)
            else:
                later = later and last != last
            if later:
                last_ts, last = rows.last_ts[i], rows.last[i]
            rise = rows.increase[i]
            if increase != increase:
                increase = rise
            elif rise == rise:
                new = increase + rise
                if abs(increase) >= abs(rise):
                    rise_lost += (increase - new) + rise
                else:
                    rise_lost += (rise - new) + increase
                increase = new
            if covered == UNSAID or rows.covered[i] == UNSAID:
                covered = UNSAID
            else:
                covered += rows.covered[i]
            longest = max(longest, rows.longest[i])
        merged.owner[at] = owner
        merged.count[at] = count
        merged.sum[at] = total + lost if lost == lost else total
        merged.min[at] = least
        merged.max[at] = most
        merged.last_ts[at] = last_ts
        merged.last[at] = last
        merged.increase[at] = increase + rise_lost if rise_lost == rise_lost else increase
        merged.covered[at], merged.longest[at], merged.stream[at] = covered, longest, stream
    return merged


@njit(cache=True, nogil=True)
def empty_rows(size: int) -> Rows:
    """Return rows to be filled; nothing is covered yet, and all are ``MIXED``."""
    return Rows(
        np.empty(size, np.int32), np.empty(size, np.int64), np.empty(size), np.empty(size),
        np.empty(size), np.empty(size, np.int64), np.empty(size), np.empty(size),
        np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.uint64),
    )  # fmt: skip


def rates(rows: Rows, window: int) -> NDArray[np.float64]:
    """Return the increase a second of the time that the increments cover; NaN where they cover none.

    So a counter that is exported once a minute has its rate also in a window of ten seconds. Where
    several streams are one series, which go on at the same time, that is the window, what they cover
    if it is less, or the longest increment if it is more. Where a producer does not say what an
    increment covers (a delta without a start time), it is the window.

    Args:
        rows: of one resolution.
        window: its length in nanoseconds.
    """
    together = np.maximum(np.minimum(rows.covered, window), rows.longest)
    time = np.where(rows.stream == MIXED, together, rows.covered)
    time = np.where(rows.covered == UNSAID, window, time)
    with np.errstate(over="ignore"):
        return rows.increase / np.where(time > 0, time / 1e9, np.nan)


def rollup_frame(
    rows: Rows,
    names: Mapping[str, pl.Series],
    window: int,
    window_start: NDArray[np.int64],
    revision: NDArray[np.int64],
    percentiles: NDArray[np.float64] | None,
) -> pl.DataFrame:
    """Return the ROLLUPS frame of rows of one resolution.

    Args:
        rows: one a series and window.
        names: ``tenant``, ``series``, ``name``, ``labels``, ``unit``, ``kind`` (its name) of each.
        window: length in nanoseconds.
        window_start, revision: of each row.
        percentiles: a column each of QUANTILES, NaN where there is none; None if there are none.
    """
    size = len(rows.owner)
    mean = rows.sum / np.where(rows.count > 0, rows.count, np.nan)
    # A sum may be past what a double holds; the mean is between the extremes, where they are known.
    mean = np.where(np.isinf(rows.sum), np.fmax(np.fmin(mean, rows.max), rows.min), mean)
    columns = {
        **names,
        "window": pl.Series(np.full(size, window)),
        "window_start": pl.Series(window_start),
        "count": pl.Series(rows.count),
        "sum": _number(rows.sum),
        "min": _number(rows.min),
        "max": _number(rows.max),
        "mean": _number(mean),
        "last": _number(rows.last),
        "increase": _number(rows.increase),
        "rate": _number(rates(rows, window)),
        **{
            name: pl.Series([None], dtype=pl.Float64).new_from_index(0, size)
            if percentiles is None
            else _number(np.ascontiguousarray(percentiles[:, number]))
            for number, name in enumerate(QUANTILES)
        },
        "revision": pl.Series(revision),
    }
    return pl.DataFrame([columns[name].alias(name) for name in ROLLUPS])


def _number(values: NDArray[np.float64]) -> pl.Series:
    """Return a column in which NaN is null, and infinity the largest number that there is."""
    return pl.Series(np.clip(values, -_LARGEST, _LARGEST), nan_to_null=True)
