"""A compiled look at every object: whether a field of it may have a name that is sensitive.

It errs on one side only: what the expression of ``operators.logs.scrubbing.rules`` finds is found here, and
few objects are found in vain. So the expression, which costs ten times as much, is applied to those
alone.
"""

# ruff: noqa: SIM110 -- a compiled loop

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, trailing_zeros, uncounted, word_at

__all__ = ["endings", "may_have_field"]

_MOST: Final = 4
"""Letters of an ending."""
_ANY: Final = np.zeros((1, 2), np.uint64)
_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_COLONS: Final = np.uint64(0x3A3A3A3A3A3A3A3A)
_LOWERED: Final = np.uint64(0x20)


def endings(names: Iterable[str]) -> NDArray[np.uint64]:
    """Return what names in small letters end with, for ``may_have_field``: letters, and their mask."""
    found = set()
    for name in names:
        if not name.isascii() or not name:
            return _ANY
        last = name[-_MOST:].encode()
        # A letter of either case has this bit; of other characters it makes others, here and there.
        word = int.from_bytes(bytes(byte | 0x20 for byte in reversed(last)), "little")
        found.add((word, (1 << 8 * len(last)) - 1))
    return np.array(sorted(found), np.uint64).reshape(-1, 2)


@uncounted
def _is_such(buffer: NDArray[np.uint8], start: int, at: int, endings: NDArray[np.uint64]) -> bool:
    """Say whether a key that ends before ``at`` may have one of the endings."""
    word = np.uint64(0)
    for place in range(_MOST):
        at -= 1
        # Between letters there may be a sign.
        if place > 0 and at >= start and (buffer[at] == 95 or buffer[at] == 45):
            at -= 1
        if at < start or buffer[at] == 34:
            break
        if buffer[at] >= 128:  # a few are letters of a name in another case
            return True
        word |= (np.uint64(buffer[at]) | _LOWERED) << np.uint64(8 * place)
    for row in range(len(endings)):
        if word & endings[row, 1] == endings[row, 0]:
            return True
    return False


@uncounted
def _has_field(
    buffer: NDArray[np.uint8], start: int, end: int, endings: NDArray[np.uint64]
) -> bool:
    at = start
    while at < end:
        differing = word_at(buffer, at) ^ _COLONS
        colons = (differing - _ONES) & ~differing & _HIGHS
        if colons == np.uint64(0):
            at += 8
            continue
        at += trailing_zeros(colons) >> 3
        if at >= end:
            break
        before = at - 1
        while before >= start and (buffer[before] == 32 or 9 <= buffer[before] <= 13):
            before -= 1
        if before >= start:
            if buffer[before] >= 128:  # there are other blanks
                return True
            if buffer[before] == 34 and _is_such(buffer, start, before, endings):
                return True
        at += 1
    return False


@compiled
def may_have_field(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    endings: NDArray[np.uint64],
) -> NDArray[np.bool_]:
    """Say which objects may have a field whose name has one of the endings.

    Args:
        buffer: the objects, and ``PADDING``.
        starts: where each begins.
        ends: where each ends.
        endings: what ``endings`` returned.
    """
    found = np.empty(len(starts), np.bool_)
    for row in range(len(starts)):
        found[row] = _has_field(buffer, starts[row], ends[row], endings)
    return found
