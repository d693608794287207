"""Classic histograms of Prometheus: buckets, count and sum, put together where all points are.

Parts of one scrape have the same time, and may come in any messages, batches and partitions. So they
are put together when their window is computed, and what comes of it is a function of the set of
points. From there on it is a histogram like any other (``operators.windows.histograms``).

* A scrape is a histogram if it has a bucket and a total: the bucket ``+Inf``, or the count. Without
  that the scrape is left out, and what was observed since the one before comes with the next.
* A bucket that is missing makes one wider bucket of two. What two scrapes that differ in their bounds
  have between them is told by the bounds that they share.
* Without a sum, the sum of what lies between this scrape, its neighbours and itself is unknown.
* Buckets that fall with their bound, as floating point has it, are raised, as Prometheus does it; what
  is no whole number is rounded.
* Of several values for one time the largest stands, as for sums.
* From the window of a histogram's first scrape on, what is named like its count and its sum belongs to
  it. Before, and where there are no buckets, these are counters of their own.
"""

# ruff: noqa: PLR0124, PLR0912, PLR0915 -- a compiled loop is one long function; NaN is what is not equal to itself

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.columns.ordering import order_by_number
from operators.contracts.frames import BUCKET, COUNT, SUM
from operators.windows.histograms import NO_HISTOGRAMS, Histograms
from operators.windows.open_windows import NO_POINTS, take_points
from operators.windows.parts import ClassicParts
from operators.windows.sums import Points

__all__ = ["Assembled", "assemble"]

_LARGEST: Final = float(1 << 62)
"""The largest count that is believed: sums of two fit an int64."""
_FEW: Final = 48
_NEVER: Final = 2**62
_ALWAYS: Final = -(2**62)


class Assembled(NamedTuple):
    """What points come to.

    Attributes:
        points: those that are no part of a histogram.
        histograms: the scrapes.
        parts: the points that belong to histograms.
        left_out: how many of these are of scrapes that are none.
    """

    points: Points
    histograms: Histograms
    parts: Points
    left_out: int


def assemble(
    points: Points,
    parts: ClassicParts,
    known: NDArray[np.bool_],
    window: int,
    tails: NDArray[np.int32],
) -> Assembled:
    """Put the parts of histograms together.

    Args:
        points: of some windows, in any order.
        parts: which of their rows are parts.
        known: of each row, whether it has a name.
        window: length in nanoseconds.
        tails: rows of histograms that had a scrape before.
    """
    home = np.where((parts.home >= 0) & known[parts.home], parts.home, -1)
    chosen = _parts(points.row, known, parts.part, parts.number, home)
    if not len(chosen):
        return Assembled(points, NO_HISTOGRAMS, NO_POINTS, 0)
    mine = take_points(points, chosen)
    since = np.full(len(home), _NEVER, np.int64)
    had = np.zeros(len(known), np.bool_)
    had[tails] = True
    since[had[home] & (home >= 0)] = _ALWAYS
    found, left_out, belongs = _scrapes(
        mine, parts.part, parts.bound, parts.number, home, window, since
    )
    plain = np.ones(len(points.row), np.bool_)
    plain[chosen[belongs]] = False
    return Assembled(
        take_points(points, np.flatnonzero(plain)),
        found,
        mine if belongs.all() else take_points(mine, np.flatnonzero(belongs)),
        left_out,
    )


@njit(cache=True, nogil=True)
def _parts(
    row: NDArray[np.int32],
    known: NDArray[np.bool_],
    part: NDArray[np.uint8],
    number: NDArray[np.int32],
    home: NDArray[np.int32],
) -> NDArray[np.int64]:
    """Return the indexes of points whose row is a part of a histogram that has buckets."""
    found = np.empty(len(row), np.int64)
    size = 0
    for i in range(len(row)):
        of = row[i]
        if of < len(part) and BUCKET <= part[of] <= SUM and known[of] and home[number[of]] >= 0:
            found[size] = i
            size += 1
    return found[:size].copy()


@njit(cache=True, nogil=True)
def _scrapes(
    points: Points,
    part: NDArray[np.uint8],
    bound: NDArray[np.float64],
    number: NDArray[np.int32],
    home: NDArray[np.int32],
    window: int,
    since: NDArray[np.int64],
) -> tuple[Histograms, int, NDArray[np.bool_]]:
    """Return the histograms, how many points are of scrapes that are none, and which belong to one.

    Args:
        points: of parts alone.
        part, bound, number, home: see ``ClassicParts``.
        window: length in nanoseconds.
        since: of each histogram, the start of the window from which on its count and sum belong to
            it; brought back to that of the first scrape here.
    """
    order, bounds = _by_histogram(points, number, len(home))
    size = len(order)
    row = np.empty(size, np.int32)
    ts, start = np.empty(size, np.int64), np.empty(size, np.int64)
    count, total = np.empty(size, np.int64), np.empty(size)
    offsets = np.zeros(size + 1, np.int64)
    lower, upper = np.empty(size), np.empty(size)
    weight = np.empty(size, np.int64)
    bounds_of, values = np.empty(size + 1), np.empty(size + 1)  # of a scrape
    belongs, whole_scrape = np.ones(size, np.bool_), np.zeros(size, np.bool_)
    left_out = 0
    scrapes = 0
    used = 0
    for of in range(len(home)):
        i, end = bounds[of], bounds[of + 1]
        while i < end:
            time = points.ts[order[i]]
            last = i + 1
            while last < end and points.ts[order[last]] == time:
                last += 1
            began, counted, upto_all, whole = np.int64(0), np.nan, np.nan, np.nan
            many = 0
            for k in range(i, last):
                at = order[k]
                mine = points.row[at]
                value, what, high = points.value[at], part[mine], bound[mine]
                began = max(began, points.start[at])
                # The largest of several: any is larger than NaN.
                if what == SUM:
                    whole = value if not value <= whole else whole
                elif what == COUNT:
                    counted = value if not value <= counted else counted
                elif high == np.inf:
                    upto_all = value if not value <= upto_all else upto_all
                else:
                    m = many
                    while m > 0 and last - i <= _FEW and bounds_of[m - 1] > high:
                        bounds_of[m], values[m] = bounds_of[m - 1], values[m - 1]
                        m -= 1
                    bounds_of[m], values[m] = high, value
                    many += 1
            if last - i > _FEW:
                ranked = np.argsort(bounds_of[:many], kind="mergesort")
                bounds_of[:many], values[:many] = bounds_of[:many][ranked], values[:many][ranked]
            buckets = many > 0 or upto_all == upto_all
            ended = buckets and (upto_all == upto_all or counted == counted)
            bounds_of[many] = np.inf
            values[many] = upto_all if upto_all == upto_all else counted
            first = used
            low, observed = -np.inf, np.int64(0)
            sane = True
            for k in range(many + 1):
                high, value = bounds_of[k], values[k]
                if not 0 <= value <= _LARGEST:
                    sane = False
                    break
                upto = max(np.int64(np.rint(value)), observed)
                if k < many and bounds_of[k + 1] == high:
                    values[k + 1] = max(values[k + 1], value)
                    continue
                if upto > observed:
                    lower[used], upper[used], weight[used] = low, high, upto - observed
                    used += 1
                observed, low = upto, high
            if sane and ended:
                row[scrapes], ts[scrapes], start[scrapes] = home[of], time, began
                count[scrapes], total[scrapes] = observed, whole
                scrapes += 1
                offsets[scrapes] = used
                since[of] = min(since[of], time - time % window)
                whole_scrape[order[i:last]] = True
            else:
                used = first
            i = last
        for k in range(bounds[of], end):
            at = order[k]
            if whole_scrape[at]:
                continue
            if part[points.row[at]] != BUCKET and points.ts[at] < since[of]:
                belongs[at] = False
            else:
                left_out += 1
    nothing = np.full(scrapes, np.nan)
    found = Histograms(
        row[:scrapes].copy(), ts[:scrapes].copy(), start[:scrapes].copy(), count[:scrapes].copy(),
        total[:scrapes].copy(), nothing, nothing.copy(), np.zeros(scrapes, np.bool_),
        offsets[: scrapes + 1].copy(), lower[:used].copy(), upper[:used].copy(),
        weight[:used].copy(),
    )  # fmt: skip
    return found, left_out, belongs


@njit(cache=True, nogil=True)
def _by_histogram(
    points: Points, number: NDArray[np.int32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the order of points by histogram, then time, and where those of each one are in it."""
    order, bounds = order_by_number(number[points.row], count)
    for of in range(count):
        begin, end = bounds[of], bounds[of + 1]
        for i in range(begin + 1, end):
            if points.ts[order[i]] < points.ts[order[i - 1]]:
                mine = order[begin:end].copy()
                order[begin:end] = mine[np.argsort(points.ts[mine], kind="mergesort")]
                break
    return order, bounds
