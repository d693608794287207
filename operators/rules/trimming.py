"""The operators ``</`` and ``>/``: what a native histogram holds below a value, or above it."""

from __future__ import annotations

import math
from dataclasses import replace

from operators.rules.native_histogram import NativeHistogram

__all__ = ["trimmed"]


class _Side:
    """One side of a value: how much of a bucket lies there, and where in the middle.

    Args:
        at: the value.
        below: whether the side is the one below it.
    """

    def __init__(self, at: float, below: bool) -> None:
        self._at = at
        self._below = below
        self.total = 0.0

    def kept(self, count: float, low: float, high: float, exponential: bool) -> float:
        """Return how much of a bucket is kept, and add its part of the sum of observations."""
        if high <= self._at if self._below else low >= self._at:
            self.total += count * _middle(low, high, exponential)
            return count
        if low >= self._at if self._below else high <= self._at:
            return 0.0
        start, end = (low, self._at) if self._below else (self._at, high)
        if math.isinf(low) or math.isinf(high):
            # Nothing is known of where its observations are: all are on the open side.
            if not math.isinf(high if self._below else low):
                self.total += count * self._at
                return count
            return 0.0
        if exponential:
            a, b, x = (math.log2(abs(bound)) for bound in (low, high, self._at))
            share = (x - a) / (b - a)
        else:
            share = (self._at - low) / (high - low)
        part = count * (share if self._below else 1 - share)
        self.total += part * _middle(start, end, exponential)
        return part


def _middle(low: float, high: float, exponential: bool) -> float:
    if exponential:
        return math.copysign(math.sqrt(low * high), low)
    if math.isinf(low) or math.isinf(high):
        return 0.0 if math.isinf(low) and math.isinf(high) else high if math.isinf(low) else low
    return (low + high) / 2


def trimmed(histogram: NativeHistogram, at: float, *, below: bool) -> NativeHistogram:
    """Return what a histogram holds on one side of a value.

    Inside of a bucket observations are spread evenly, on a logarithmic scale if it is one of the
    exponential buckets. The sum of what is left is worked out anew, each bucket at its middle; where
    nothing is cut off, the histogram stays as it is. See
    https://prometheus.io/docs/prometheus/latest/querying/operators/.
    """
    if math.isnan(at):
        return histogram
    side = _Side(at, below)
    if histogram.is_custom:
        positive = {
            index: _custom(side, histogram, index, count, at, below)
            for index, count in sorted(histogram.positive.items())
        }
        made = replace(histogram, positive=positive)
    else:
        made = _exponential(side, histogram)
    count = sum((*made.positive.values(), *made.negative.values(), made.zero_count))
    before = (
        *histogram.positive.values(), *histogram.negative.values(), histogram.zero_count,
    )  # fmt: skip
    if count == sum(before):
        return histogram
    return replace(made, count=count, sum=side.total).compact()


def _custom(
    side: _Side, histogram: NativeHistogram, index: int, count: float, at: float, below: bool
) -> float:
    low = histogram.bounds[index - 1] if index else -math.inf
    high = histogram.upper(index)
    if math.isinf(high) and below and at < math.inf:
        return 0.0
    if math.isinf(low) and high > 0 and (below or at >= 0) and not math.isinf(high):
        low = 0.0
    return side.kept(count, low, high, exponential=False)


def _exponential(side: _Side, histogram: NativeHistogram) -> NativeHistogram:
    positive: dict[int, float] = {}
    negative: dict[int, float] = {}
    for index, count in sorted(histogram.negative.items(), reverse=True):
        low, high = histogram.upper(index - 1), histogram.upper(index)
        negative[index] = side.kept(count, -high, -low, exponential=True)
    zero = histogram.zero_count
    if zero:
        reach = histogram.zero_threshold
        low = 0.0 if histogram.positive and not histogram.negative else -reach
        high = 0.0 if histogram.negative and not histogram.positive else reach
        zero = side.kept(zero, low, high, exponential=False)
    for index, count in sorted(histogram.positive.items()):
        low, high = histogram.upper(index - 1), histogram.upper(index)
        positive[index] = side.kept(count, low, high, exponential=True)
    return replace(histogram, positive=positive, negative=negative, zero_count=zero)
