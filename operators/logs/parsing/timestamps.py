"""Times as people and programs write them, read by a compiled scanner.

===================================  ==============================================================
``2026-01-31T10:00:00.123456789Z``   and with ``/`` for ``-``, a blank or ``_`` for ``T``, a comma before
                                     the fraction, any offset or none, no seconds
``31/Jan/2026:10:00:00 +0100``       of web servers
``Jan 31 10:00:00``                  of syslog: no year; with one before or behind it; a weekday
``10:00:00.123``                     no date
``1700000000``                       seconds, milliseconds, microseconds or nanoseconds by their size,
                                     with a fraction or without
===================================  ==============================================================

What is missing is completed by ``complete``: the year that is nearest to when the record came, and the
zone of the input.
"""

# ruff: noqa: PLR0911, PLR0912, PLR0915, PLR1714, SIM102 -- a scanner is a list of cases

from __future__ import annotations

from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled, inlined, signed, uncounted, word_at

__all__ = ["NONE", "WrittenTimes", "complete", "is_zone", "scan_time", "times_of"]

NONE: Final = 0
_EXACT: Final = 1
_LOCAL: Final = 2  # no zone was written
_NO_YEAR: Final = 3  # nor a year: it is counted as 1972, a leap year
_NO_DATE: Final = 4

_SECOND: Final = 1_000_000_000
_DAY: Final = 86_400 * _SECOND
_WITHOUT_YEAR: Final = 1972
_LAST_SECOND: Final = 9_223_372_036

_MONTHS: Final = np.array(
    [int.from_bytes(name.encode(), "little") for name in
     ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")]
)  # fmt: skip
_WEEKDAYS: Final = np.array(
    [int.from_bytes(name.encode(), "little") for name in
     ("mon", "tue", "wed", "thu", "fri", "sat", "sun")]
)  # fmt: skip


class WrittenTimes(NamedTuple):
    """Times, as far as they were written: nanoseconds, and what is missing in each."""

    ts: NDArray[np.int64]
    lacks: NDArray[np.uint8]


@inlined
def _digits(buffer: NDArray[np.uint8], at: int, end: int, count: int) -> int:
    """Return a number of exactly ``count`` digits, -1 if there are others or more."""
    if at + count > end:
        return -1
    number = 0
    for place in range(at, at + count):
        digit = signed(buffer[place]) - 48
        if digit < 0 or digit > 9:
            return -1
        number = number * 10 + digit
    if at + count < end and 48 <= buffer[at + count] <= 57:
        return -1
    return number


@inlined
def _run(buffer: NDArray[np.uint8], at: int, end: int) -> int:
    """Return the number of digits from ``at`` on."""
    first = at
    while at < end and 48 <= buffer[at] <= 57:
        at += 1
    return at - first


@inlined
def _days(year: int, month: int, day: int) -> int:
    """Return the days since 1970-01-01, of the Gregorian calendar (Howard Hinnant, chrono dates)."""
    year -= month <= 2
    era = year // 400
    of_era = year - era * 400
    of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + of_era * 365 + of_era // 4 - of_era // 100 + of_year - 719_468


@inlined
def _last_day(year: int, month: int) -> int:
    if month == 2:
        return 29 if year % 4 == 0 and (year % 100 != 0 or year % 400 == 0) else 28
    return 30 if month == 4 or month == 6 or month == 9 or month == 11 else 31


@inlined
def _name(buffer: NDArray[np.uint8], at: int, end: int, names: NDArray[np.int64]) -> int:
    """Return which of the names of three letters begins at ``at``, from 1 on, 0 if it is none."""
    if at + 3 > end:
        return 0
    word = signed(word_at(buffer, at) & np.uint64(0xFFFFFF)) | 0x202020
    for number in range(len(names)):
        if names[number] == word:
            return number + 1
    return 0


@uncounted
def _clock(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Read ``10:00[:00[.123]]``: nanoseconds of the day, and where it ends, -1 if it is none."""
    hour = _digits(buffer, at, end, 2)
    if hour < 0 or hour > 23 or at + 5 > end or buffer[at + 2] != 58:
        return 0, -1
    minute = _digits(buffer, at + 3, end, 2)
    if minute < 0 or minute > 59:
        return 0, -1
    ns = (hour * 60 + minute) * 60 * _SECOND
    at += 5
    if at < end and buffer[at] == 58:
        second = _digits(buffer, at + 1, end, 2)
        if second < 0 or second > 60:
            return 0, -1
        ns += min(second, 59) * _SECOND  # a leap second is the second before it
        at += 3
        if at + 1 < end and (buffer[at] == 46 or buffer[at] == 44) and 48 <= buffer[at + 1] <= 57:
            at += 1
            unit = _SECOND
            while at < end and 48 <= buffer[at] <= 57:
                unit //= 10
                ns += (signed(buffer[at]) - 48) * unit
                at += 1
    return ns, at


@uncounted
def _zone(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int]:
    """Read ``Z``, ``UTC``, ``+0100``, ``+01:00`` or ``+01``, perhaps behind a blank.

    Returns:
        The offset in nanoseconds, and where it ends; the same position if there is none.
    """
    place = at
    if place < end and buffer[place] == 32:
        place += 1
    if place >= end:
        return 0, at
    byte = buffer[place]
    if byte == 90 or byte == 122:
        if place + 1 < end and (buffer[place + 1] | 32) >= 97 and (buffer[place + 1] | 32) <= 122:
            return 0, at
        return 0, place + 1
    word = word_at(buffer, place) & np.uint64(0xFFFFFF)
    if place + 3 <= end and (word == np.uint64(0x435455) or word == np.uint64(0x544D47)):
        return 0, place + 3
    if byte != 43 and byte != 45:
        return 0, at
    size = _run(buffer, place + 1, end)
    hours, minutes = 0, 0
    after = place + 1 + size
    if size == 4:
        hours = _digits(buffer, place + 1, place + 3, 2)
        minutes = _digits(buffer, place + 3, place + 5, 2)
    elif size == 2:
        hours = _digits(buffer, place + 1, place + 3, 2)
        if after < end and buffer[after] == 58:
            minutes = _digits(buffer, after + 1, end, 2)
            after += 3
    else:
        return 0, at
    if hours < 0 or hours > 15 or minutes < 0 or minutes > 59:
        return 0, at
    offset = (hours * 60 + minutes) * 60 * _SECOND
    return (offset if byte == 43 else -offset), after


@inlined
def _instant(year: int, month: int, day: int, clock: int) -> int:
    """Return nanoseconds, the smallest number if there is no such day, or they do not fit."""
    if month < 1 or month > 12 or day < 1 or day > _last_day(year, month):
        return np.iinfo(np.int64).min
    if year < 1678 or year > 2261:
        return np.iinfo(np.int64).min
    return _days(year, month, day) * _DAY + clock


@uncounted
def _epoch(buffer: NDArray[np.uint8], at: int, end: int) -> tuple[int, int, int]:
    """Read a number of seconds, or of what parts of it the size tells of."""
    size = _run(buffer, at, end)
    number = 0
    if size < 1 or size > 19:
        return 0, NONE, at
    for place in range(at, at + size):
        number = number * 10 + signed(buffer[place]) - 48
    if number < 0:
        return 0, NONE, at
    unit = _SECOND
    if number >= 100_000_000_000_000_000:
        unit = 1
    elif number >= 100_000_000_000_000:
        unit = 1_000
    elif number >= 100_000_000_000:
        unit = 1_000_000
    if unit == _SECOND and number > _LAST_SECOND:
        return 0, NONE, at
    ns = number * unit
    at += size
    if at + 1 < end and (buffer[at] == 46 or buffer[at] == 44) and 48 <= buffer[at + 1] <= 57:
        at += 1
        while at < end and 48 <= buffer[at] <= 57:
            unit //= 10
            ns += (signed(buffer[at]) - 48) * unit
            at += 1
    if at + 1 < end and (buffer[at] | 32) == 101:  # 1.7e9, as some write doubles
        at += 1
        if buffer[at] == 43:
            at += 1
        power = 0
        while at < end and 48 <= buffer[at] <= 57:
            power = min(power * 10 + signed(buffer[at]) - 48, 30)
            at += 1
        for _ in range(power):
            if abs(ns) > np.iinfo(np.int64).max // 10:
                return 0, NONE, at
            ns *= 10
    return ns, _EXACT, at


@uncounted
def scan_time(buffer: NDArray[np.uint8], at: int, end: int, numbers: bool) -> tuple[int, int, int]:
    """Read the time that begins at ``at``.

    Args:
        buffer: the bytes, and ``PADDING``.
        at: where it begins.
        end: where the text ends; it need not end with the time.
        numbers: a number alone is a time, too.

    Returns:
        Nanoseconds; what is missing, ``NONE`` if it is no time; and where it ends.
    """
    begin = at
    none = np.iinfo(np.int64).min
    if at < end and _name(buffer, at, end, _WEEKDAYS) > 0:
        at += 3
        while at < end and (buffer[at] == 32 or buffer[at] == 44):
            at += 1
    month = _name(buffer, at, end, _MONTHS)
    if month > 0 and at + 3 < end and buffer[at + 3] == 32:
        # Jan [ ]2 [2026 ]10:00:00 [zone] [2026]
        at += 4
        if at < end and buffer[at] == 32:
            at += 1
        size = _run(buffer, at, end)
        if size < 1 or size > 2:
            return 0, NONE, begin
        day = _digits(buffer, at, end, size)
        at += size
        if at < end and buffer[at] == 44:
            at += 1
        if at >= end or buffer[at] != 32:
            return 0, NONE, begin
        at += 1
        year = -1
        if _run(buffer, at, end) == 4:
            year = _digits(buffer, at, end, 4)
            at += 5
        clock, at = _clock(buffer, at, end)
        if at < 0:
            return 0, NONE, begin
        offset, after = _zone(buffer, at, end)
        if year < 0 and after + 4 < end + 1 and after < end and buffer[after] == 32:
            if _run(buffer, after + 1, end) == 4:
                year = _digits(buffer, after + 1, end, 4)
                zone_end = after
                after = after + 5
                ns = _instant(year, month, day, clock)
                if ns == none:
                    return 0, NONE, begin
                return ns - offset, (_EXACT if zone_end > at else _LOCAL), after
        if year >= 0:
            ns = _instant(year, month, day, clock)
            if ns == none:
                return 0, NONE, begin
            return ns - offset, (_EXACT if after > at else _LOCAL), after
        ns = _instant(_WITHOUT_YEAR, month, day, clock)
        if ns == none:
            return 0, NONE, begin
        return ns, _NO_YEAR, at
    size = _run(buffer, at, end)
    if size == 4 and at + 10 <= end and (buffer[at + 4] == 45 or buffer[at + 4] == 47):
        mark = buffer[at + 4]
        year, number = _digits(buffer, at, end, 4), _digits(buffer, at + 5, end, 2)
        day = _digits(buffer, at + 8, end, 2)
        if buffer[at + 7] != mark or number < 0 or day < 0:
            return 0, NONE, begin
        at += 10
        clock = 0
        if at < end and (
            buffer[at] == 84 or buffer[at] == 116 or buffer[at] == 32 or buffer[at] == 95
        ):
            clock, after = _clock(buffer, at + 1, end)
            if after < 0:
                return 0, NONE, begin
            at = after
        elif not numbers:
            return 0, NONE, begin
        ns = _instant(year, number, day, clock)
        if ns == none:
            return 0, NONE, begin
        offset, after = _zone(buffer, at, end)
        return ns - offset, (_EXACT if after > at else _LOCAL), after
    if size == 2 and at + 11 < end and (buffer[at + 2] == 47 or buffer[at + 2] == 32):
        # 31/Jan/2026:10:00:00 +0100, and RFC 1123 behind its weekday
        number = _name(buffer, at + 3, end, _MONTHS)
        if number > 0:
            year = _digits(buffer, at + 7, end, 4)
            clock, after = _clock(buffer, at + 12, end)
            if year < 0 or after < 0:
                return 0, NONE, begin
            ns = _instant(year, number, _digits(buffer, at, end, 2), clock)
            if ns == none:
                return 0, NONE, begin
            offset, last = _zone(buffer, after, end)
            return ns - offset, (_EXACT if last > after else _LOCAL), last
    if size == 2 and at + 2 < end and buffer[at + 2] == 58:
        clock, after = _clock(buffer, at, end)
        if after < 0 or after - at < 8:
            return 0, NONE, begin
        return clock, _NO_DATE, after
    if numbers and size > 0:
        ns, lacks, after = _epoch(buffer, at, end)
        if lacks != NONE and after == end:
            return ns, lacks, after
    return 0, NONE, begin


@compiled
def _read(
    buffer: NDArray[np.uint8],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
    ts: NDArray[np.int64],
    lacks: NDArray[np.uint8],
) -> None:
    for row in range(len(starts)):
        start, end = starts[row], ends[row]
        while start < end and (buffer[start] <= 32 or buffer[start] == 91):
            start += 1
        while end > start and (buffer[end - 1] <= 32 or buffer[end - 1] == 93):
            end -= 1
        ts[row], lack, after = scan_time(buffer, start, end, True)
        lacks[row] = lack if after == end else NONE


def times_of(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> WrittenTimes:
    """Read texts that are a time each and nothing else, brackets around them aside."""
    ts, lacks = np.zeros(len(starts), np.int64), np.zeros(len(starts), np.uint8)
    _read(buffer, starts, ends, ts, lacks)
    return WrittenTimes(ts, lacks)


def complete(times: WrittenTimes, came: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    """Return times as nanoseconds since the epoch.

    Args:
        times: what was read.
        came: when each record came, nanoseconds: a missing year or date is the one that brings
            the time nearest to that.
        zone: of times without one, an IANA name.

    Returns:
        One a row; 0 where there was none, or the local time does not exist (the clock was put
        forward over it). Of a local time that was there twice it is the first.
    """
    result: NDArray[np.int64] = times.ts.copy()
    result[times.lacks == NONE] = 0
    local = times.lacks >= _LOCAL
    if not local.any():
        return result
    rows = np.flatnonzero(local)
    plain = zone.upper() in ("UTC", "ETC/UTC", "GMT", "Z")
    guesses = [times.ts[rows]]
    lacks, arrived = times.lacks[rows], came[rows]
    if (lacks > _LOCAL).any():
        here = arrived if plain else _local(arrived, zone)
        year = here.astype("datetime64[ns]").astype("datetime64[Y]").astype(np.int64) + 1970
        midnight = here // _DAY * _DAY
        guesses = [
            np.where(
                lacks == _NO_YEAR,
                _in_year(times.ts[rows], year + step),
                np.where(
                    lacks == _NO_DATE, times.ts[rows] + midnight + step * _DAY, times.ts[rows]
                ),
            )
            for step in (-1, 0, 1)
        ]
    instants = [guess if plain else _instants(guess, zone) for guess in guesses]
    best = instants[0]
    for other in instants[1:]:
        nearer = (np.abs(other - arrived) < np.abs(best - arrived)) | (best == 0)
        best = np.where(nearer & (other != 0), other, best)
    result[rows] = best
    return result


def _in_year(ts: NDArray[np.int64], year: NDArray[np.int64]) -> NDArray[np.int64]:
    """Move times of the year 1972 to another; of 29 February there it is 0 where there is none."""
    moments = ts.astype("datetime64[ns]")
    months = moments.astype("datetime64[M]")
    month = months.astype(np.int64) % 12
    within = (moments - months.astype("datetime64[ns]")).astype(np.int64)
    begin = ((year - 1970) * 12 + month).astype("datetime64[M]")
    moved = begin.astype("datetime64[ns]").astype(np.int64) + within
    same = moved.astype("datetime64[ns]").astype("datetime64[M]") == begin
    return np.where(same, moved, 0)


def _local(instants: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    moments = pl.Series(instants).cast(pl.Datetime("ns", "UTC")).dt.convert_time_zone(zone)
    return moments.dt.replace_time_zone(None).cast(pl.Int64).to_numpy()


def _instants(local: NDArray[np.int64], zone: str) -> NDArray[np.int64]:
    moments = pl.Series(local).cast(pl.Datetime("ns"))
    placed = moments.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null")
    return placed.cast(pl.Int64).fill_null(0).to_numpy()


def is_zone(name: str) -> bool:
    """Return whether there is a time zone of that name."""
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return False
    return True
