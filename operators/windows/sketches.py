"""Sketches: how the values of a window are distributed, as segments that merge exactly.

A sketch is a list of segments, between whose bounds ``weight`` observations lie: the buckets of
histograms as their producers made them, and for values that came one by one the buckets of an
exponential histogram of scale 7, 0.54 % wide. Merging adds the weights of equal segments, which
are whole numbers, so the order never matters. Exponential buckets of any scale and explicit
buckets of any bounds may lie side by side in one sketch: nothing is ever rounded to fit.

A quantile is the value of that rank (``inverted_cdf`` in NumPy's terms), taken from a cumulative
distribution that is linear inside each segment; inside exponential buckets it is linear in the
logarithm, and a bucket around zero begins at zero where all else is above it. So each histogram
alone has the quantile that ``histogram_quantile`` of Prometheus 3 gives, classic or native. Where
explicit and exponential histograms are merged, all is linear. With values that came one by one a
quantile is off by at most the width of a bucket. (The buckets are those of C. Masson et al., "DDSketch", VLDB 2019.)
"""

# ruff: noqa: PLR0124, PLR0912 -- a compiled loop is one long function; NaN is what is not equal to itself

from __future__ import annotations

from collections.abc import Sequence
from math import inf
from typing import Final, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from operators.contracts.distributions import exponential_bounds
from operators.contracts.frames import QUANTILES

__all__ = [
    "NO_SKETCHES", "Sketches", "altered_sketches", "compact", "concat_sketches", "merge_sketches",
    "of_values", "quantiles", "take_sketches",
]  # fmt: skip

_SCALE: Final = 7
_RANKS: Final = np.array(list(QUANTILES.values()))
_ROUNDING: Final = 1 - 1e-12
_FEW: Final = 16


class Sketches(NamedTuple):
    """One sketch an owner: its segments are ``lower[offsets[i]:offsets[i + 1]]`` and so on.

    Segments are sorted by ``lower``, then ``upper``. ``stamp`` is the time of the newest
    observation. The sketch of a summary has weights of 0: ``lower`` is a quantile, ``upper`` its
    value. It is never merged: of several in the course of time the newest stands, and several at
    once give none.
    """

    owner: NDArray[np.int32]
    stamp: NDArray[np.int64]
    exponential: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]


NO_SKETCHES: Final = Sketches(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.bool_), np.zeros(1, np.int64),
    np.empty(0), np.empty(0), np.empty(0, np.int64),
)  # fmt: skip


def concat_sketches(parts: Sequence[Sketches]) -> Sketches:
    """Return the sketches of all ``parts``, one after the other."""
    if len(parts) == 1:
        return parts[0]
    if not parts:
        return NO_SKETCHES
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    return Sketches(
        np.concatenate([part.owner for part in parts]),
        np.concatenate([part.stamp for part in parts]),
        np.concatenate([part.exponential for part in parts]),
        np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes))),
        np.concatenate([part.lower for part in parts]),
        np.concatenate([part.upper for part in parts]),
        np.concatenate([part.weight for part in parts]),
    )


def take_sketches(sketches: Sketches, chosen: NDArray[np.bool_]) -> Sketches:
    """Return the sketches chosen by a mask."""
    if chosen.all():
        return sketches
    inside = np.repeat(chosen, np.diff(sketches.offsets))
    sizes = np.diff(sketches.offsets)[chosen]
    return Sketches(
        sketches.owner[chosen],
        sketches.stamp[chosen],
        sketches.exponential[chosen],
        np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes))),
        sketches.lower[inside],
        sketches.upper[inside],
        sketches.weight[inside],
    )


def altered_sketches(old: Sketches, new: Sketches, owners: int) -> NDArray[np.int32]:
    """Return the owners in ``new`` whose segments are not those they have in ``old``.

    Args:
        old, new: one sketch an owner, in any order.
        owners: number of owners.
    """
    place = np.full(owners, -1, np.int64)
    place[old.owner] = np.arange(len(old.owner))
    return new.owner[_altered(old, new, place[new.owner])]


@njit(cache=True, nogil=True)
def _altered(old: Sketches, new: Sketches, at: NDArray[np.int64]) -> NDArray[np.bool_]:
    found = np.ones(len(at), np.bool_)
    for i in range(len(at)):
        if at[i] < 0:
            continue
        was, now = old.offsets[at[i]], new.offsets[i]
        size = new.offsets[i + 1] - now
        if old.offsets[at[i] + 1] - was != size:
            continue
        found[i] = False
        for k in range(size):
            if (
                old.lower[was + k] != new.lower[now + k]
                or old.upper[was + k] != new.upper[now + k]
                or old.weight[was + k] != new.weight[now + k]
            ):
                found[i] = True
                break
    return found


def merge_sketches(parts: Sequence[Sketches], *, in_time: bool) -> Sketches:
    """Return one sketch an owner, sorted by owner.

    Args:
        parts: sketches whose owner may stand in several, or several times in one.
        in_time: they follow each other in time; if not, they are of different identities.
    """
    parts = [part for part in parts if len(part.owner)]
    if not parts:
        return NO_SKETCHES
    every = concat_sketches(parts)
    return _merge(every, np.argsort(every.owner, kind="stable"), in_time)


@njit(cache=True, nogil=True)
def _merge(sketches: Sketches, order: NDArray[np.int64], in_time: bool) -> Sketches:
    owner = np.empty(len(order), np.int32)
    stamp = np.empty(len(order), np.int64)
    exponential = np.ones(len(order), np.bool_)
    offsets = np.zeros(len(order) + 1, np.int64)
    lower = np.empty(len(sketches.lower))
    upper = np.empty(len(sketches.lower))
    weight = np.empty(len(sketches.lower), np.int64)
    groups = 0
    used = 0
    k = 0
    while k < len(order):
        last = k
        while last < len(order) and sketches.owner[order[last]] == sketches.owner[order[k]]:
            last += 1
        owner[groups] = sketches.owner[order[k]]
        newest = order[k]
        merges = True
        for m in range(k, last):
            i = order[m]
            if sketches.stamp[i] > sketches.stamp[newest]:
                newest = i
            if sketches.offsets[i] < sketches.offsets[i + 1]:
                exponential[groups] = exponential[groups] and sketches.exponential[i]
                merges = merges and sketches.weight[sketches.offsets[i]] > 0
        stamp[groups] = sketches.stamp[newest]
        first = used
        for m in range(k, last):
            i = order[m]
            if not merges and (i != newest or (not in_time and last - k > 1)):
                continue
            for n in range(sketches.offsets[i], sketches.offsets[i + 1]):
                lower[used] = sketches.lower[n]
                upper[used] = sketches.upper[n]
                weight[used] = sketches.weight[n]
                used += 1
        if last - k > 1 and merges:
            used = first + compact(lower[first:used], upper[first:used], weight[first:used])
        groups += 1
        offsets[groups] = used
        k = last
    return Sketches(
        owner[:groups].copy(), stamp[:groups].copy(), exponential[:groups].copy(),
        offsets[: groups + 1].copy(), lower[:used].copy(), upper[:used].copy(),
        weight[:used].copy(),
    )  # fmt: skip


@njit(cache=True, nogil=True)
def compact(
    lower: NDArray[np.float64], upper: NDArray[np.float64], weight: NDArray[np.int64]
) -> int:
    """Sort segments in place, make one of equal ones, and return how many are left."""
    size = len(lower)
    order = np.argsort(lower, kind="mergesort")
    run = longest = 0  # of equal lower bounds, which are neighbours now
    for i in range(1, size):
        run = run + 1 if lower[order[i]] == lower[order[i - 1]] else 0
        longest = max(longest, run)
    if longest > _FEW:
        order = np.argsort(upper, kind="mergesort")
        order = order[np.argsort(lower[order], kind="mergesort")]
    low, high, many = lower[order], upper[order], weight[order]
    for i in range(1, size):  # by insertion, if there are few to be moved
        a, b, c = low[i], high[i], many[i]
        k = i - 1
        while k >= 0 and low[k] == a and high[k] > b:
            high[k + 1], many[k + 1] = high[k], many[k]
            k -= 1
        high[k + 1], many[k + 1] = b, c
    used = 0
    for i in range(size):
        if used and lower[used - 1] == low[i] and upper[used - 1] == high[i]:
            weight[used - 1] += many[i]
        else:
            lower[used], upper[used], weight[used] = low[i], high[i], many[i]
            used += 1
    return used


def of_values(
    owner: NDArray[np.int32], stamp: NDArray[np.int64], values: NDArray[np.float64]
) -> Sketches:
    """Return a sketch of each value alone."""
    size = np.abs(values)
    finite = (size > 0) & (size < inf)
    with np.errstate(divide="ignore"):
        index = np.ceil(np.ldexp(np.log2(size), _SCALE)) - 1
    index = np.where(finite, index, 0).astype(np.int64)
    # The logarithm may be off in its last bit.
    index -= size <= exponential_bounds(_SCALE, index)
    index += size > exponential_bounds(_SCALE, index + 1)
    # Zeros and infinities have a segment without width.
    near = np.where(finite, exponential_bounds(_SCALE, index), size)
    far = np.where(finite, exponential_bounds(_SCALE, index + 1), size)
    return Sketches(
        owner,
        stamp,
        np.zeros(len(values), np.bool_),  # so narrow that it makes no difference
        np.arange(len(values) + 1),
        np.where(values < 0, -far, near),
        np.where(values < 0, -near, far),
        np.ones(len(values), np.int64),
    )


def quantiles(
    sketches: Sketches, least: NDArray[np.float64], most: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return a row a sketch, with a column for each of QUANTILES; NaN where there is none.

    Args:
        sketches: as ``merge_sketches`` gives them.
        least, most: the smallest and largest observation of each, NaN where unknown. If segments
            lie beyond them they are not of all observations, and as good as unknown.
    """
    return _quantiles(sketches, least, most, _RANKS)


@njit(cache=True, nogil=True)
def _quantiles(
    sketches: Sketches,
    least: NDArray[np.float64],
    most: NDArray[np.float64],
    ranks: NDArray[np.float64],
) -> NDArray[np.float64]:
    found = np.full((len(sketches.owner), len(ranks)), np.nan)
    for i in range(len(sketches.owner)):
        begin, end = sketches.offsets[i], sketches.offsets[i + 1]
        if begin == end:
            continue
        lower = sketches.lower[begin:end]
        upper = sketches.upper[begin:end]
        weight = sketches.weight[begin:end]
        if weight[0] == 0:
            for r in range(len(ranks)):
                for k in range(len(lower)):
                    if abs(lower[k] - ranks[r]) < 1e-9:
                        found[i, r] = upper[k]
            continue
        total = weight.sum()
        apart = True
        low, high = least[i], most[i]
        for k in range(len(lower)):
            if k > 0 and upper[k - 1] > lower[k]:
                apart = False
            # What lies beyond the extremes is of a histogram that did not say its own.
            if upper[k] < low:
                low = np.nan
            if lower[k] > high or (lower[k] == high and upper[k] > high >= 0):
                high = np.nan
        by_power = sketches.exponential[i]
        for r in range(len(ranks)):
            if not apart:
                target = ranks[r] * total * _ROUNDING
                value = _search(lower, upper, weight, target, low, high, by_power)
            elif by_power and ranks[r] >= 0.5:
                # From the top: what lies between two buckets is the upper one's, as in Prometheus.
                target = (1 - ranks[r]) * total * _ROUNDING
                value = _walk_down(lower, upper, weight, target, low, high)
            else:
                target = ranks[r] * total * _ROUNDING
                value = _walk(lower, upper, weight, target, low, high, by_power)
            value = max(value, low)
            value = min(value, high)
            found[i, r] = value
    return found


@njit(cache=True, nogil=True)
def _ends(lower: float, upper: float, least: float, most: float) -> tuple[float, float]:
    """Return finite bounds of a segment.

    Where the extremes are not known, as Prometheus does it: what is below the lowest bound lies
    between it and 0, or at it if it is not above 0, what is above the highest lies at that.
    """
    if lower == -inf:
        if upper == inf:
            lower, upper = least, most
        elif least == least:
            lower = min(least, upper)
        else:
            lower = 0.0 if upper > 0 else upper
    if upper == inf:
        upper = max(most, lower) if most == most else lower
    return lower, upper


@njit(cache=True, nogil=True)
def _zero_bucket(
    lower: NDArray[np.float64], upper: NDArray[np.float64], k: int
) -> tuple[float, float]:
    """Return the bounds of a bucket; one around zero ends there where all else is on one side."""
    low, high = lower[k], upper[k]
    if low < 0 < high and len(lower) > 1:
        if k == 0:
            low = 0.0
        elif k == len(lower) - 1:
            high = 0.0
    return low, high


@njit(cache=True, nogil=True)
def _between(low: float, high: float, share: float, by_power: bool) -> float:
    """Return the value at a share of a bucket, which is linear in it, or in its logarithm."""
    if not low < high:
        return low
    if by_power and low > 0:
        return float(np.exp2(np.log2(low) + (np.log2(high) - np.log2(low)) * share))
    if by_power and high < 0:
        return float(-np.exp2(np.log2(-low) + (np.log2(-high) - np.log2(-low)) * share))
    return float(low + (high - low) * share)


@njit(cache=True, nogil=True)
def _share(low: float, high: float, value: float, by_power: bool) -> float:
    """Return which share of a bucket lies below a value inside of it."""
    if by_power and low > 0:
        return float((np.log2(value) - np.log2(low)) / (np.log2(high) - np.log2(low)))
    if by_power and high < 0:
        return float((np.log2(-low) - np.log2(-value)) / (np.log2(-low) - np.log2(-high)))
    return float((value - low) / (high - low))


@njit(cache=True, nogil=True)
def _walk(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
    target: float,
    least: float,
    most: float,
    by_power: bool,
) -> float:
    """Return where the cumulative weight of segments that do not overlap reaches ``target``."""
    below = 0
    for k in range(len(lower)):
        if below + weight[k] >= target:
            low, high = _zero_bucket(lower, upper, k) if by_power else (lower[k], upper[k])
            low, high = _ends(low, high, least, most)
            return _between(low, high, (target - below) / weight[k], by_power)
        below += weight[k]
    return np.nan


@njit(cache=True, nogil=True)
def _walk_down(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
    target: float,
    least: float,
    most: float,
) -> float:
    """The same for exponential segments, counted from the highest one down."""
    above = 0
    for k in range(len(lower) - 1, -1, -1):
        if above + weight[k] >= target:
            low, high = _zero_bucket(lower, upper, k)
            low, high = _ends(low, high, least, most)
            return _between(low, high, 1 - (target - above) / weight[k], True)
        above += weight[k]
    return np.nan


@njit(cache=True, nogil=True)
def _inside(
    low: NDArray[np.float64],
    high: NDArray[np.float64],
    weight: NDArray[np.int64],
    bound: float,
    by_power: bool,
) -> tuple[float, float]:
    """Return what lies at or below a bound, and of it what lies exactly there."""
    inside = jump = 0.0
    for k in range(len(low)):
        if high[k] <= bound:
            inside += weight[k]
            if low[k] == bound:
                jump += weight[k]
        elif low[k] < bound:
            inside += weight[k] * _share(low[k], high[k], bound, by_power)
    return inside, jump


@njit(cache=True, nogil=True)
def _search(
    lower: NDArray[np.float64],
    upper: NDArray[np.float64],
    weight: NDArray[np.int64],
    target: float,
    least: float,
    most: float,
    by_power: bool,
) -> float:
    """The same for segments that overlap: the cumulative weight is even between all bounds."""
    size = len(lower)
    low, high = np.empty(size), np.empty(size)
    for k in range(size):
        low[k], high[k] = _ends(lower[k], upper[k], least, most)
    bounds = np.unique(np.concatenate((low, high)))
    first, last = 0, len(bounds) - 1  # the first bound with enough below it is among these
    while first < last:
        middle = (first + last) // 2
        if _inside(low, high, weight, bounds[middle], by_power)[0] >= target:
            last = middle
        else:
            first = middle + 1
    bound = bounds[first]
    inside, jump = _inside(low, high, weight, bound, by_power)
    if inside - jump < target or first == 0:
        return float(bound)
    before = bounds[first - 1]
    weight_before = _inside(low, high, weight, before, by_power)[0]
    share = (target - weight_before) / (inside - jump - weight_before)
    return _between(before, bound, share, by_power)
