"""What compiled scanners of text have in common: words, hashes, integers and exact floats of bytes.

All functions but the last work on one ``uint8`` array and are meant to be called, and inlined, by
the compiled loop of a decoder. An array must be longer than its content by at least ``PADDING``
bytes, since eight bytes are read at once, and nothing checks bounds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import (
    Word,
    compiled,
    copy,
    fold,
    inlined,
    signed,
    uncounted,
    word_at,
)
from operators.columns.doubles import nearest_double
from operators.columns.messages import PADDING, Messages

__all__ = [
    "INEXACT",
    "MALFORMED",
    "PADDING",
    "READ",
    "Word",
    "compiled",
    "exact_floats",
    "fold",
    "hash_range",
    "inlined",
    "joined",
    "scan_digits",
    "scan_float",
    "signed",
    "uncounted",
    "word_at",
]

READ: Final = 0
"""Status of a scan: the number is right to the last bit."""
INEXACT: Final = 1
"""Status of a scan: well formed, but to be converted anew by ``exact_floats``."""
MALFORMED: Final = 2
"""Status of a scan: not a number."""

_MOST_DIGITS: Final = 19  # that always fit 64 bits
_ALMOST_FULL: Final = np.uint64((2**64 - 1) // 10)  # what has room for one digit more, up to a 5


@inlined
def hash_range(buffer: NDArray[np.uint8], start: int, end: int, seed: Word) -> Word:
    """Return a ``uint64`` hash of ``buffer[start:end]``, the same for the same ``seed``.

    The construction is that of wyhash: each word is folded into what came before.
    """
    mixed = seed ^ np.uint64(0x9E3779B97F4A7C15)
    at = start
    while at + 8 <= end:
        mixed = fold(mixed ^ word_at(buffer, at), np.uint64(0xA0761D6478BD642F))
        at += 8
    rest = word_at(buffer, at) & ((np.uint64(1) << np.uint64(8 * (end - at))) - np.uint64(1))
    length = np.uint64(end - start) * np.uint64(0xE7037ED1A0B428DB)
    return fold(mixed ^ rest ^ length, seed ^ np.uint64(0x8EBC6AF09C88C6E3))


@inlined
def _all_digits(word: Word) -> bool:
    """Say whether eight bytes are ASCII digits: 0x30 to 0x39, also once six is added."""
    upper = np.uint64(0xF0F0F0F0F0F0F0F0)
    threes = np.uint64(0x3030303030303030)
    sixes = np.uint64(0x0606060606060606)
    return bool((word & upper) == threes and ((word + sixes) & upper) == threes)


@inlined
def _number_of(word: Word) -> Word:
    """Return the number that eight digits are, by joining neighbours: to pairs, fours, eight."""
    word = word & np.uint64(0x0F0F0F0F0F0F0F0F)
    word = (word * np.uint64(10) + (word >> np.uint64(8))) & np.uint64(0x00FF00FF00FF00FF)
    word = (word * np.uint64(100) + (word >> np.uint64(16))) & np.uint64(0x0000FFFF0000FFFF)
    return (word * np.uint64(10_000) + (word >> np.uint64(32))) & np.uint64(0xFFFFFFFF)


@inlined
def _has_room(number: Word, digit: Word) -> bool:
    """Say whether a number fits 64 bits with one digit more."""
    return bool(number < _ALMOST_FULL or (number == _ALMOST_FULL and digit <= np.uint64(5)))


@inlined
def scan_digits(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[Word, int, int]:
    """Read decimal digits from ``start`` on.

    Returns:
        The number as ``uint64``, where its digits end, and a status: ``MALFORMED`` if there is
        none or the number needs more than 64 bits.
    """
    number: Word = np.uint64(0)
    at = start
    status = READ
    while at + 8 <= end and at - start < 16:
        word = word_at(buffer, at)
        if not _all_digits(word):
            break
        number = number * np.uint64(100_000_000) + _number_of(word)
        at += 8
    while at < end:
        digit = np.uint64(buffer[at]) - np.uint64(48)
        if digit > np.uint64(9):
            break
        if not _has_room(number, digit):
            status = MALFORMED
        number = number * np.uint64(10) + digit
        at += 1
    if at == start:
        status = MALFORMED
    return number, at, status


@inlined
def scan_float(  # noqa: PLR0912
    buffer: NDArray[np.uint8], start: int, end: int
) -> tuple[float, int, int]:
    """Read a decimal number from ``start`` on: a sign, digits, a point, an exponent.

    Digits must stand on at least one side of the point. What is stricter (JSON) checks its own
    rules first; NaN and infinities are the caller's. What is too large is infinite.

    Returns:
        The number, where it ends, and a status.
    """
    at = start
    negative = False
    if at < end and (buffer[at] == 45 or buffer[at] == 43):
        negative = buffer[at] == 45
        at += 1
    first = at
    number: Word = np.uint64(0)
    while at < end:
        digit = np.uint64(buffer[at]) - np.uint64(48)
        if digit > np.uint64(9):
            break
        number = number * np.uint64(10) + digit
        at += 1
    digits = at - first
    power = 0
    if at < end and buffer[at] == 46:
        at += 1
        point = at
        while at < end:
            digit = np.uint64(buffer[at]) - np.uint64(48)
            if digit > np.uint64(9):
                break
            number = number * np.uint64(10) + digit
            at += 1
        power = point - at
        digits -= power
    if digits == 0:
        return 0.0, at, MALFORMED
    lost = False
    if digits > _MOST_DIGITS:
        number, power, lost = _leading_digits(buffer, first, at)
    if at < end and (buffer[at] == 101 or buffer[at] == 69):
        at += 1
        falling = False
        if at < end and (buffer[at] == 45 or buffer[at] == 43):
            falling = buffer[at] == 45
            at += 1
        shown = at
        exponent = 0
        while at < end and 48 <= buffer[at] <= 57:
            # No text is long enough to make up for an exponent of a hundred million.
            exponent = min(exponent * 10 + signed(buffer[at]) - 48, 100_000_000)
            at += 1
        if at == shown:
            return 0.0, at, MALFORMED
        power += -exponent if falling else exponent
    status = READ
    value = nearest_double(number, power)
    if lost and nearest_double(number + np.uint64(1), power) != value:
        status = INEXACT
    return (-value if negative else value), at, status


@uncounted
def _leading_digits(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[Word, int, bool]:
    """Return the first significant digits of many, as far as they fit 64 bits, the power of ten
    that they are to be multiplied by, and whether any that follow is not zero."""
    number: Word = np.uint64(0)
    significant = 0
    power = 0
    lost = False
    point = False
    for at in range(start, end):
        if buffer[at] == 46:
            point = True
            continue
        digit = np.uint64(buffer[at]) - np.uint64(48)
        if significant < _MOST_DIGITS or (significant == _MOST_DIGITS and _has_room(number, digit)):
            number = number * np.uint64(10) + digit
            significant += number != np.uint64(0)
            power -= point
        else:
            significant = _MOST_DIGITS + 1
            lost = lost or digit != np.uint64(0)
            power += not point
    return number, power, lost


def joined(
    values: Sequence[bytes], separator: bytes = b""
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return all ``values`` in one padded buffer, each followed by ``separator``.

    Returns:
        The buffer; and where each value begins, and where one more would begin.
    """
    if not isinstance(values, Messages):
        values = Messages.of(values, separator)
    elif separator:
        mark = np.frombuffer(separator, np.uint8)
        buffer, bounds = _set_apart(values.buffer, values.bounds, mark)
        buffer.flags.writeable = False  # as the other is: to Numba they are of two types
        return buffer, bounds
    return values.buffer, values.bounds


@compiled
def _set_apart(
    buffer: NDArray[np.uint8], bounds: NDArray[np.int64], separator: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    wide = len(separator)
    moved = bounds + np.arange(len(bounds)) * wide
    apart = np.empty(moved[-1] + PADDING, np.uint8)
    source, target = buffer.ctypes.data, apart.ctypes.data
    for number in range(len(bounds) - 1):
        size = bounds[number + 1] - bounds[number]
        copy(target + moved[number], source + bounds[number], size)
        copy(target + moved[number] + size, separator.ctypes.data, wide)
    apart[moved[-1] :] = 0
    return apart, moved


def exact_floats(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Convert the numbers at the given ranges, one by one: those whose status is ``INEXACT``.

    They need more than 64 bits and lie, by the digits that fit, between two doubles: one in
    hundreds of such, and none that a program wrote.
    """
    ranges = zip(starts.tolist(), ends.tolist(), strict=True)
    return np.array([float(buffer[start:end].tobytes()) for start, end in ranges], np.float64)
