"""Named times of the day, week, month and year, in which a route is mute or active.

The rules are Alertmanager's: all fields that are given have to hold; the end of a time is not part
of it, the ends of all other ranges are; days of the month below zero count from its end; without a
location times are UTC.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo

__all__ = ["Range", "TimeInterval", "any_contains"]

Range = tuple[int, int]
"""The first and the last."""


@dataclass(frozen=True, slots=True)
class TimeInterval:
    """Some time; an empty field does not restrict it.

    Args:
        times: minutes of the day, the last one excluded.
        weekdays: 0 is Sunday.
        days_of_month: from 1, or from -1 backwards from the end.
        months: from 1.
        years: as they are written.
        location: whose clock it is.
    """

    times: tuple[Range, ...] = ()
    weekdays: tuple[Range, ...] = ()
    days_of_month: tuple[Range, ...] = ()
    months: tuple[Range, ...] = ()
    years: tuple[Range, ...] = ()
    location: tzinfo = UTC

    def contains(self, now: int) -> bool:
        """Whether an instant, in nanoseconds since the Unix epoch, is in it."""
        then = datetime.fromtimestamp(now // 1_000_000_000, self.location)
        minute = then.hour * 60 + then.minute
        if self.times and not any(first <= minute < end for first, end in self.times):
            return False
        if self.days_of_month and not self._contains_day(then):
            return False
        weekday = then.isoweekday() % 7
        return all(
            not ranges or any(first <= value <= last for first, last in ranges)
            for ranges, value in (
                (self.months, then.month),
                (self.weekdays, weekday),
                (self.years, then.year),
            )
        )

    def _contains_day(self, then: datetime) -> bool:
        length = calendar.monthrange(then.year, then.month)[1]
        for first, last in self.days_of_month:
            begin = length + first + 1 if first < 0 else first
            end = length + last + 1 if last < 0 else last
            if begin <= length and begin <= then.day <= min(end, length):
                return True
        return False


def any_contains(intervals: Iterable[TimeInterval], now: int) -> bool:
    """Whether an instant is in any of them."""
    return any(interval.contains(now) for interval in intervals)
