"""Values of fields in InfluxDB line protocol that are no strings, as numbers."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import (
    INEXACT,
    READ,
    Word,
    inlined,
    scan_digits,
    scan_float,
    word_at,
)

__all__ = ["scan_value"]

_PLUS, _MINUS, _POINT = 43, 45, 46
_SMALL_I, _SMALL_U = 105, 117


def _letters(text: bytes) -> Word:
    """Return a text of up to eight bytes as ``word_at`` reads it, with zeros after it."""
    return np.uint64(int.from_bytes(text, "little"))


_TRUTHS = tuple(map(_letters, (b"t", b"T", b"true", b"True", b"TRUE")))
_FALSEHOODS = tuple(map(_letters, (b"f", b"F", b"false", b"False", b"FALSE")))
_NOT_FINITE = tuple(map(_letters, (b"nan", b"inf", b"infinity")))  # in whatever case


@inlined
def _scan_letters(buffer: NDArray[np.uint8], start: int) -> tuple[Word, int]:
    """Return the letters from ``start`` on as ``_letters`` does, 0 for many, and where they end."""
    at = start
    while 97 <= buffer[at] | 32 <= 122:
        at += 1
    if at - start == 8:
        return word_at(buffer, start), at
    if at - start > 8:
        return np.uint64(0), at
    return word_at(buffer, start) & (
        (np.uint64(1) << np.uint64(8 * (at - start))) - np.uint64(1)
    ), at


@inlined
def _scan_integer(
    buffer: NDArray[np.uint8], start: int, end: int, negative: bool
) -> tuple[float, int, int]:
    """Read a magnitude of 63 bits and an i, or one of 64 bits and a u, as ``scan_value`` does."""
    whole, stop, status = scan_digits(buffer, start, end)
    good = status == READ
    if buffer[stop] == _SMALL_I:
        # The magnitude of the least number is one more than that of the greatest.
        good = good and whole <= np.uint64(2**63) and (negative or whole < np.uint64(2**63))
    else:
        good = good and buffer[stop] == _SMALL_U and not negative
    number = float(whole)
    return (-number if negative else number), stop + 1, (READ if good else -1)


@inlined
def scan_value(  # noqa: PLR0911
    buffer: NDArray[np.uint8], start: int, end: int
) -> tuple[float, int, int]:
    """Read a field value that is no string.

    Returns:
        The number, NaN for what is not finite; where the value ends; ``READ`` or ``INEXACT``,
        or -1 if it is no value.
    """
    at = start
    negative = buffer[at] == _MINUS
    if negative or buffer[at] == _PLUS:
        at += 1
    if 48 <= buffer[at] <= 57 or buffer[at] == _POINT:
        if at > start and not negative:
            return 0.0, at, -1
        number, stop, status = scan_float(buffer, start, end)
        if buffer[stop] == _SMALL_I or buffer[stop] == _SMALL_U:
            return _scan_integer(buffer, at, end, negative)
        if status == READ and not np.isfinite(number):
            number = np.nan
        return number, stop, (status if status in (READ, INEXACT) else -1)
    letters, stop = _scan_letters(buffer, at)
    if letters != np.uint64(0):
        if at == start and letters in _TRUTHS:
            return 1.0, stop, READ
        if at == start and letters in _FALSEHOODS:
            return 0.0, stop, READ
        # The bit that is set makes small letters of capitals; zeros stay apart from letters.
        small = letters | np.uint64(0x2020202020202020)
        for text in _NOT_FINITE:
            if small == text | np.uint64(0x2020202020202020):
                return np.nan, stop, READ
    return 0.0, stop, -1
