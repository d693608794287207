"""A compiled look at every body, before expressions are applied: of which kind it may be.

It errs on one side only: what an expression of ``operators.logs.parsing.records`` finds has the sign here, and
few bodies have one in vain. So the expressions, which cost ten times as much, are applied to those alone.
"""

# ruff: noqa: PLR0912, SIM102 -- a scanner is a list of cases

from __future__ import annotations

from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled, uncounted, word_at
from operators.columns.text_column import text_column

__all__ = [
    "ACCESS", "COLOURS", "CONTAINER", "OBJECT", "PAIRS", "SYSLOG", "TRACE_ID", "UNSURE", "signs_at",
    "signs_of",
]  # fmt: skip

OBJECT: Final = 1
"""It begins with a brace, unless ``UNSURE``."""
CONTAINER: Final = 2
"""It may be a line of a container's log file."""
SYSLOG: Final = 4
"""It begins with the priority of a syslog message."""
ACCESS: Final = 8
"""It may be a line of a web server."""
PAIRS: Final = 16
"""It begins with a key and ``=``, unless ``UNSURE``."""
TRACE_ID: Final = 32
"""It may name a trace."""
COLOURS: Final = 64
"""It has an escape character."""
UNSURE: Final = 128
"""There is more than ASCII where it begins: of an object or of pairs an expression has to decide."""

_BLANK: Final = 1
_OF_KEY: Final = 2
_LOOK: Final = 4
_DIGIT: Final = 8
_FIRST_OF_KEY: Final = 16


def _classes() -> NDArray[np.uint8]:
    table = np.zeros(256, np.uint8)
    for char in " \t\n\v\f\r":
        table[ord(char)] |= _BLANK
    for byte in range(256):
        if chr(byte).isalnum() or chr(byte) in "_.@/-" or byte >= 128:
            table[byte] |= _OF_KEY
        if byte < 128 and (chr(byte).isalpha() or chr(byte) in "_@"):
            table[byte] |= _FIRST_OF_KEY
    for char in "[tT\x1b":
        table[ord(char)] |= _LOOK
    table[48:58] |= _DIGIT
    return table


_CLASS: Final = _classes()
_FOUR: Final = np.uint64(0xFFFFFFFF)
_LOWERED: Final = np.uint64(0x20202020)
_RACE: Final = np.uint64(int.from_bytes(b"race", "little"))
_STD: Final = np.uint64(int.from_bytes(b"std", "little"))
_THREE: Final = np.uint64(0xFFFFFF)


def signs_of(bodies: pl.Series, *, beginnings: bool = False) -> NDArray[np.uint8]:
    """Return the signs of each body, as bits.

    Args:
        bodies: texts.
        beginnings: look no further than at how bodies begin: nothing is said of ``ACCESS``,
            ``TRACE_ID`` and ``COLOURS``.
    """
    return signs_at(*text_column(bodies), beginnings)


@uncounted
def _pairs(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the signs of what begins with a byte of a key."""
    found = PAIRS if _CLASS[buffer[at]] & _FIRST_OF_KEY else 0
    while at < end and _CLASS[buffer[at]] & _OF_KEY:
        if buffer[at] >= 128:
            found |= UNSURE
        at += 1
    return found if found & PAIRS and at < end and buffer[at] == 61 else 0


@uncounted
def _is_of_container(buffer: NDArray[np.uint8], at: int, end: int) -> bool:
    if end - at < 18 or buffer[at + 4] != 45 or buffer[at + 10] != 84:
        return False
    at += 11
    while at < end and buffer[at] != 32:
        at += 1
    return bool(at + 8 < end and word_at(buffer, at + 1) & _THREE == _STD)


@uncounted
def _is_of_syslog(buffer: NDArray[np.uint8], at: int, end: int) -> bool:
    first = at + 1
    at = first
    while at < end and at - first < 3 and _CLASS[buffer[at]] & _DIGIT:
        at += 1
    return bool(at > first and at < end and buffer[at] == 62)


@uncounted
def _look(buffer: NDArray[np.uint8], start: int, end: int, beginnings: bool) -> int:
    found = 0
    at = start
    while at < end and _CLASS[buffer[at]] & _BLANK:
        at += 1
    if at == end:
        return 0
    byte = buffer[at]
    if byte >= 128:  # there are other blanks
        found |= OBJECT | PAIRS | UNSURE
    elif byte == 123:
        found |= OBJECT
    elif _CLASS[byte] & _OF_KEY:
        found |= _pairs(buffer, at, end)
    byte = buffer[start]
    if byte == 60:
        if _is_of_syslog(buffer, start, end):
            found |= SYSLOG
    elif _CLASS[byte] & _DIGIT:
        if _is_of_container(buffer, start, end):
            found |= CONTAINER
    if beginnings:
        return found
    while at < end:
        byte = buffer[at]
        at += 1
        if not _CLASS[byte] & _LOOK:
            continue
        if byte == 91:
            if at + 3 < end and buffer[at + 2] == 47 and _CLASS[buffer[at]] & _DIGIT:
                found |= ACCESS
        elif byte == 27:
            found |= COLOURS
        elif at + 4 < end and (word_at(buffer, at) | _LOWERED) & _FOUR == _RACE:
            found |= TRACE_ID
    return found


@compiled
def signs_at(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    beginnings: bool,
) -> NDArray[np.uint8]:
    """Return the signs of bodies that are ranges of a buffer, as ``signs_of`` does."""
    found = np.empty(len(starts), np.uint8)
    for row in range(len(starts)):
        found[row] = _look(buffer, starts[row], ends[row], beginnings)
    return found
