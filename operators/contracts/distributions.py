"""Histograms and summaries as columns: what a decoder gives of them, and windows work on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import isqrt
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DISTRIBUTIONS", "Distributions", "exponential_bounds", "take_distributions"]


@dataclass(frozen=True, slots=True)
class Distributions:
    """Data points of histograms, explicit and exponential, and of summaries.

    The first nine arrays have one element a data point. The buckets of point ``i`` are
    ``lower[offsets[i]:offsets[i + 1]]`` and so on: *segments*, between whose bounds ``weight``
    observations lie. Empty ones are left out, and they are sorted by ``lower``, then ``upper``.

    ===================  =========================================================================
    explicit             the bounds of the bucket; ``-inf`` and ``inf`` at the ends
    exponential          ``2 ** (index / 2**scale)`` and ``2 ** ((index + 1) / 2**scale)``, mirrored
                         for negative values; the zero bucket lies between -threshold and threshold.
                         Bounds of one scale are bit for bit bounds of every finer one.
    summary              ``lower`` is the quantile, ``upper`` its value, ``weight`` is 0
    ===================  =========================================================================

    ``exponential`` says that the buckets are exponential, so that a percentile is interpolated so.
    ``ts`` and ``start`` are nanoseconds; ``start`` is 0 where the producer does not say. ``sum``,
    ``min`` and ``max`` are NaN where it does not say.
    """

    message: NDArray[np.uint32]
    raw: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    exponential: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts)


_TYPES: Final = {
    "message": np.uint32, "raw": np.uint64, "ts": np.int64, "start": np.int64, "count": np.int64,
    "exponential": np.bool_, "offsets": np.int64, "weight": np.int64,
}  # fmt: skip

NO_DISTRIBUTIONS: Final = Distributions(
    *(
        np.zeros(1 if field.name == "offsets" else 0, _TYPES.get(field.name, np.float64))
        for field in fields(Distributions)
    )
)
"""None at all."""


def take_distributions(points: Distributions, chosen: NDArray[np.intp]) -> Distributions:
    """Return the data points at the indexes ``chosen``, in that order."""
    sizes = np.diff(points.offsets)[chosen]
    bounds = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    inside = np.arange(bounds[-1]) + np.repeat(points.offsets[:-1][chosen] - bounds[:-1], sizes)
    ragged = ("lower", "upper", "weight")
    columns = {
        field.name: getattr(points, field.name)[inside if field.name in ragged else chosen]
        for field in fields(Distributions)
        if field.name != "offsets"
    }
    return Distributions(**columns, offsets=bounds)


_BITS: Final = 10
_GUARD: Final = 256  # bits of a power behind its point, of which a double keeps 52


def _tables() -> tuple[NDArray[np.float64], ...]:
    """Return ``2 ** (i / 2**bits)`` for ten bits of a fraction each, correctly rounded.

    Powers are whole numbers of ``2**-_GUARD``. A root is the square root of the one before, and the
    powers of a table are multiples of its root, so what rounding leaves behind is some thousand
    units, far below a double's last place. Floats made of whole numbers are correctly rounded.
    """
    roots = [2 << _GUARD]
    for _ in range(3 * _BITS):
        roots.append(isqrt(roots[-1] << _GUARD))
    tables = []
    for root in (roots[_BITS], roots[2 * _BITS], roots[3 * _BITS]):
        powers = [1 << _GUARD]
        for _ in range((1 << _BITS) - 1):
            powers.append(powers[-1] * root >> _GUARD)
        tables.append(np.ldexp(np.array(list(map(float, powers))), -_GUARD))
    return tuple(tables)


_TABLES: Final = _tables()
_FINEST: Final = len(_TABLES) * _BITS
_FAR: Final = 1 << 12  # 2**4096 is infinite, and its inverse is 0


def exponential_bounds(scale: NDArray[Any] | int, index: NDArray[Any] | int) -> NDArray[np.float64]:
    """Return ``2 ** (index / 2**scale)``: the lower bound of OTel's bucket ``index`` at ``scale``.

    Both are integers, broadcast against each other. The result depends on nothing but the exact
    binary fraction, so a bound of one scale is bit for bit one of every finer scale; and it is
    made of integers, tables and multiplications only, so it is the same on every machine, whatever
    its ``exp2``. It is within two units in the last place. Past the range of a double it is 0 or
    infinity; scales above 30, which no producer uses, are as coarse as 30.
    """
    scales = np.asarray(scale, np.int64)
    indexes = np.asarray(index, np.int64) >> np.clip(scales - _FINEST, 0, 63)
    fine = np.clip(scales, 0, _FINEST)
    whole = indexes >> fine
    fraction = (indexes - (whole << fine)) << (_FINEST - fine)
    value = np.ones(np.shape(fraction))
    for number, table in enumerate(_TABLES):
        value *= table[(fraction >> (_FINEST - (number + 1) * _BITS)) & ((1 << _BITS) - 1)]
    exponent = np.clip(whole, -_FAR, _FAR) << np.clip(-scales, 0, 12)
    with np.errstate(over="ignore", under="ignore"):
        bounds: NDArray[np.float64] = np.ldexp(value, exponent.astype(np.int32))
    return bounds
