"""Histograms and summaries as columns: what a decoder gives of them, and windows work on."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = ["NO_DISTRIBUTIONS", "Distributions"]


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
