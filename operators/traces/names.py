"""Names of spans without what changes from one to the next: a name with ids would be an operation each."""

from __future__ import annotations

from typing import Final

import polars as pl

__all__ = ["templated"]

_UUID: Final = r"[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}"
_HEXADECIMAL: Final = r"(^|[^0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2,}[0-9][0-9A-Fa-f]{5,}([^0-9A-Za-z]|$)"
_HEXADECIMAL_AT_START: Final = r"(^|[^0-9A-Za-z])(?:0x)?[0-9][0-9A-Fa-f]{7,}([^0-9A-Za-z]|$)"
_NUMBER: Final = r"(^|[^0-9A-Za-z])[0-9]+([^0-9A-Za-z]|$)"
_LONG_WORD: Final = r"(^|[^0-9A-Za-z])[A-Za-z]{0,30}[0-9][0-9A-Za-z]{15,}([^0-9A-Za-z]|$)"
_LONGEST: Final = 512


def templated(names: pl.Series) -> pl.Series:
    """Return names with ``*`` in place of numbers, UUIDs, hexadecimal and other long ids.

    >>> templated(pl.Series(["GET /api/v1/orders/17/items", "POST /checkout"])).to_list()
    ['GET /api/v1/orders/*/items', 'POST /checkout']
    """
    name = pl.col("name").str.slice(0, _LONGEST).str.replace_all(_UUID, "*")
    for pattern in (_HEXADECIMAL, _HEXADECIMAL_AT_START, _LONG_WORD, _NUMBER):
        # Neighbours share the character between them, so the second is found by the second look.
        for _ in range(2):
            name = name.str.replace_all(pattern, "${1}*${2}")
    return pl.DataFrame({"name": names}).select(name).to_series()
