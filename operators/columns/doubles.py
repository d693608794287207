"""The double nearest to a decimal number."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.compiling import (
    Word,
    float_of_bits,
    high_product,
    inlined,
    leading_zeros,
    signed,
    uncounted,
)

__all__ = ["nearest_double"]

_SMALLEST_POWER: Final = -342  # of ten: with 19 digits before it, all below is zero
_LARGEST_POWER: Final = 308


def _powers_of_five() -> NDArray[np.uint64]:
    """Return the upper 128 bits of 5**q for each power q that matters, the high half first.

    As Lemire's paper has them: those of negative powers are reciprocals, and rounded up as long as
    a number of 64 bits can lie halfway between two doubles.
    """
    halves = []
    for q in range(_SMALLEST_POWER, _LARGEST_POWER + 1):
        if q >= 0:
            power = 5**q
            shift = power.bit_length() - 128
            bits = power >> shift if shift > 0 else power << -shift
        else:
            power = 5**-q
            length = power.bit_length()
            bits = (1 << (length + 127 if q >= -27 else 2 * length + 128)) // power + 1
            bits >>= bits.bit_length() - 128
        halves.append((bits >> 64, bits & (2**64 - 1)))
    return np.array(halves, np.uint64)


_EXACT_POWERS = np.array([float(10**q) for q in range(23)])
_FIVES = _powers_of_five()


@uncounted
def _nearest_bits(number: Word, power: int) -> Word:
    """Return the bits of the double nearest to ``number * 10**power``.

    Daniel Lemire, Number Parsing at a Gigabyte per Second, Software: Practice and Experience
    51(8), 2021, algorithm 1; Noble Mushtak and Daniel Lemire, Fast Number Parsing Without
    Fallback, 53(6), 2023, show that two words of 5**q always suffice.
    """
    if number == np.uint64(0) or power < _SMALLEST_POWER:
        return np.uint64(0)
    if power > _LARGEST_POWER:
        return np.uint64(0x7FF0000000000000)
    zeros = leading_zeros(number)
    number = number << zeros
    five = _FIVES[power - _SMALLEST_POWER]
    high, low = high_product(number, five[0]), number * five[0]
    if high & np.uint64(0x1FF) == np.uint64(0x1FF):
        further = high_product(number, five[1])
        low = low + further
        if low < further:
            high += np.uint64(1)
    upper = high >> np.uint64(63)
    mantissa = high >> (upper + np.uint64(9))
    exponent = ((217706 * power) >> 16) + 63 + 1023 + signed(upper) - signed(zeros)
    if exponent <= 0:
        if exponent <= -63:
            return np.uint64(0)
        mantissa = mantissa >> np.uint64(1 - exponent)
        # A subnormal that rounds up to 2**52 is by its bits the smallest normal one.
        return (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if (
        low <= np.uint64(1)
        and -4 <= power <= 23
        and mantissa & np.uint64(3) == np.uint64(1)
        and mantissa << (upper + np.uint64(9)) == high
    ):
        mantissa ^= np.uint64(1)  # halfway between two: to the even one
    mantissa = (mantissa + (mantissa & np.uint64(1))) >> np.uint64(1)
    if mantissa >= np.uint64(1 << 53):
        mantissa = np.uint64(1 << 52)
        exponent += 1
    if exponent >= 0x7FF:
        return np.uint64(0x7FF0000000000000)
    return (np.uint64(exponent) << np.uint64(52)) | (mantissa & np.uint64((1 << 52) - 1))


@inlined
def nearest_double(number: Word, power: int) -> float:
    """Return the double nearest to ``number * 10**power``, infinity if that is too large."""
    if number <= np.uint64(2**53) and -22 <= power <= 22:
        # Both are exact doubles, so one operation rounds rightly.
        exact = float(signed(number))
        value: float = exact / _EXACT_POWERS[-power] if power < 0 else exact * _EXACT_POWERS[power]
    else:
        value = float_of_bits(_nearest_bits(number, power))
    return value
