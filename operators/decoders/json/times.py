"""Times in text, as producers of JSON write them: RFC 3339, and numbers since the Unix epoch."""

# ruff: noqa: PLR0911 -- each fault of a date ends its scan

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from operators.columns.scanning import MALFORMED, READ, scan_float, uncounted

__all__ = ["scan_epoch", "scan_rfc3339", "scan_seconds"]

_NANOSECONDS: Final = 1_000_000_000
_DAY: Final = 86_400
# What int64 holds, in whole seconds: from 1677 to 2262.
_MOST_SECONDS: Final = (2**63 - 1) // _NANOSECONDS - 1
_MONTHS = np.array([31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31], np.int64)
_SECONDS_DIGITS: Final = 10
_POWERS = 10 ** np.arange(19, dtype=np.int64)


@uncounted
def _number(buffer: NDArray[np.uint8], at: int, digits: int) -> int:
    """Return the number that so many digits are, one below all others if they are none."""
    number = 0
    for each in range(at, at + digits):
        digit = int(buffer[each]) - 48
        if digit < 0 or digit > 9:
            return -1
        number = number * 10 + digit
    return number


@uncounted
def _fraction(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Return the nanoseconds of the digits behind a point, finer ones cut off, and their end."""
    number, scale = 0, _NANOSECONDS // 10
    while at < end and 48 <= buffer[at] <= 57:
        number += (int(buffer[at]) - 48) * scale
        scale //= 10
        at += 1
    return number, at


@uncounted
def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01 in the proleptic Gregorian calendar.

    Howard Hinnant, chrono-Compatible Low-Level Date Algorithms, ``days_from_civil``.
    """
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month + (-3 if month > 2 else 9)) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@uncounted
def scan_rfc3339(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Read ``2026-01-31T12:00:00.123456789Z``, or with an offset instead of the Z.

    Returns:
        Nanoseconds since the epoch, digits beyond them cut off; ``READ`` or ``MALFORMED``, which
        also what int64 can't hold is (before 1678, after 2261).
    """
    if end - start < 20:
        return 0, MALFORMED
    year, month, day = (
        _number(buffer, start, 4),
        _number(buffer, start + 5, 2),
        _number(buffer, start + 8, 2),
    )
    hour, minute, second = (
        _number(buffer, start + 11, 2),
        _number(buffer, start + 14, 2),
        _number(buffer, start + 17, 2),
    )
    if (
        buffer[start + 4] != 45
        or buffer[start + 7] != 45
        or (buffer[start + 10] | 32 != 116 and buffer[start + 10] != 32)
        or buffer[start + 13] != 58
        or buffer[start + 16] != 58
    ):
        return 0, MALFORMED
    if year < 0 or month < 1 or month > 12 or day < 1 or hour < 0 or minute < 0 or second < 0:
        return 0, MALFORMED
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    # A leap second is the second 60 of a minute.
    if day > _MONTHS[month - 1] + (month == 2 and leap) or hour > 23 or minute > 59 or second > 60:
        return 0, MALFORMED
    at = start + 19
    fraction = 0
    if buffer[at] == 46:
        first = at + 1
        fraction, at = _fraction(buffer, first, end)
        if at == first:
            return 0, MALFORMED
    offset = 0
    if at < end and buffer[at] | 32 == 122:
        at += 1
    elif at + 6 == end and (buffer[at] == 43 or buffer[at] == 45) and buffer[at + 3] == 58:
        hours, minutes = _number(buffer, at + 1, 2), _number(buffer, at + 4, 2)
        if hours < 0 or hours > 23 or minutes < 0 or minutes > 59:
            return 0, MALFORMED
        offset = (hours * 60 + minutes) * (60 if buffer[at] == 43 else -60)
        at = end
    else:
        return 0, MALFORMED
    if at != end:
        return 0, MALFORMED
    seconds = _days(year, month, day) * _DAY + hour * 3600 + minute * 60 + second - offset
    if abs(seconds) > _MOST_SECONDS:
        return 0, MALFORMED
    return seconds * _NANOSECONDS + fraction, READ


@uncounted
def _whole(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int, int]:
    """Read digits that int64 can hold: the number, where they end, how many count."""
    number, at, digits = 0, start, 0
    while at < end and 48 <= buffer[at] <= 57:
        if digits < 18:
            number = number * 10 + int(buffer[at]) - 48
            digits += number > 0
        else:
            # A nineteenth digit is only read where it is sure to fit.
            digits += 1
            digit = int(buffer[at]) - 48
            if digits == 19 and number <= ((1 << 63) - 1 - digit) // 10:
                number = number * 10 + digit
            else:
                digits = 20
        at += 1
    return number, at, digits


@uncounted
def scan_seconds(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Read seconds since the epoch, a number of JSON's, to the nanosecond.

    Returns:
        Nanoseconds, and ``READ`` or ``MALFORMED``.
    """
    negative = buffer[start] == 45
    seconds, at, digits = _whole(buffer, start + negative, end)
    fraction = 0
    if at < end and buffer[at] == 46:
        fraction, at = _fraction(buffer, at + 1, end)
    if at != end:  # an exponent: a double has to do
        number, _, status = scan_float(buffer, start, end)
        if status == MALFORMED or not abs(number) <= _MOST_SECONDS:
            return 0, MALFORMED
        return int(np.rint(number * _NANOSECONDS)), READ
    if digits > 18 or seconds > _MOST_SECONDS:
        return 0, MALFORMED
    nanoseconds = seconds * _NANOSECONDS + fraction
    return (-nanoseconds if negative else nanoseconds), READ


@uncounted
def scan_epoch(buffer: NDArray[np.uint8], start: int, end: int) -> tuple[int, int]:
    """Read a time since the epoch in a unit that its length tells: ten digits are seconds.

    Every further digit makes the unit ten times finer: 13 are milliseconds, 19 nanoseconds. That
    is right from September 2001 to 2286. Fewer than ten digits are seconds too, and so is what
    has a fraction or an exponent.

    Returns:
        Nanoseconds, and ``READ`` or ``MALFORMED``.
    """
    negative = buffer[start] == 45
    number, at, digits = _whole(buffer, start + negative, end)
    if at != end:
        return scan_seconds(buffer, start, end)
    if digits > 19:
        return 0, MALFORMED
    finer = max(digits - _SECONDS_DIGITS, 0)
    if number > (2**63 - 1) // _POWERS[9 - finer]:
        return 0, MALFORMED
    nanoseconds = number * _POWERS[9 - finer]
    return (-nanoseconds if negative else nanoseconds), READ
