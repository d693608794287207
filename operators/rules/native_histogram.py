"""A native histogram of Prometheus, and what can be done with it.

The model: https://prometheus.io/docs/specs/native_histograms/. Exponential buckets of a schema
``s`` have the bounds ``2 ** (i / 2 ** s)``; custom ones (schema -53) have a list of bounds.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from operators.templating.formatting import sprintf

__all__ = ["COUNTER_RESET", "CUSTOM", "GAUGE", "NOT_RESET", "UNKNOWN", "IncompatibleError",
           "NativeHistogram", "summed"]  # fmt: skip

CUSTOM: Final = -53
UNKNOWN, COUNTER_RESET, NOT_RESET, GAUGE = "", "reset", "not_reset", "gauge"

Counts = Mapping[int, float]


class IncompatibleError(ValueError):
    """One histogram has exponential buckets and the other one custom ones."""


@dataclass(frozen=True)
class NativeHistogram:
    """Observations in buckets: ``positive`` and ``negative`` by index, the zero bucket apart.

    ``hint`` says what is known of a reset before it: `UNKNOWN`, `COUNTER_RESET`, `NOT_RESET`, or
    that it is a `GAUGE`.
    """

    schema: int = 0
    count: float = 0.0
    sum: float = 0.0
    zero_threshold: float = 0.0
    zero_count: float = 0.0
    positive: Counts = field(default_factory=dict)
    negative: Counts = field(default_factory=dict)
    bounds: tuple[float, ...] = ()
    hint: str = UNKNOWN

    @property
    def is_custom(self) -> bool:
        """Whether the bounds of the buckets are a list."""
        return self.schema == CUSTOM

    def scaled(self, factor: float, divide: bool = False) -> NativeHistogram:
        """Return it with all counts and the sum multiplied, or divided; below 0 it is a gauge."""

        def of(value: float) -> float:
            if not divide:
                return value * factor
            if factor == 0:
                return (
                    math.nan
                    if value == 0 or math.isnan(value)
                    else math.copysign(math.inf, value * math.copysign(1, factor))
                )
            return value / factor

        hint = self.hint
        if factor < 0:
            hint = GAUGE
        positive = {} if divide and factor == 0 else {i: of(c) for i, c in self.positive.items()}
        negative = {} if divide and factor == 0 else {i: of(c) for i, c in self.negative.items()}
        return replace(
            self,
            count=of(self.count),
            sum=of(self.sum),
            zero_count=of(self.zero_count),
            positive=positive,
            negative=negative,
            hint=hint,
        )  # fmt: skip

    def plus(self, other: NativeHistogram, sign: float = 1.0) -> NativeHistogram:
        """Return the sum of two, or the difference, at the coarser resolution of both.

        Raises:
            IncompatibleError: only one of them has custom buckets.
        """
        one, two = self.aligned(other)
        return replace(
            one,
            count=one.count + sign * two.count,
            sum=one.sum + sign * two.sum,
            zero_count=one.zero_count + sign * two.zero_count,
            positive=_added(one.positive, two.positive, sign),
            negative=_added(one.negative, two.negative, sign),
            hint=_hint(self.hint, other.hint),
        ).compact()

    def aligned(self, other: NativeHistogram) -> tuple[NativeHistogram, NativeHistogram]:
        """Return both with the same buckets.

        Raises:
            IncompatibleError: only one of them has custom buckets.
        """
        if self.is_custom != other.is_custom:
            raise IncompatibleError("a mix of exponential and custom buckets")
        if self.is_custom:
            if self.bounds == other.bounds:
                return self, other
            bounds = tuple(sorted(set(self.bounds) & set(other.bounds)))
            return self._with_bounds(bounds), other._with_bounds(bounds)
        schema = min(self.schema, other.schema)
        one, two = self.coarser(schema), other.coarser(schema)
        threshold = max(one.zero_threshold, two.zero_threshold)
        while True:
            one, two = one._wider_zero(threshold), two._wider_zero(threshold)
            if one.zero_threshold == two.zero_threshold:
                return one, two
            threshold = max(one.zero_threshold, two.zero_threshold)

    def _with_bounds(self, bounds: tuple[float, ...]) -> NativeHistogram:
        counts: dict[int, float] = {}
        for index, count in self.positive.items():
            upper = self.bounds[index] if index < len(self.bounds) else math.inf
            place = next((i for i, bound in enumerate(bounds) if bound >= upper), len(bounds))
            counts[place] = counts.get(place, 0.0) + count
        return replace(self, positive=counts, bounds=bounds)

    def coarser(self, schema: int) -> NativeHistogram:
        """Return it with the buckets of a coarser schema, each of several of its own."""
        if schema == self.schema:
            return self
        shift = self.schema - schema

        def merged(counts: Counts) -> dict[int, float]:
            made: dict[int, float] = {}
            for index, count in counts.items():
                place = ((index - 1) >> shift) + 1
                made[place] = made.get(place, 0.0) + count
            return made

        return replace(
            self, schema=schema, positive=merged(self.positive), negative=merged(self.negative)
        )

    def _wider_zero(self, threshold: float) -> NativeHistogram:
        """Return it with a zero bucket that reaches so far, or to the end of a bucket in which
        that would be."""
        if threshold <= self.zero_threshold:
            return self
        zero = self.zero_count
        kept: list[dict[int, float]] = []
        for counts in (self.positive, self.negative):
            stays: dict[int, float] = {}
            for index, count in sorted(counts.items()):
                if self.upper(index - 1) >= threshold or count == 0:
                    stays[index] = count
                else:
                    zero += count
                    threshold = max(threshold, self.upper(index))
            kept.append(stays)
        return replace(
            self, zero_threshold=threshold, zero_count=zero, positive=kept[0], negative=kept[1]
        )

    def compact(self) -> NativeHistogram:
        """Return it without empty buckets."""
        return replace(
            self,
            positive={i: c for i, c in sorted(self.positive.items()) if c != 0},
            negative={i: c for i, c in sorted(self.negative.items()) if c != 0},
        )

    def upper(self, index: int) -> float:
        """Return the upper bound of a bucket on the positive side."""
        if self.is_custom:
            return self.bounds[index] if index < len(self.bounds) else math.inf
        exponent = index / 2.0**self.schema if self.schema >= 0 else index * 2**-self.schema
        return 2.0**exponent if exponent < 1024 else math.inf

    def buckets(self) -> Iterator[tuple[float, float, float]]:
        """Yield lower bound, upper bound and count of each bucket, from low to high."""
        if self.is_custom:
            for index, count in sorted(self.positive.items()):
                lower = self.bounds[index - 1] if index > 0 else -math.inf
                yield lower, self.upper(index), count
            return
        for index, count in sorted(self.negative.items(), reverse=True):
            yield -self.upper(index), -self.upper(index - 1), count
        if self.zero_count:
            yield -self.zero_threshold, self.zero_threshold, self.zero_count
        for index, count in sorted(self.positive.items()):
            yield self.upper(index - 1), self.upper(index), count

    def __str__(self) -> str:
        """As Prometheus writes it: ``{count:4, sum:5, (0.5,1]:4}``."""
        parts = [f"count:{_text(self.count)}", f"sum:{_text(self.sum)}"]
        for lower, upper, count in self.buckets():
            if not count:
                continue
            left = "[" if upper <= 0 or (lower < 0 < upper) else "("
            right = ")" if upper <= 0 and not self.is_custom else "]"
            if self.is_custom:
                left = "[" if lower == -math.inf else "("
            parts.append(f"{left}{_text(lower)},{_text(upper)}{right}:{_text(count)}")
        return "{" + ", ".join(parts) + "}"

    def is_reset_after(self, before: NativeHistogram) -> bool:
        """Return whether it began anew since the one before: something in it is less."""
        if self.hint in (COUNTER_RESET, NOT_RESET):
            return self.hint == COUNTER_RESET
        if self.count < before.count or self.is_custom != before.is_custom:
            return True
        if self.is_custom:
            if set(self.bounds) - set(before.bounds) and set(before.bounds) - set(self.bounds):
                pass
        elif self.schema > before.schema or self.zero_threshold < before.zero_threshold:
            return True
        one, two = self.aligned(before)
        if one.zero_count < two.zero_count:
            return True
        return any(
            mine.get(index, 0.0) < count
            for mine, others in ((one.positive, two.positive), (one.negative, two.negative))
            for index, count in others.items()
        )

    def same(self, other: NativeHistogram) -> bool:
        """Return whether both hold the same, whatever their hints; a NaN is like another."""
        one, two = self.compact(), other.compact()
        return (
            one.schema == two.schema
            and _alike(one.count, two.count)
            and _alike(one.sum, two.sum)
            and (one.is_custom or one.zero_threshold == two.zero_threshold)
            and _alike(one.zero_count, two.zero_count)
            and one.positive == two.positive
            and one.negative == two.negative
            and one.bounds == two.bounds
        )

    def quantile(self, q: float) -> float:  # noqa: PLR0912
        """Return a quantile: exponential inside of a bucket, linear in the zero bucket."""
        if q < 0 or q > 1:
            return -math.inf if q < 0 else math.inf
        if self.count == 0 or math.isnan(q):
            return math.nan
        forward = math.isnan(self.sum) or q < 0.5
        rank = q * self.count if forward else (1 - q) * self.count
        found = list(self.buckets())
        total = inside = 0.0
        lower = upper = 0.0
        for bucket in found if forward else reversed(found):
            lower, upper, inside = bucket
            if inside == 0:
                continue
            total += inside
            if total >= rank:
                break
        if self.is_custom:
            if lower == -math.inf:
                if upper <= 0:
                    return upper
                lower = 0.0
            elif upper == math.inf:
                return lower
        elif lower < 0 < upper:
            if not self.negative and self.positive:
                lower = 0.0
            elif not self.positive and self.negative:
                upper = 0.0
        total = min(total, self.count)
        if total < rank:
            return math.nan if math.isnan(self.sum) else upper
        rank = rank - (total - inside) if forward else total - rank
        return self._inside(lower, upper, rank / inside)

    def _inside(self, lower: float, upper: float, share: float) -> float:
        if self.is_custom or lower <= 0 <= upper:
            return lower + (upper - lower) * share
        low, high = math.log2(abs(lower)), math.log2(abs(upper))
        if lower > 0:
            return float(2 ** (low + (high - low) * share))
        return float(-(2 ** (high + (low - high) * (1 - share))))

    def fraction(self, lower: float, upper: float) -> float:
        """Return the share of the observations between two bounds."""
        if self.count == 0 or math.isnan(lower) or math.isnan(upper):
            return math.nan
        if lower >= upper:
            return 0.0
        total = self.count
        if math.isnan(self.sum):
            total = sum(count for _, _, count in self.buckets())
        below = min(self._rank(lower), total)
        return (min(self._rank(upper), total) - below) / self.count

    def _rank(self, bound: float) -> float:
        rank = 0.0
        for start, end, inside in self.buckets():
            low, high = start, end
            zero = not self.is_custom and low <= 0 <= high
            if zero:
                if not self.negative and self.positive:
                    low = 0.0
                elif not self.positive and self.negative:
                    high = 0.0
            elif self.is_custom and low == -math.inf and high > 0:
                low = 0.0
            if low >= bound:
                return rank
            if high > bound:
                if low == -math.inf:
                    return rank + inside
                if math.isinf(high):
                    return rank
                if self.is_custom or zero:
                    return rank + inside * (bound - low) / (high - low)
                a, b, x = (math.log2(abs(v)) for v in (low, high, bound))
                share = (x - a) / (b - a) if bound > 0 else 1 - (x - b) / (a - b)
                return rank + inside * share
            rank += inside
        return math.inf

    def variance(self) -> float:
        """Return the variance, each bucket at its geometric mean."""
        if self.count == 0:
            return math.nan
        mean = self.sum / self.count
        total = 0.0
        for lower, upper, count in self.buckets():
            if count == 0:
                continue
            if self.is_custom:
                low = 0.0 if lower == -math.inf and upper > 0 else lower
                value = (
                    upper if math.isinf(low) else low if math.isinf(upper) else (low + upper) / 2
                )
            elif lower <= 0 <= upper:
                value = 0.0
            else:
                value = math.sqrt(upper * lower)
                if upper < 0:
                    value = -value
            total += count * (value - mean) ** 2
        return total / self.count


def summed(hists: Sequence[NativeHistogram], *, mean: bool = False) -> NativeHistogram:
    """Return the sum of histograms, or their mean, at the coarsest resolution of all.

    What cancels out leaves no error behind, and a mean is one also where the sum is too large.

    Raises:
        IncompatibleError: only some of them have custom buckets.
    """
    coarsest = hists[0]
    for one in hists[1:]:
        coarsest = coarsest.aligned(one)[0]
    alike = [one.aligned(coarsest)[0] for one in hists]
    hint = hists[0].hint
    for one in hists[1:]:
        hint = _hint(hint, one.hint)

    def total(values: Iterable[float]) -> float:
        return _exact_sum(list(values), len(hists) if mean else 1)

    def buckets(sides: Sequence[Counts]) -> dict[int, float]:
        indexes = sorted({index for side in sides for index in side})
        return {index: total(side.get(index, 0.0) for side in sides) for index in indexes}

    return replace(
        alike[0],
        count=total(one.count for one in alike),
        sum=total(one.sum for one in alike),
        zero_count=total(one.zero_count for one in alike),
        positive=buckets([one.positive for one in alike]),
        negative=buckets([one.negative for one in alike]),
        hint=hint,
    ).compact()


def _exact_sum(values: Sequence[float], number: int) -> float:
    """Return the sum of values divided by a number."""
    try:
        return math.fsum(values) / number
    except ValueError:  # infinities of both signs
        return math.nan
    except OverflowError:
        return sum(value / number for value in values)


def _text(value: float) -> str:
    return sprintf("%g", [float(value)])


def _alike(one: float, two: float) -> bool:
    return one == two or (math.isnan(one) and math.isnan(two))


def _hint(one: str, two: str) -> str:
    if GAUGE in (one, two):
        return GAUGE
    return one if one == two else UNKNOWN


def _added(one: Counts, two: Counts, sign: float) -> dict[int, float]:
    made = dict(one)
    for index, count in two.items():
        made[index] = made.get(index, 0.0) + sign * count
    return made
