"""What a label shows of an attribute, and what tells apart attributes that look alike."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = ["ARRAY_MARK", "MAP_MARK", "exact_text", "value_text"]

_KINDS: Final = ("bool", "int", "double", "bytes", "array", "map")
"""Columns of texts; at most one is not null."""
ARRAY_MARK: Final = "\0array "
MAP_MARK: Final = "\0map "


def value_text(text: pl.Expr) -> pl.Expr:
    """Return the label: ``text`` of strings, and of the others what is in the column of their type."""
    return pl.coalesce(text, *_KINDS).fill_null("")


def exact_text(text: pl.Expr) -> pl.Expr:
    """Return the same with the type of what is no string before it.

    No label is written so, so a zero byte tells it from a string.
    """
    marked = [pl.lit(f"\0{kind} ") + pl.col(kind) for kind in _KINDS]
    return pl.coalesce(text, *marked).fill_null("")
