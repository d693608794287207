"""Whether bytes are UTF-8: the well-formed sequences of table 3-7 of the Unicode standard.

Both functions take addresses, as ``operators.columns.memory`` has them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from operators.columns.compiling import inlined, uncounted
from operators.columns.memory import byte_at, word_at

__all__ = ["after_character", "first_not_utf8"]

_HIGHS: Final = np.uint64(0x8080808080808080)


@uncounted
def after_character(at: int, end: int) -> int:
    """Return where the character of several bytes at ``at`` ends, -1 if it is not UTF-8.

    Overlong forms, surrogates, what is past U+10FFFF and what is cut off are not.
    """
    lead = byte_at(at)
    low, high = 0x80, 0xBF  # of the byte after the lead
    if 0xC2 <= lead <= 0xDF:
        more = 1
    elif 0xE0 <= lead <= 0xEF:
        more = 2
        low = 0xA0 if lead == 0xE0 else 0x80
        high = 0x9F if lead == 0xED else 0xBF
    elif 0xF0 <= lead <= 0xF4:
        more = 3
        low = 0x90 if lead == 0xF0 else 0x80
        high = 0x8F if lead == 0xF4 else 0xBF
    else:
        return -1
    if end - at <= more or not low <= byte_at(at + 1) <= high:
        return -1
    for place in range(at + 2, at + 1 + more):
        if not 0x80 <= byte_at(place) <= 0xBF:
            return -1
    return at + 1 + more


@inlined
def first_not_utf8(at: int, end: int) -> int:
    """Return where the bytes from ``at`` to ``end`` stop being UTF-8, -1 if all of them are."""
    while at < end:
        if end - at >= 8 and word_at(at) & _HIGHS == np.uint64(0):
            at += 8
        elif byte_at(at) < 0x80:
            at += 1
        else:
            after = after_character(at, end)
            if after < 0:
                return at
            at = after
    return -1
