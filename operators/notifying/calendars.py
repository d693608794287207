"""Shifts from an iCalendar (RFC 5545), as calendar programs keep and publish it, and back.

An event is a shift of the receiver that its summary names, or an attendee of it. Events may recur
(RRULE, RDATE, EXDATE) and single times of one may be changed (RECURRENCE-ID) or cancelled. A
recurring shift keeps its times of the day when clocks change: from nine to nine stays that.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any, Final, NamedTuple

__all__ = ["Calendar", "Shift", "read_calendar", "written_calendar"]

_TOO_OFTEN: Final = frozenset({"SECONDLY", "MINUTELY"})
_SECOND: Final = 1_000_000_000


class Shift(NamedTuple):
    """Somebody is on call, in nanoseconds since the Unix epoch; the end is not part of it."""

    receiver: str
    starts: int
    ends: int


@dataclass(slots=True)
class _Event:
    """Times at which a receiver is on call, each as long as ``lasts`` by the clock on the wall."""

    receiver: str
    starts: datetime
    lasts: timedelta
    rule: Any = None
    more: list[datetime] = field(default_factory=list)
    without: set[datetime] = field(default_factory=set)

    def shifts(self, begin: datetime, end: datetime) -> Iterator[Shift]:
        """Yield the shifts of which some part is in this time."""
        since = begin - self.lasts - timedelta(days=1)
        times = [self.starts] if self.rule is None else self.rule.between(since, end, inc=True)
        for starts in (*times, *self.more):
            ends = starts + self.lasts
            if starts < end and ends > begin and starts.astimezone(UTC) not in self.without:
                yield Shift(self.receiver, _nanoseconds(starts), _nanoseconds(ends))


class Calendar:
    """The shifts of a calendar. ``unknown`` are names in it that are no receiver's."""

    def __init__(self, events: Iterable[_Event], unknown: Iterable[str] = ()) -> None:
        self._events = list(events)
        self.unknown = sorted(set(unknown))

    def __len__(self) -> int:
        return len(self._events)

    def shifts(self, begin: int, end: int) -> list[Shift]:
        """Return the shifts of which some part is in this time, in their order."""
        first, last = (datetime.fromtimestamp(at / _SECOND, UTC) for at in (begin, end))
        found = {shift for event in self._events for shift in event.shifts(first, last)}
        return sorted(found, key=lambda shift: (shift.starts, shift.ends, shift.receiver))


def read_calendar(text: bytes, names: Mapping[str, str], location: tzinfo = UTC) -> Calendar:
    """Return the shifts in an iCalendar.

    Args:
        text: the calendar.
        names: the receiver that each name in it stands for; letters may be small or large.
        location: whose clock counts where the calendar does not say.

    Raises:
        ValueError: it is none, or an event can't be a shift; the text names it.
    """
    from icalendar import Calendar as Parser  # noqa: PLC0415 - only where there is one

    component: Any

    try:
        components = [one for made in Parser.from_ical(text, multiple=True) for one in made.walk()]
    except (ValueError, IndexError, KeyError) as error:
        raise ValueError(f"not an iCalendar: {' '.join(str(error).split())[:100]}") from None
    if not any(one.name == "VCALENDAR" for one in components):
        raise ValueError("not an iCalendar: there is no VCALENDAR in it")
    known = {name.casefold(): receiver for name, receiver in names.items()}
    events: dict[str, list[_Event]] = {}
    changed: list[tuple[str, datetime]] = []
    unknown = []
    for component in components:
        if component.name != "VEVENT":
            continue
        uid = str(component.get("UID", id(component)))
        if (instance := component.get("RECURRENCE-ID")) is not None:
            changed.append((uid, _moment(instance.dt, location).astimezone(UTC)))
        if str(component.get("STATUS", "")).upper() == "CANCELLED":
            continue
        named = list(_named(component))
        receiver = next(
            (known[name.casefold()] for name in named if name.casefold() in known), None
        )
        if receiver is None:
            unknown.append(named[0] if named else "an event without a summary")
            continue
        try:
            events.setdefault(uid, []).append(_event(component, receiver, location))
        except (ValueError, AttributeError, KeyError, TypeError) as error:
            raise ValueError(f'the event "{named[0]}": {error}') from None
    for uid, instant in changed:
        for event in events.get(uid, []):
            if event.rule is not None or event.more:
                event.without.add(instant)
    return Calendar((event for group in events.values() for event in group), unknown)


def written_calendar(name: str, shifts: Iterable[Shift], now: datetime) -> bytes:
    """Return an iCalendar of shifts: an event each, with an id that stays the same."""
    from icalendar import Calendar as Writer  # noqa: PLC0415
    from icalendar import Event  # noqa: PLC0415

    made = Writer()
    made.add("prodid", "-//Headrace//on call//EN")
    made.add("version", "2.0")
    made.add("x-wr-calname", name)
    for shift in shifts:
        event = Event()
        event.add("uid", f"{shift.starts // _SECOND}-{shift.receiver}-{name}@headrace")
        event.add("dtstamp", now)
        event.add("dtstart", datetime.fromtimestamp(shift.starts // _SECOND, UTC))
        event.add("dtend", datetime.fromtimestamp(shift.ends // _SECOND, UTC))
        event.add("summary", shift.receiver)
        made.add_component(event)
    return bytes(made.to_ical())


def _named(component: Any) -> Iterator[str]:
    """Yield what may name the receiver: the summary, then attendees' names and addresses."""
    if summary := str(component.get("SUMMARY", "")).strip():
        yield summary
    for attendee in _each(component.get("ATTENDEE")):
        if common := str(attendee.params.get("CN", "")).strip():
            yield common
        yield str(attendee).partition(":")[2] or str(attendee)


def _event(component: Any, receiver: str, location: tzinfo) -> _Event:
    given = component["DTSTART"].dt
    starts = _moment(given, location)
    if (end := component.get("DTEND")) is not None:
        lasts = _moment(end.dt, location).astimezone(starts.tzinfo) - starts
    elif (duration := component.get("DURATION")) is not None:
        lasts = duration.dt
    else:
        lasts = timedelta(0) if isinstance(given, datetime) else timedelta(days=1)
    if lasts <= timedelta(0):
        raise ValueError("it has to end after its start")
    made = _Event(receiver, starts, lasts)
    if (rule := component.get("RRULE")) is not None:
        made.rule = _rule(rule, starts, location)
    for listed in _each(component.get("RDATE")):
        for one in listed.dts:
            moment = one.dt[0] if isinstance(one.dt, tuple) else one.dt
            made.more.append(_moment(moment, location))
    for listed in _each(component.get("EXDATE")):
        made.without |= {_moment(one.dt, location).astimezone(UTC) for one in listed.dts}
    return made


def _rule(given: Any, starts: datetime, location: tzinfo) -> Any:
    from dateutil.rrule import rrulestr  # noqa: PLC0415

    parts = {key: list(given[key]) for key in given}
    if set(map(str, parts.get("FREQ", []))) & _TOO_OFTEN:
        raise ValueError("a shift begins once an hour at most")
    if until := parts.get("UNTIL"):
        (last,) = until
        if not isinstance(last, datetime):
            last = datetime(last.year, last.month, last.day, 23, 59, 59, tzinfo=location)
        given["UNTIL"] = [_moment(last, location).astimezone(UTC)]
    return rrulestr(given.to_ical().decode(), dtstart=starts, cache=True)


def _moment(given: date, location: tzinfo) -> datetime:
    """Return a day as its beginning, and a time without a place as that of ``location``."""
    if not isinstance(given, datetime):
        return datetime(given.year, given.month, given.day, tzinfo=location)
    return given if given.tzinfo is not None else given.replace(tzinfo=location)


def _nanoseconds(moment: datetime) -> int:
    return round(moment.timestamp()) * _SECOND


def _each(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
