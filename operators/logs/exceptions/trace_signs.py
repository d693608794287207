"""A compiled look at every text, before expressions are applied: which may be a stack trace.

It errs on one side only: what the expression of ``operators.logs.exceptions.stack_traces`` finds has a sign here, and
few texts have one in vain. So the expression, which costs ten times as much, is applied to those alone.
"""

# ruff: noqa: SIM110 -- a compiled loop

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted, word_at

__all__ = ["MAY_BEGIN", "SEVERAL_LINES", "trace_signs"]

MAY_BEGIN: Final = 1
"""A text of one line that may begin as a line of a trace does."""
SEVERAL_LINES: Final = 2
"""A text of several lines, any of which may be one of a trace."""

_STARTS: Final = np.array(
    [int.from_bytes(text.encode(), "little") for text in ("Trac", "goro", "pani", "Caus", "File")],
    np.uint64,
)
_FOUR: Final = np.uint64(0xFFFFFFFF)
_THREE: Final = np.uint64(0xFFFFFF)
_AT: Final = np.uint64(int.from_bytes(b"at ", "little"))
_ONES: Final = np.uint64(0x0101010101010101)
_HIGHS: Final = np.uint64(0x8080808080808080)
_LINE_ENDS: Final = np.uint64(0x0A0A0A0A0A0A0A0A)


@uncounted
def _may_begin(buffer: NDArray[np.uint8], at: int, end: int) -> bool:
    while at < end and (buffer[at] == 32 or 9 <= buffer[at] <= 13):
        at += 1
    if at == end:
        return False
    if buffer[at] >= 128:  # there are other blanks
        return True
    word = word_at(buffer, at)
    if word & _THREE == _AT:
        return True
    for row in range(len(_STARTS)):
        if word & _FOUR == _STARTS[row]:
            return True
    return False


@uncounted
def _has_line_end(buffer: NDArray[np.uint8], at: int, end: int) -> bool:
    while at + 8 <= end:
        differing = word_at(buffer, at) ^ _LINE_ENDS
        if (differing - _ONES) & ~differing & _HIGHS != np.uint64(0):
            return True
        at += 8
    while at < end:
        if buffer[at] == 10:
            return True
        at += 1
    return False


@compiled
def trace_signs(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.uint8]:
    """Return the sign of each text, 0 of one that is no trace.

    Args:
        buffer: the texts, and ``PADDING``.
        starts: where each begins.
        ends: where each ends.
    """
    found = np.zeros(len(starts), np.uint8)
    for row in range(len(starts)):
        if _has_line_end(buffer, starts[row], ends[row]):
            found[row] = SEVERAL_LINES
        elif _may_begin(buffer, starts[row], ends[row]):
            found[row] = MAY_BEGIN
    return found
