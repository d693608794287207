"""Texts of which few are different: each of them once, and which one each row has.

Polars' views tell without a look at the texts which rows have the same one as the row before, and so they
do where texts are short. What is worked out of a text is then worked out once.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import Word, compiled, fold, signed, uncounted
from operators.columns.memory import word_at
from operators.columns.text_column import WITHIN, views_of

__all__ = ["RepeatedTexts", "repeated"]

_MOST: Final = 1024
_SOME: Final = 16
_FIRST: Final = np.uint64(0x9E3779B97F4A7C15)
_SECOND: Final = np.uint64(0xA0761D6478BD642F)


class RepeatedTexts(NamedTuple):
    """The different texts of a column.

    Attributes:
        texts: each of them, in the order in which they are met.
        codes: by row, the number of its text.
        firsts: by text, the first row that has it.
    """

    texts: list[str]
    codes: NDArray[np.int32]
    firsts: NDArray[np.int64]


def repeated(column: pl.Series, most: int = _MOST) -> RepeatedTexts | None:
    """Return the different texts of a column of String; ``None`` if there are more, or nulls.

    >>> repeated(pl.Series(["a", "b", "a"])).texts
    ['a', 'b']
    """
    if column.null_count():
        return None
    array, views = views_of(column)
    places = np.array([each.address for each in array.buffers()[2:]] or [0], np.int64)
    codes = np.empty(len(views), np.int32)
    firsts = np.empty(min(most, len(views)), np.int64)
    count = _number(views, places, codes, firsts)
    if count < 0:
        return None
    firsts = firsts[:count]
    # A call of Polars for many rows takes as long as one for some rows each.
    texts = column[firsts].to_list() if count > _SOME else [column[row] for row in firsts.tolist()]
    return RepeatedTexts(texts, codes, firsts)


@uncounted
def _place(view: Word, places: NDArray[np.int64]) -> int:
    """Return where the text of a view lies, by the second word of the view."""
    number = signed(view & np.uint64(0xFFFFFFFF))
    return places[number] + signed(view >> np.uint64(32))  # type: ignore[no-any-return]


@uncounted
def _hash(first: Word, second: Word, places: NDArray[np.int64]) -> Word:
    mixed = fold(first ^ _FIRST, _SECOND)
    size = signed(first & np.uint64(0xFFFFFFFF))
    if size <= WITHIN:
        return fold(mixed ^ second, _SECOND)
    at = _place(second, places)
    last = at + size - 8
    while at < last:
        mixed = fold(mixed ^ word_at(at), _SECOND)
        at += 8
    return fold(mixed ^ word_at(last), _SECOND)


@uncounted
def _is_same(
    first: Word, second: Word, other: Word, another: Word, places: NDArray[np.int64]
) -> bool:
    """Say whether two views are of the same text."""
    if first != other:
        return False
    size = signed(first & np.uint64(0xFFFFFFFF))
    if second == another or size <= WITHIN:
        return bool(second == another)
    at, place = _place(second, places), _place(another, places)
    for step in range(0, size - 8, 8):
        if word_at(at + step) != word_at(place + step):
            return False
    return bool(word_at(at + size - 8) == word_at(place + size - 8))


@compiled
def _number(
    views: NDArray[np.uint64],
    places: NDArray[np.int64],
    codes: NDArray[np.int32],
    firsts: NDArray[np.int64],
) -> int:
    """Number different texts as they come; return how many there are, -1 if there is no room."""
    size = 8
    while size < 4 * len(firsts):
        size *= 2
    slots = np.full(size, -1, np.int32)
    mask = np.uint64(size - 1)
    count = 0
    for row in range(len(views)):
        first, second = views[row, 0], views[row, 1]
        if row > 0 and views[row - 1, 0] == first and views[row - 1, 1] == second:
            codes[row] = codes[row - 1]
            continue
        slot = _hash(first, second, places) & mask
        while slots[slot] >= 0:
            other = firsts[slots[slot]]
            if _is_same(first, second, views[other, 0], views[other, 1], places):
                break
            slot = (slot + np.uint64(1)) & mask
        if slots[slot] < 0:
            if count == len(firsts):
                return -1
            slots[slot] = count
            firsts[count] = row
            count += 1
        codes[row] = slots[slot]
    return count
