"""From runs to rollups: what a window of a series comes to. Pure functions on columns.

``Columns`` are NumPy arrays of equal length, one row a run or one row a series and window; the
windows keep them between batches, where the overhead of a frame would outweigh the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.frames import CUMULATIVE, DELTA, QUANTILES, ROLLUPS

__all__ = [
    "AGGREGATES",
    "Columns",
    "concat",
    "increases",
    "merge",
    "rollup_frame",
    "take",
    "with_increase",
]

Columns = dict[str, NDArray[Any]]

AGGREGATES: Final = {
    "count": pl.Int64,
    "sum": pl.Float64,
    "min": pl.Float64,
    "max": pl.Float64,
    "last_ts": pl.Int64,
    "last": pl.Float64,
    "increase": pl.Float64,  # NaN where the kind has none
}
"""What merges, whatever the order."""


def concat(parts: Sequence[Columns]) -> Columns:
    """Return the rows of all ``parts``, which have the same columns."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def take(columns: Columns, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Columns:
    """Return the chosen rows."""
    return {name: values[rows] for name, values in columns.items()}


def increases(runs: Columns, horizon: int) -> NDArray[np.float64]:
    """Return what each run of a cumulative sum adds to its total.

    As the OpenTelemetry data model has it (metrics/data-model, "Resets and gaps"): a new start
    time, or a fall of the value, means that the sum began anew from zero; a point whose start is
    its own time has an unknown start and gives no increase, but is what later points count from.
    The first run of an identity counts from zero only if it started at most ``horizon`` before:
    the history of a counter that Headrace meets late is not an event of now.

    Args:
        runs: ``identity``, ``start``, ``first_ts``, ``first``, ``last_ts``, ``last``, sorted by
            identity, first_ts and last_ts. Runs of different partitions may overlap in time.
        horizon: nanoseconds.
    """
    identity, start = runs["identity"], runs["start"]
    first_ts, first = runs["first_ts"], runs["first"]
    last_ts, last = runs["last_ts"], runs["last"]
    size = len(identity)
    if not size:
        return np.empty(0)
    new = np.ones(size, np.bool_)
    new[1:] = identity[1:] != identity[:-1]
    before_it = _latest_before(last_ts, new)
    fell = ~new & (first < last[before_it]) & (first_ts > last_ts[before_it])
    restarted = np.zeros(size, np.bool_)
    # A start time before the point we have already is no reset but one that jitters.
    restarted[1:] = ~new[1:] & (start[1:] != start[:-1]) & (start[1:] >= last_ts[:-1])

    begins = new | fell | restarted
    known = (start > 0) & (start < first_ts)
    from_zero = np.where(
        new,
        known & (first_ts - start <= horizon),
        np.where(restarted, known, fell),
    )
    highest = last[_row_of_maximum(last, begins)]
    before = np.empty(size)
    before[0] = 0.0
    before[1:] = highest[:-1]
    rise = np.maximum(last - before, 0.0)
    return np.where(begins, np.where(from_zero, last, last - first), rise)


def _latest_before(last_ts: NDArray[np.int64], new: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each run the earlier one of its identity that ends last.

    That is the row before it, unless runs overlap. The first run of an identity gets any row.
    """
    return np.concatenate((np.zeros(1, np.intp), _row_of_maximum(last_ts, new)[:-1]))


def _row_of_maximum(values: NDArray[Any], begins: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return for each row the one with the largest value so far, afresh wherever ``begins``."""
    size = len(values)
    if not ((values[1:] < values[:-1]) & ~begins[1:]).any():
        return np.arange(size)
    # A later segment outranks every earlier one, so one running maximum of ranks does for all.
    order = np.argsort(values, kind="stable")
    rank = np.empty(size, np.int64)
    rank[order] = np.arange(size)
    rank += np.cumsum(begins) * size
    rows: NDArray[np.intp] = order[np.maximum.accumulate(rank) % size]
    return rows


def merge(rows: Columns, owner: str, window: int | None = None) -> Columns:
    """Merge rows of the same owner and window.

    Args:
        rows: the AGGREGATES, ``window_start``, and the columns ``owner``, ``revision`` and
            ``dirty`` (of which the largest is kept).
        owner: the column that a row belongs to: ``identity`` or ``series``.
        window: the length of a coarser window to merge into.

    Returns:
        The same columns, sorted by owner and window, with one row each.
    """
    start = rows["window_start"]
    if window is not None:
        start = start - start % window
    owners = rows[owner]
    order = np.lexsort((start, owners))
    owners, start = owners[order], start[order]
    changes = (owners[1:] != owners[:-1]) | (start[1:] != start[:-1])
    first = np.flatnonzero(np.concatenate(([True], changes))) if len(order) else order
    if not len(first):
        return {**take(rows, order), "window_start": start}
    if len(first) == len(order):
        return {**take(rows, order), "window_start": start}
    sizes = np.diff(np.append(first, len(order)))
    last_ts = rows["last_ts"][order]
    latest = np.maximum.reduceat(last_ts, first)
    # Of several rows with the latest time, the one with the largest value, whatever came first.
    last = np.where(last_ts == np.repeat(latest, sizes), rows["last"][order], -np.inf)
    increase = rows["increase"][order]
    has_none = np.isnan(increase)
    total = np.add.reduceat(np.where(has_none, 0.0, increase), first)
    return {
        owner: owners[first],
        "window_start": start[first],
        "count": np.add.reduceat(rows["count"][order], first),
        "sum": np.add.reduceat(rows["sum"][order], first),
        "min": np.minimum.reduceat(rows["min"][order], first),
        "max": np.maximum.reduceat(rows["max"][order], first),
        "last_ts": latest,
        "last": np.maximum.reduceat(last, first),
        "increase": np.where(np.logical_and.reduceat(has_none, first), np.nan, total),
        "revision": np.maximum.reduceat(rows["revision"][order], first),
        "dirty": np.logical_or.reduceat(rows["dirty"][order], first),
    }


def with_increase(runs: Columns, kinds: NDArray[np.uint8], horizon: int) -> NDArray[np.float64]:
    """Return the increase of each run: its sum for deltas, NaN for gauges.

    ``runs`` is sorted by identity, first_ts and last_ts; ``kinds`` has one element a run.
    """
    increase = np.where(kinds == DELTA, runs["sum"], np.nan)
    cumulative = np.flatnonzero(kinds == CUMULATIVE)
    if len(cumulative) == len(kinds):
        return increases(runs, horizon)
    if len(cumulative):
        increase[cumulative] = increases(take(runs, cumulative), horizon)
    return increase


def rollup_frame(merged: Columns, names: Mapping[str, pl.Series], window: int) -> pl.DataFrame:
    """Return the ROLLUPS frame of merged rows.

    Args:
        merged: what ``merge`` gives, by series.
        names: ``tenant``, ``name``, ``labels``, ``unit``, ``kind`` (its name) for each row.
        window: length in nanoseconds.
    """
    increase = merged["increase"]
    return pl.DataFrame(
        [
            names["tenant"],
            pl.Series("series", merged["series"]),
            names["name"],
            names["labels"],
            names["unit"],
            names["kind"],
            pl.Series("window", np.full(len(increase), window)),
            pl.Series("window_start", merged["window_start"]),
            pl.Series("count", merged["count"]),
            pl.Series("sum", merged["sum"]),
            pl.Series("min", merged["min"]),
            pl.Series("max", merged["max"]),
            pl.Series("mean", merged["sum"] / merged["count"]),
            pl.Series("last", merged["last"]),
            pl.Series("increase", increase, nan_to_null=True),
            pl.Series("rate", increase / (window / 1e9), nan_to_null=True),
            *(pl.Series(name, [None] * len(increase), pl.Float64) for name in QUANTILES),
            pl.Series("revision", merged["revision"]),
        ],
        schema=ROLLUPS,
    )
