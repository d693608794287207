"""From histograms and summaries of a shard to rows and sketches a window.

What was observed in a window is the difference of cumulative points, bucket by bucket, or the sum
of deltas. Resets, unknown starts, duplicates, overlaps and histories are what they are for sums
(``operators.windows.sums``), with the number of observations for a value; a bucket that fell is a reset
too. Prior points may have had finer exponential buckets: they lie inside of later ones, from which
they are subtracted. Where the bounds changed otherwise, and nothing says that the histogram began
anew, the point adds nothing, and later ones count from it. But of a classic histogram, whose buckets
come one by one and may be lost, it adds what lies between the bounds that both have.

A summary's count and sum are taken the same way. Its quantiles are those of the window's last point.
"""

# ruff: noqa: PLR0124, PLR0912, PLR0915 -- a compiled loop is one long function; NaN is what is not equal to itself

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.contracts.frames import DELTA_HISTOGRAM, SUMMARY
from operators.windows.rollups import NO_ROWS, UNSAID, Rows, empty_rows
from operators.windows.sketches import NO_SKETCHES, Sketches, compact
from operators.windows.sums import JITTER, overlaps_with

__all__ = ["NO_HISTOGRAMS", "Histograms", "concat_histograms", "observe", "take_histograms"]


class Histograms(NamedTuple):
    """Data points of a shard: one element a point but in the last three, see ``Distributions``."""

    row: NDArray[np.int32]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    exponential: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]


NO_HISTOGRAMS: Final = Histograms(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.int64),
    np.empty(0), np.empty(0), np.empty(0), np.empty(0, np.bool_), np.zeros(1, np.int64),
    np.empty(0), np.empty(0),
    np.empty(0, np.int64),
)  # fmt: skip
_RAGGED: Final = ("lower", "upper", "weight")


def concat_histograms(parts: Sequence[Histograms]) -> Histograms:
    """Return the points of all ``parts``, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_HISTOGRAMS
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    columns = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Histograms._fields
        if name != "offsets"
    }
    return Histograms(**columns, offsets=_offsets(sizes))


def take_histograms(points: Histograms, chosen: NDArray[np.intp]) -> Histograms:
    """Return the points at the indexes ``chosen``, in that order."""
    sizes = np.diff(points.offsets)[chosen]
    offsets = _offsets(sizes)
    inside = np.arange(offsets[-1]) + np.repeat(points.offsets[:-1][chosen] - offsets[:-1], sizes)
    columns = {
        name: getattr(points, name)[inside if name in _RAGGED else chosen]
        for name in Histograms._fields
        if name != "offsets"
    }
    return Histograms(**columns, offsets=offsets)


def _offsets(sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))


def observe(
    points: Histograms,
    kinds: NDArray[np.uint8],
    window: int,
    horizon: int,
    tails: Histograms,
    classic: NDArray[np.bool_],
) -> tuple[Rows, Sketches, NDArray[np.int64], Histograms]:
    """Return the rows and sketches of each identity and window, by identity, then time.

    Args:
        points: in any order.
        kinds: of each identity.
        window, horizon: nanoseconds; see ``operators.windows.sums``.
        tails: the last accepted point of each row before these, by row.
        classic: of each identity, whether it is put together of parts.

    Returns:
        Rows, a sketch for each (``owner`` is that of its row), the start of each one's window,
        and the tails after them.
    """
    if not len(points.row):
        return NO_ROWS, NO_SKETCHES, np.empty(0, np.int64), tails
    every = concat_histograms([tails, points])
    # Of several at one time the one with the most observations comes first, as for sums.
    order = np.lexsort((-every.start, -every.sum, -every.count, every.ts, every.row))
    rows, sketches, starts, last = _observe(
        every, order, len(tails.row), kinds[every.row], classic[every.row], window, horizon
    )
    return rows, sketches, starts, take_histograms(every, last)


@njit(cache=True, nogil=True)
def _observe(
    points: Histograms,
    order: NDArray[np.int64],
    old: int,
    kinds: NDArray[np.uint8],
    classic: NDArray[np.bool_],
    window: int,
    horizon: int,
) -> tuple[Rows, Sketches, NDArray[np.int64], NDArray[np.int64]]:
    """Do it in one pass; points below ``old`` are tails, which stand first of their identity."""
    size = len(order)
    rows = empty_rows(size)
    rows.count[:] = rows.last_ts[:] = 0
    rows.sum[:] = rows.increase[:] = 0.0
    rows.min[:] = rows.max[:] = rows.last[:] = np.nan
    starts = np.empty(size, np.int64)
    offsets = np.zeros(size + 1, np.int64)
    exponential = np.ones(size, np.bool_)
    room = len(points.lower)
    lower, upper = np.empty(room), np.empty(room)
    weight = np.empty(room, np.int64)
    last = np.empty(size, np.int64)  # the last accepted point of each identity
    identities = 0
    at = -1
    used = 0
    previous = -1
    identity = -1
    opened = np.int64(0)
    for k in range(size):
        i = order[k]
        if points.row[i] != identity:
            identity = points.row[i]
            previous = -1
            opened = np.int64(-1)
        kind = kinds[i]
        ts, start = points.ts[i], points.start[i]
        event = kind == DELTA_HISTOGRAM and start == 0
        if i >= old and previous >= 0 and ts == points.ts[previous] and not event:
            continue  # a duplicate
        # 0: nothing is to be added; 1: all of the point; 2: what it has more than the one before
        share = 0
        known = 0 < start < ts
        # What all of the point covers; where it has more than the one before, since that one.
        covers = ts - start if known else np.int64(UNSAID)
        if i < old:
            share = 0
        elif kind == DELTA_HISTOGRAM:
            if (
                previous >= 0
                and points.start[previous] != 0
                and overlaps_with(points.ts[previous], start, ts)
            ):
                continue  # an overlap
            share = 1
        elif previous < 0:
            share = 1 if known and ts - start <= horizon else 0
        else:
            origin = points.start[previous]
            if (
                start > 0
                and start != origin
                and (start >= points.ts[previous] or 0 < origin < start - JITTER)
            ):
                share = 1 if known else 0
            elif start > 0 and start < origin - JITTER:
                continue  # of a writer that was superseded
            elif points.count[i] < points.count[previous]:
                share = 1
                covers = ts - points.ts[previous]
            else:
                share = 2
                covers = ts - points.ts[previous]
        if i >= old:
            window_start = ts - ts % window
            if opened != window_start or at < 0 or rows.owner[at] != identity:
                if at >= 0:
                    used = _finish(lower, upper, weight, offsets, at, used)
                opened = window_start
                at += 1
                starts[at] = window_start
                rows.owner[at] = identity
                offsets[at] = used
            rows.last_ts[at] = ts
            exponential[at] = exponential[at] and points.exponential[i]
            begin, end = points.offsets[i], points.offsets[i + 1]
            observed = points.count[i]
            total = points.sum[i]
            if kind == SUMMARY:
                used = offsets[at]
                for n in range(begin, end):
                    lower[used], upper[used] = points.lower[n], points.upper[n]
                    weight[used] = 0
                    used += 1
                if share == 2:
                    observed -= points.count[previous]
                    total -= points.sum[previous]
            elif share > 0:
                first = used
                for n in range(begin, end):
                    lower[used], upper[used] = points.lower[n], points.upper[n]
                    weight[used] = points.weight[n]
                    used += 1
                if share == 2:
                    fits, fell = _subtract(
                        lower[first:used], upper[first:used], weight[first:used], points, previous
                    )
                    if not fits and not fell and classic[i]:
                        ends, fell = _between_shared(
                            points, i, previous, lower[first:], upper[first:], weight[first:]
                        )
                        fits = not fell
                        used = first + (ends if fits else end - begin)
                    if fell:  # a reset that the number of observations does not show
                        for n in range(begin, end):
                            place = first + n - begin
                            lower[place], upper[place] = points.lower[n], points.upper[n]
                            weight[place] = points.weight[n]
                    elif not fits:
                        share = 0
                        used = first
                    else:
                        observed -= points.count[previous]
                        total -= points.sum[previous]
                        used = first + _drop_empty(
                            lower[first:used], upper[first:used], weight[first:used]
                        )
            if share > 0:
                if kind == DELTA_HISTOGRAM and observed > 0:
                    # Of those that say. What was known must not become unknown again: backends
                    # that keep a field until it is written, as InfluxDB does, would show the old one.
                    least, most = points.min[i], points.max[i]
                    if not rows.min[at] <= least and least == least:
                        rows.min[at] = least
                    if not rows.max[at] >= most and most == most:
                        rows.max[at] = most
                rows.count[at] += observed
                rows.sum[at] += total
                rows.increase[at] += observed
                if rows.covered[at] == UNSAID or covers == UNSAID:
                    rows.covered[at] = UNSAID
                else:
                    rows.covered[at] += covers
                rows.longest[at] = max(rows.longest[at], covers)
        if previous < 0:
            identities += 1
        previous = i
        last[identities - 1] = i
    if at >= 0:
        used = _finish(lower, upper, weight, offsets, at, used)
    rows = Rows(
        rows.owner[: at + 1], rows.count[: at + 1], rows.sum[: at + 1], rows.min[: at + 1],
        rows.max[: at + 1], rows.last_ts[: at + 1], rows.last[: at + 1], rows.increase[: at + 1],
        rows.covered[: at + 1], rows.longest[: at + 1], rows.stream[: at + 1],
    )  # fmt: skip
    sketches = Sketches(
        rows.owner, rows.last_ts, exponential[: at + 1], offsets[: at + 2], lower[:used].copy(), upper[:used].copy(),
        weight[:used].copy(),
    )  # fmt: skip
    return rows, sketches, starts[: at + 1], last[:identities]


@njit(cache=True, nogil=True)
def _finish(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
    offsets: NDArray[np.int64],
    at: int,
    used: int,
) -> int:
    """Make one sketch of the buckets of a window's points, and return where it ends."""
    first = offsets[at]
    if used > first and weight[first] > 0:
        used = first + compact(lower[first:used], upper[first:used], weight[first:used])
    offsets[at + 1] = used
    return used


@njit(cache=True, nogil=True)
def _subtract(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
    points: Histograms,
    previous: int,
) -> tuple[bool, bool]:
    """Take the buckets of ``previous`` away; say whether all lie in one, and whether any fell."""
    fits = True
    fell = False
    k = 0
    for n in range(points.offsets[previous], points.offsets[previous + 1]):
        low, high = points.lower[n], points.upper[n]
        while k < len(lower) and upper[k] < high:
            k += 1
        if k == len(lower) or lower[k] > low:
            # No bucket holds this one: it emptied, or the bounds are others.
            fits = False
            inside = False
            # They lie side by side, so those that may overlap it end at the ones before ``k``.
            m = min(k, len(lower) - 1)
            while m >= 0 and upper[m] > low and not inside:
                inside = lower[m] < high
                m -= 1
            if not inside:
                fell = True
            continue
        weight[k] -= points.weight[n]
        if weight[k] < 0:
            fell = True
    return fits, fell


@njit(cache=True, nogil=True)
def _between_shared(
    points: Histograms,
    now: int,
    previous: int,
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
) -> tuple[int, bool]:
    """Write what ``now`` has more than ``previous`` between the bounds that lie inside no bucket.

    How much is below such a bound is known of both. Returns how many segments there are, at most as
    many as ``now`` has, and whether there is less in one of them.
    """
    a, a_end = points.offsets[now], points.offsets[now + 1]
    b, b_end = points.offsets[previous], points.offsets[previous + 1]
    bounds = np.unique(
        np.concatenate(
            (
                points.lower[a:a_end], points.upper[a:a_end], points.lower[b:b_end],
                points.upper[b:b_end],
            )
        )
    )  # fmt: skip
    size = 0
    more = np.int64(0)  # below the bound, and not in a segment yet
    low = bounds[0]
    for bound in bounds:
        while a < a_end and points.upper[a] <= bound:
            more += points.weight[a]
            a += 1
        while b < b_end and points.upper[b] <= bound:
            more -= points.weight[b]
            b += 1
        if (a < a_end and points.lower[a] < bound) or (b < b_end and points.lower[b] < bound):
            continue
        if more < 0:
            return size, True
        if more > 0:
            lower[size], upper[size], weight[size] = low, bound, more
            size += 1
        low, more = bound, np.int64(0)
    return size, False


@njit(cache=True, nogil=True)
def _drop_empty(
    lower: NDArray[np.float64], upper: NDArray[np.float64], weight: NDArray[np.int64]
) -> int:
    used = 0
    for k in range(len(lower)):
        if weight[k] > 0:
            lower[used], upper[used], weight[used] = lower[k], upper[k], weight[k]
            used += 1
    return used
