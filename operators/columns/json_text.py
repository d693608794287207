"""JSON written by columns: what Polars has no expression for."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = ["quoted"]

_SHORT: Final = {"\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_ESCAPES: Final = {
    "\\": "\\\\",
    '"': '\\"',
    **{chr(code): _SHORT.get(chr(code), f"\\u{code:04x}") for code in range(32)},
}


def quoted(text: pl.Expr) -> pl.Expr:
    """Return ``text`` as a JSON string, quotes included; null stays null."""
    return pl.format('"{}"', text.str.replace_many(_ESCAPES))
