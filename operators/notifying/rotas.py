"""Who is on call: receivers that take turns, or the shifts of a calendar."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from operators.notifying.calendars import Calendar, Shift, written_calendar

__all__ = ["CalendarRota", "Rota", "Schedule", "as_calendar"]


class Schedule(Protocol):
    """Says who is on call."""

    def on_call(self, now: int) -> Collection[str]:
        """Return the receivers that are on call, at least one."""
        ...

    def shifts(self, begin: int, end: int) -> list[Shift]:
        """Return the shifts of which some part is in this time, in their order."""
        ...


@dataclass(frozen=True, slots=True)
class Rota:
    """Receivers that take turns of ``every`` nanoseconds, the first from ``starts`` on."""

    receivers: Sequence[str]
    starts: int
    every: int

    def on_call(self, now: int) -> Collection[str]:
        """Return whose turn it is; before the first turn it is that of the first.

        >>> Rota(["ann", "ben"], starts=100, every=10).on_call(115)
        ('ben',)
        """
        if now < self.starts:
            return (self.receivers[0],)
        return (self.receivers[(now - self.starts) // self.every % len(self.receivers)],)

    def shifts(self, begin: int, end: int) -> list[Shift]:
        """Return the turns of which some part is in this time.

        >>> [shift.receiver for shift in Rota(["ann", "ben"], 100, 10).shifts(105, 125)]
        ['ann', 'ben', 'ann']
        """
        first = max(0, (begin - self.starts) // self.every)
        found = []
        number, many = first, len(self.receivers)
        while (starts := self.starts + number * self.every) < end:
            found.append(Shift(self.receivers[number % many], starts, starts + self.every))
            number += 1
        return [shift for shift in found if shift.ends > begin]


class CalendarRota:
    """The shifts of a calendar. While nobody has one, or there is no calendar, it is the first's.

    Args:
        receivers: that may be on call.
    """

    def __init__(self, receivers: Sequence[str]) -> None:
        self._first = receivers[0]
        self._calendar: Calendar | None = None
        self._hour: tuple[Calendar | None, int, list[Shift]] = (None, -1, [])

    def put(self, calendar: Calendar) -> None:
        """Go by another calendar from now on. May be called by another thread."""
        self._calendar = calendar

    def on_call(self, now: int) -> Collection[str]:
        """Return whose shift it is: of several at once, all."""
        calendar = self._calendar
        if calendar is None:
            return (self._first,)
        hour = now // _HOUR
        if self._hour[:2] != (calendar, hour):
            self._hour = calendar, hour, calendar.shifts(hour * _HOUR, (hour + 1) * _HOUR)
        found = {shift.receiver for shift in self._hour[2] if shift.starts <= now < shift.ends}
        return found or (self._first,)

    def shifts(self, begin: int, end: int) -> list[Shift]:
        """Return the shifts of which some part is in this time."""
        return [] if self._calendar is None else self._calendar.shifts(begin, end)


_HOUR = 3_600_000_000_000


def as_calendar(name: str, shifts: Iterable[Shift], now: int) -> bytes:
    """Return shifts as an iCalendar, for calendar programs to subscribe to."""
    return written_calendar(name, shifts, datetime.fromtimestamp(now // 1_000_000_000, UTC))
