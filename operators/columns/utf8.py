"""Whether bytes are UTF-8: the well-formed sequences of table 3-7 of the Unicode standard.

The functions take addresses, as ``operators.columns.memory`` has them.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from operators.columns.compiling import inlined, uncounted
from operators.columns.memory import byte_at, word_at

__all__ = ["REPLACEMENT", "after_character", "after_replaced", "first_not_utf8"]

_HIGHS: Final = np.uint64(0x8080808080808080)
REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}".encode()
"""What stands for bytes that are no character."""


@uncounted
def after_character(at: int, end: int) -> int:
    """Return where the character of several bytes at ``at`` ends, -1 if it is not UTF-8.

    Overlong forms, surrogates, what is past U+10FFFF and what is cut off are not.
    """
    more, low, high = _after_lead(byte_at(at))
    if not more or end - at <= more or not low <= byte_at(at + 1) <= high:
        return -1
    for place in range(at + 2, at + 1 + more):
        if not 0x80 <= byte_at(place) <= 0xBF:
            return -1
    return at + 1 + more


@uncounted
def after_replaced(at: int, end: int) -> int:
    """Return up to where one replacement stands for the bytes at ``at``, which are no character.

    It stands for as many bytes as a character begins with, else for one, as Unicode recommends and Python does.
    """
    more, low, high = _after_lead(byte_at(at))
    place = at + 1
    while place < end and place - at <= more and low <= byte_at(place) <= high:
        low, high = 0x80, 0xBF
        place += 1
    return place


@inlined
def _after_lead(lead: int) -> tuple[int, int, int]:
    """Return how many bytes follow the first one of a character, none if it is no such; and from what to what
    the one after it may be."""
    low, high = 0x80, 0xBF
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
        more = 0
    return more, low, high


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
