"""Digests: a summary at stated times, instead of a notification for each piece of news.

Along a route with a ``Digest``, a group is told at the stated times and at no others: all that
fires then, and all that has been over since the summary before, even if that came and went between
the two. With nothing to tell, nothing is sent. A summary that can't be delivered is tried again
every ``group_interval`` until the next. A digest that tells what was ``held_back`` has it among the
rest, and says why in an annotation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

from operators.notifying.alert import Alert
from operators.notifying.dedup import Reason

__all__ = ["ANNOTATION", "Digest", "as_held_back"]

ANNOTATION = "held_back"
"""Where an alert of a digest says why it was told nobody else."""
_DAYS = ("Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat")
_WEEK = 8
"""Days to look forward and back: one more than a week, since days have no fixed length."""


@dataclass(frozen=True, slots=True)
class Digest:
    """When a summary is due.

    A time that the clock skips in spring is an hour later then; of one that it repeats in autumn,
    the first counts.

    Args:
        minutes: of the day.
        weekdays: 0 is Sunday; none is every day.
        location: whose clock it is.
        held_back: whether it tells what is held back.
    """

    minutes: tuple[int, ...]
    weekdays: frozenset[int] = frozenset()
    location: tzinfo = UTC
    held_back: bool = False

    def __str__(self) -> str:
        """Say the times, for people.

        >>> str(Digest((480, 960), frozenset({1, 2})))
        '08:00, 16:00 UTC of Mon, Tue'
        """
        times = ", ".join(f"{minute // 60:02}:{minute % 60:02}" for minute in self.minutes)
        days = ", ".join(_DAYS[day] for day in sorted(self.weekdays))
        return f"{times} {self.location}" + (f" of {days}" if days else "")

    def following(self, now: int) -> int:
        """Return the first stated time after ``now``, both in nanoseconds since the Unix epoch."""
        return min(time for time in self._around(now) if time > now)

    def latest(self, now: int) -> int:
        """Return the last stated time that is not after ``now``."""
        return max(time for time in self._around(now) if time <= now)

    def longest_wait(self, now: int) -> int:
        """Return the longest time (ns) between two stated times, in the weeks around ``now``.

        >>> Digest((480, 960)).longest_wait(0) // 3_600_000_000_000
        16
        """
        times = sorted(set(self._around(now)))
        return max(after - before for before, after in pairwise(times))

    def _around(self, now: int) -> Iterator[int]:
        today = datetime.fromtimestamp(now // 1_000_000_000, self.location).date()
        for offset in range(-_WEEK, _WEEK + 1):
            day = today + timedelta(days=offset)
            if self.weekdays and day.isoweekday() % 7 not in self.weekdays:
                continue
            for minute in self.minutes:
                hour, rest = divmod(minute, 60)
                then = datetime(day.year, day.month, day.day, hour, rest, tzinfo=self.location)
                yield round(then.timestamp()) * 1_000_000_000


def as_held_back(alert: Alert, reason: Reason) -> Alert:
    """Return an alert that says why it is held back; the first reason is the one that decided."""
    if ANNOTATION in alert.annotations:
        return alert
    return replace(alert, annotations={**alert.annotations, ANNOTATION: reason.value})
