"""Histograms and summaries as columns: what a decoder gives of them, and windows work on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DISTRIBUTIONS", "Distributions", "exponential_bounds"]


@dataclass(frozen=True, slots=True)
class Distributions:
    """Data points of histograms, explicit and exponential, and of summaries.

    The first eight arrays have one element a data point. The buckets of point ``i`` are
    ``lower[offsets[i]:offsets[i + 1]]`` and so on: *segments*, between whose bounds ``weight``
    observations lie. Empty ones are left out, and they are sorted by ``lower``, then ``upper``.

    ===================  =========================================================================
    explicit             the bounds of the bucket; ``-inf`` and ``inf`` at the ends
    exponential          ``2 ** (index / 2**scale)`` and ``2 ** ((index + 1) / 2**scale)``, mirrored
                         for negative values; the zero bucket lies between -threshold and threshold.
                         Bounds of one scale are bit for bit bounds of every finer one.
    summary              ``lower`` is the quantile, ``upper`` its value, ``weight`` is 0
    ===================  =========================================================================

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
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.ts)


_TYPES: Final = {
    "message": np.uint32, "raw": np.uint64, "ts": np.int64, "start": np.int64, "count": np.int64,
    "offsets": np.int64, "weight": np.int64,
}  # fmt: skip

NO_DISTRIBUTIONS: Final = Distributions(
    *(
        np.zeros(1 if field.name == "offsets" else 0, _TYPES.get(field.name, np.float64))
        for field in fields(Distributions)
    )
)
"""None at all."""

_BITS: Final = 10
_TABLES: Final = tuple(
    np.array([float(Decimal(2) ** (Decimal(i) / (1 << bits))) for i in range(1 << _BITS)])
    for bits in (_BITS, 2 * _BITS, 3 * _BITS)
)
"""``2 ** (i / 2**bits)`` for ten bits of a fraction each, correctly rounded."""
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
