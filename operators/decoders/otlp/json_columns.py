"""Columns that Polars made of JSON: what is absent, and numbers, which may be texts."""

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

__all__ = ["doubles", "integers", "lists", "texts", "unsigned"]

_FAR: Final = 1 << 40  # past every index of a bucket, and far from overflowing


def lists(array: pa.Array) -> pa.ListArray:
    """Return ``array`` with an empty list for each null, and offsets that start at its child."""
    return (
        pl.Series(pl.from_arrow(array))
        .fill_null([])
        .to_arrow()
        .cast(pa.large_list(array.type.value_type))
    )


def texts(array: pa.Array) -> pl.Series:
    """Return texts, an empty one for each null."""
    return pl.Series(pl.from_arrow(array)).cast(pl.String).fill_null("")


def unsigned(array: pa.Array, unreadable: int = 0) -> NDArray[np.uint64]:
    """Return numbers from 0 to 2**64 - 1, 0 for each null, ``unreadable`` for what is no such."""
    written = pl.Series(pl.from_arrow(array))
    return (
        written.cast(pl.UInt64, strict=False)
        .fill_null(pl.Series([unreadable], dtype=pl.UInt64))
        .zip_with(written.is_not_null(), pl.Series([0], dtype=pl.UInt64))
        .to_numpy()
    )


def integers(array: pa.Array) -> NDArray[np.int64]:
    """Return small numbers, 0 for each null; what is no such is far from all that are allowed."""
    written = pl.Series(pl.from_arrow(array)).fill_null("0")
    return written.cast(pl.Int64, strict=False).fill_null(_FAR).clip(-_FAR, _FAR).to_numpy()


def doubles(array: pa.Array, absent: float) -> NDArray[np.float64]:
    """Return doubles, ``absent`` for each null, NaN for what is none."""
    written = pl.Series(pl.from_arrow(array))
    values = written.cast(pl.Float64, strict=False).fill_null(np.nan).to_numpy()
    return np.where(written.is_null().to_numpy(), absent, values)
