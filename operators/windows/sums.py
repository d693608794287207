"""From the points of a shard to rows a window: gauges, delta sums and cumulative sums.

What comes out is a function of the *set* of points: they are put in order of time first, so it
does not matter in which order, batches or partitions they came. As the OpenTelemetry data model
has it (metrics/data-model, "Resets and gaps" and "Overlap"):

* A point with the time of one already there is a duplicate and counts once; of different values
  for one time the largest stands. Deltas without a start time are events, and all of them count.
* Delta: a point whose interval overlaps the one before it is left out. Clocks wobble: what reaches
  back by less than ``JITTER``, and by less than half of itself, is no overlap.
* Cumulative: a new start time means that the sum began anew from zero. A start equal to the
  point's own time is unknown: the point adds nothing, and later ones count from it. Without a
  new start time a fall of the value means the same as one (Prometheus). Start times worked out
  from an uptime wobble: what lies less than ``JITTER`` beside the old one, and before the last
  point, is no new one. A point of an older start comes from a writer that was superseded, and is
  left out.
* The first point of an identity counts from zero only if it started at most ``horizon`` before:
  the history of a counter that Headrace meets late is not an event of now.
"""

# ruff: noqa: PLR0124 -- NaN is what is not equal to itself

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.contracts.frames import CUMULATIVE, DELTA
from operators.windows.rollups import NOTHING_BEFORE, UNSAID, Rows, empty_rows

__all__ = [
    "JITTER",
    "NOTHING_BEFORE",
    "Points",
    "SortedPoints",
    "Tails",
    "aggregate",
    "overlaps_with",
    "sort_points",
]

JITTER: Final = 1_000_000_000
"""Nanoseconds that a start time worked out from an uptime may wobble."""
_FEW: Final = 48


class Points(NamedTuple):
    """Points of a shard: one element a point in every array; ``row`` is the identity's."""

    row: NDArray[np.int32]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]


class SortedPoints(NamedTuple):
    """Points by row, then time; those of row ``r`` are at ``bounds[r]:bounds[r + 1]``."""

    bounds: NDArray[np.int64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]


class Tails(NamedTuple):
    """The last accepted point of each row before the windows in question."""

    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]


def no_tails(size: int) -> Tails:
    """Return tails of ``size`` rows that have had no point."""
    return Tails(np.full(size, NOTHING_BEFORE, np.int64), np.zeros(size, np.int64), np.zeros(size))


def grown(tails: Tails, size: int) -> Tails:
    """Return ``tails`` with further rows, up to ``size``."""
    more = no_tails(size - len(tails.ts))
    return Tails._make(np.concatenate(parts) for parts in zip(tails, more, strict=True))


@njit(cache=True, nogil=True)
def sort_points(points: Points, rows: int) -> SortedPoints:
    """Put points in order; ``rows`` is above every row number."""
    size = len(points.row)
    bounds = np.zeros(rows + 1, np.int64)
    for row in points.row:
        bounds[row + 1] += 1
    for row in range(rows):
        bounds[row + 1] += bounds[row]
    place = bounds[:-1].copy()
    ts = np.empty(size, np.int64)
    start = np.empty(size, np.int64)
    value = np.empty(size)
    for i in range(size):
        row = points.row[i]
        at = place[row]
        place[row] = at + 1
        ts[at] = points.ts[i]
        start[at] = points.start[i]
        value[at] = points.value[i]
    for row in range(rows):
        begin, end = bounds[row], bounds[row + 1]
        ordered = True
        for i in range(begin + 1, end):
            if ts[i] <= ts[i - 1]:
                ordered = False
                break
        if ordered:
            continue
        if end - begin > _FEW:
            order = np.argsort(ts[begin:end], kind="mergesort")
            ts[begin:end] = ts[begin:end][order]
            start[begin:end] = start[begin:end][order]
            value[begin:end] = value[begin:end][order]
            _order_equal_times(ts[begin:end], start[begin:end], value[begin:end])
        # By time, then the largest value and the latest start: by insertion, as there are few, or
        # only equal times are left to be put in order.
        for i in range(begin + 1, end):
            t, s, v = ts[i], start[i], value[i]
            k = i - 1
            while k >= begin and (
                ts[k] > t or (ts[k] == t and (value[k] < v or (value[k] == v and start[k] < s)))
            ):
                ts[k + 1], start[k + 1], value[k + 1] = ts[k], start[k], value[k]
                k -= 1
            ts[k + 1], start[k + 1], value[k + 1] = t, s, v
    return SortedPoints(bounds, ts, start, value)


@njit(cache=True, nogil=True)
def _order_equal_times(
    ts: NDArray[np.int64], start: NDArray[np.int64], value: NDArray[np.float64]
) -> None:
    """Sort long runs of one time by value and start, the largest first: events come in thousands."""
    begin = 0
    for end in range(1, len(ts) + 1):
        if end < len(ts) and ts[end] == ts[begin]:
            continue
        if end - begin > _FEW:
            order = np.argsort(-start[begin:end], kind="mergesort")
            order = order[np.argsort(-value[begin:end][order], kind="mergesort")]
            start[begin:end] = start[begin:end][order]
            value[begin:end] = value[begin:end][order]
        begin = end


@njit(cache=True, nogil=True)
def overlaps_with(before: int, start: int, ts: int) -> bool:
    """Say whether the interval from ``start`` to ``ts`` overlaps one that ended at ``before``."""
    back = before - start
    return start > 0 and back > 0 and (back > JITTER or 2 * back >= ts - start)


DUPLICATE, OVERLAP, COUNTS = range(3)
"""What a point is to the points before it."""


@njit(cache=True, nogil=True, inline="always")
def _judged(
    kind: int,
    ts: int,
    start: int,
    value: float,
    before: int,
    origin: int,
    base: float,
    horizon: int,
) -> tuple[int, float, int]:
    """Return what a point is, how much it adds, and the nanoseconds in which that came about.

    ``before``, ``origin`` and ``base`` are time, start and value of the last point that counts;
    the rules are those above. A gauge adds NaN.
    """
    what, adds, covers = COUNTS, np.nan, 0
    first = before == NOTHING_BEFORE
    if ts == before and not (kind == DELTA and start == 0):
        what = DUPLICATE
    elif kind == DELTA:
        if not first and origin != 0 and overlaps_with(before, start, ts):
            what = OVERLAP
        adds = value
        covers = ts - start if 0 < start < ts else UNSAID
    elif kind == CUMULATIVE:
        known = 0 < start < ts
        if first:
            began_anew = True
            known = known and ts - start <= horizon
        else:
            began_anew = (
                start > 0 and start != origin and (start >= before or 0 < origin < start - JITTER)
            )
        if began_anew:  # all of the value came about since its start
            adds, covers = (value, ts - start) if known else (0.0, 0)
        elif 0 < start < origin - JITTER:
            what = OVERLAP
        else:
            adds, covers = value if value < base else value - base, ts - before
    return what, adds, covers


@njit(cache=True, nogil=True, inline="always")
def _begin_row(rows: Rows, at: int, owner: int, value: float, rise: float, covers: int) -> None:
    """Make a row of the first point of a window."""
    rows.owner[at] = owner
    rows.count[at] = 1
    rows.sum[at] = rows.min[at] = rows.max[at] = value
    rows.increase[at] = rise
    rows.covered[at] = rows.longest[at] = covers


@njit(cache=True, nogil=True, inline="always")
def _add_to_row(rows: Rows, at: int, value: float, rise: float, covers: int) -> tuple[float, float]:
    """Add a further point; return what the sum and the increase lost to rounding (Neumaier)."""
    rows.count[at] += 1
    rows.sum[at], lost = _plus(rows.sum[at], value)
    rows.increase[at], rise_lost = _plus(rows.increase[at], rise)
    rows.min[at] = min(rows.min[at], value)
    rows.max[at] = max(rows.max[at], value)
    if rows.covered[at] == UNSAID or covers == UNSAID:
        rows.covered[at] = UNSAID
    else:
        rows.covered[at] += covers
    rows.longest[at] = max(rows.longest[at], covers)
    return lost, rise_lost


@njit(cache=True, nogil=True, inline="always")
def _plus(total: float, value: float) -> tuple[float, float]:
    """Return the sum, and what it lost to rounding."""
    new = total + value
    if abs(total) >= abs(value):
        return new, (total - new) + value
    return new, (value - new) + total


@njit(cache=True, nogil=True, inline="always")
def _settle(rows: Rows, at: int, lost: float, rise_lost: float) -> None:
    """Add what the sums lost to rounding; nothing where they overflowed."""
    if lost == lost:
        rows.sum[at] += lost
    if rise_lost == rise_lost:
        rows.increase[at] += rise_lost


@njit(cache=True, nogil=True)
def aggregate(
    points: SortedPoints, kinds: NDArray[np.uint8], window: int, horizon: int, tails: Tails
) -> tuple[Rows, NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], int, int]:
    """Return the rows of each identity and window, by identity, then time.

    Args:
        points: in order.
        kinds: of each identity; points of others than gauges and sums are passed over.
        window: length in nanoseconds.
        horizon: nanoseconds, see above.
        tails: brought forward to the last points.

    Returns:
        Rows, the start of each one's window, the start time of each one's last point, for each
        point whether it counts, and how many were duplicates and overlaps.
    """
    size = 0
    for row in range(len(kinds)):
        before = np.int64(-1)
        for i in range(points.bounds[row], points.bounds[row + 1]):
            slot = points.ts[i] // window
            if i == points.bounds[row] or slot != before:
                size += 1
                before = slot
    rows = empty_rows(size)
    starts = np.empty(size, np.int64)
    origins = np.empty(size, np.int64)
    counts = np.zeros(len(points.ts), np.bool_)
    at = -1
    duplicates = 0
    overlaps = 0
    for row in range(len(kinds)):
        begin, end = points.bounds[row], points.bounds[row + 1]
        kind = kinds[row]
        if begin == end or kind > CUMULATIVE:
            continue
        before, origin, base = tails.ts[row], tails.start[row], tails.value[row]
        opened = NOTHING_BEFORE  # the start of the window that rows[at] is of
        lost = rise_lost = 0.0
        for i in range(begin, end):
            ts, start, value = points.ts[i], points.start[i], points.value[i]
            what, rise, covers = _judged(kind, ts, start, value, before, origin, base, horizon)
            if what != COUNTS:
                duplicates += what == DUPLICATE
                overlaps += what == OVERLAP
                continue
            before, origin, base = ts, start, value
            counts[i] = True
            window_start = ts - ts % window
            if window_start != opened:
                if opened != NOTHING_BEFORE:
                    _settle(rows, at, lost, rise_lost)
                opened = window_start
                lost = rise_lost = 0.0
                at += 1
                starts[at] = window_start
                _begin_row(rows, at, row, value, rise, covers)
            else:
                more, more_rise = _add_to_row(rows, at, value, rise, covers)
                lost += more
                rise_lost += more_rise
            rows.last_ts[at] = ts
            rows.last[at] = value
            origins[at] = start
        if opened != NOTHING_BEFORE:
            _settle(rows, at, lost, rise_lost)
        tails.ts[row], tails.start[row], tails.value[row] = before, origin, base
    used = at + 1
    rows = Rows(
        rows.owner[:used], rows.count[:used], rows.sum[:used], rows.min[:used], rows.max[:used],
        rows.last_ts[:used], rows.last[:used], rows.increase[:used], rows.covered[:used],
        rows.longest[:used], rows.stream[:used],
    )  # fmt: skip
    return rows, starts[:used], origins[:used], counts, duplicates, overlaps
