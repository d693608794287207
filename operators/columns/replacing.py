"""Frames with other columns, without a query: Polars plans one for ``with_columns``, which takes longer."""

from __future__ import annotations

from typing import Any

import polars as pl
from numpy.typing import NDArray

__all__ = ["constant", "replaced"]


def constant(
    value: str | int | None, size: int, kind: pl.DataType | type[pl.DataType]
) -> pl.Series:
    """Return a column that has one value in all rows; that of a text is there once."""
    return pl.Series([value], dtype=kind).new_from_index(0, size)


def replaced(frame: pl.DataFrame, **columns: pl.Series | NDArray[Any]) -> pl.DataFrame:
    """Return a frame with other columns in the place of those that it has, and new ones behind.

    >>> replaced(pl.DataFrame({"a": [1], "b": [2]}), a=pl.Series([3]), c=pl.Series([4])).row(0)
    (3, 2, 4)
    """
    result = frame.clone()
    places = {name: number for number, name in enumerate(frame.columns)}
    for name, content in columns.items():
        column = content if isinstance(content, pl.Series) else pl.Series(content)
        if name in places:
            result.replace_column(places[name], column.alias(name))
        else:
            result.insert_column(result.width, column.alias(name))
    return result
