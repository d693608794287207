"""The tree of routes, inhibitions and named times of an `alertmanager.yml`."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, PlainSerializer, field_validator

from flows.settings.alertmanager.scalars import (
    ConfigurationPart,
    Duration,
    LabelMatchers,
    LabelPatterns,
    LabelValues,
    PositiveDuration,
)
from operators.notifying.digest import Digest
from operators.notifying.flapping import Flapping
from operators.notifying.inhibition import InhibitRule
from operators.notifying.intervals import Range, TimeInterval
from operators.notifying.matchers import Matchers, in_order

__all__ = [
    "DigestTimes",
    "FlapDamping",
    "Inhibition",
    "NamedTimes",
    "Off",
    "RouteConfiguration",
    "known_location",
]


class Inhibition(ConfigurationPart):
    """While an alert like the source fires, those like the target are not told."""

    source_match: LabelValues = ()
    source_match_re: LabelPatterns = ()
    source_matchers: LabelMatchers = ()
    target_match: LabelValues = ()
    target_match_re: LabelPatterns = ()
    target_matchers: LabelMatchers = ()
    equal: tuple[str, ...] = ()
    name: str = ""

    def rule(self) -> InhibitRule:
        """Return the rule."""
        return InhibitRule(
            (*self.source_match, *self.source_match_re, *self.source_matchers),
            (*self.target_match, *self.target_match_re, *self.target_matchers),
            self.equal,
        )


_WEEKDAYS: Final = (
    "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
)  # fmt: skip
_MONTHS: Final = (
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
)  # fmt: skip
_TIME: Final = re.compile(r"(?:([01]\d|2[0-3]):([0-5]\d))|(24):(00)")


def _written(value: Any) -> str:
    """Return the text of a value that YAML may have read as a number in base 60."""
    if isinstance(value, int) and not isinstance(value, bool) and value > 59:
        first, last = divmod(value, 60)
        return f"{first:02}:{last:02}" if first < 60 else str(value)
    return str(value)


def _minute(value: Any) -> int:
    text = _written(value)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text}" is not a time of the day (write 09:00, or 24:00 for its end)')
    hour, minute = (part for part in match.groups() if part is not None)
    return int(hour) * 60 + int(minute)


def _times(value: Any) -> Range:
    if not isinstance(value, dict) or set(value) != {"start_time", "end_time"}:
        raise ValueError("write {start_time: 09:00, end_time: 17:00}")
    start, end = _minute(value["start_time"]), _minute(value["end_time"])
    if start >= end:
        raise ValueError("the start has to be before the end: write two, if it is over midnight")
    return start, end


def _range(value: Any, number: Any, lowest: int, highest: int) -> Range:
    """Read ``a`` or ``a:b``, both included."""
    text = str(value).lower()
    parts = [number(part) for part in text.split(":")]
    if len(parts) > 2 or not all(lowest <= part <= highest for part in parts):
        raise ValueError(f'"{text}" is not from {lowest} to {highest}')
    first, last = parts[0], parts[-1]
    return first, last


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a number') from None


def _weekday(value: Any) -> Range:
    def number(text: str) -> int:
        if text not in _WEEKDAYS:
            raise ValueError(f'"{text}" is not a day of the week (write monday)')
        return _WEEKDAYS.index(text)

    return _in_order(_range(value, number, 0, 6), value)


def _month(value: Any) -> Range:
    def number(text: str) -> int:
        return _MONTHS.index(text) + 1 if text in _MONTHS else _number(text)

    return _in_order(_range(_written(value), number, 1, 12), value)


def _year(value: Any) -> Range:
    return _in_order(_range(value, _number, 0, 9999), value)


def _day(value: Any) -> Range:
    text = _written(value)
    first, last = _range(text, _number, -31, 31)
    if not first or not last:
        raise ValueError(f'"{text}": days begin with 1, or with -1 from the end')
    if first < 0 < last:
        raise ValueError(f'"{text}": if the first day counts from the end, so must the last')
    # February has 28 days: what can't be in it in order can't be at all.
    begin, end = (28 + day if day < 0 else day for day in (first, last))
    if begin > end:
        raise ValueError(f'"{text}": the end is before the start')
    return first, last


def _in_order(found: Range, value: Any) -> Range:
    if found[0] > found[1]:
        raise ValueError(f'"{value}": the end is before the start')
    return found


def known_location(location: str) -> str:
    """Return the name of a time zone that there is."""
    try:
        ZoneInfo(location)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f'there is no time zone "{location}" (write Europe/Berlin)') from None
    return location


_AsTime = PlainSerializer(lambda minute: f"{minute // 60:02}:{minute % 60:02}", return_type=str)
_Plain = PlainSerializer(lambda found: f"{found[0]}:{found[1]}", return_type=str)


class FlapDamping(ConfigurationPart):
    """When alerts flap, and are told as one notification: see ``operators.notifying.flapping``."""

    changes: int = Field(default=4, ge=1, le=100)
    """More changes than this within ``within`` are flapping; to fire and to resolve is one each."""
    within: PositiveDuration = 600_000_000_000
    """An alert that has not changed for as long has calmed."""

    def rule(self) -> Flapping:
        """Return the rule."""
        return Flapping(self.changes, self.within)


def _off(value: Any) -> Any:
    return "off" if value is False else value


Off = Annotated[Literal["off"], BeforeValidator(_off)]
"""What is not wanted though the branch above has it; YAML may read it as a boolean."""


class DigestTimes(ConfigurationPart):
    """When a route is told a summary, and nothing else: see ``operators.notifying.digest``."""

    times: tuple[Annotated[int, BeforeValidator(_minute), _AsTime], ...] = Field(min_length=1)
    """Times of the day."""
    weekdays: tuple[Annotated[Range, BeforeValidator(_weekday), _Plain], ...] = ()
    location: str = "UTC"
    held_back: bool = False
    """Whether it tells what is held back, with the reason as an annotation."""

    _is_known = field_validator("location")(known_location)

    @field_validator("times")
    @classmethod
    def _are_of_the_day(cls, times: tuple[int, ...]) -> tuple[int, ...]:
        if 24 * 60 in times:
            raise ValueError("24:00 is the next day (write 00:00)")
        return times

    def digest(self) -> Digest:
        """Return the digest."""
        days = frozenset(day for first, last in self.weekdays for day in range(first, last + 1))
        return Digest(self.times, days, ZoneInfo(self.location), self.held_back)


class RouteConfiguration(ConfigurationPart):
    """A branch of the tree; what it does not say it has from the branch that it is on."""

    receiver: str | None = None
    group_by: tuple[str, ...] | None = None
    match: LabelValues = ()
    match_re: LabelPatterns = ()
    matchers: LabelMatchers = ()
    goes_on: bool = Field(default=False, alias="continue")
    mute_time_intervals: tuple[str, ...] = ()
    active_time_intervals: tuple[str, ...] = ()
    group_wait: Duration | None = None
    group_interval: PositiveDuration | None = None
    repeat_interval: PositiveDuration | None = None
    flapping: FlapDamping | Off | None = None
    digest: DigestTimes | Off | None = None
    """What is added: see there; a branch has it from the one that it is on."""
    routes: tuple[RouteConfiguration, ...] = ()

    @field_validator("group_by")
    @classmethod
    def _all_or_some(cls, group_by: tuple[str, ...] | None) -> tuple[str, ...] | None:
        if group_by is None:
            return None
        if "..." in group_by and len(group_by) > 1:
            raise ValueError('"..." stands for all labels: write no others beside it')
        if len(set(group_by)) < len(group_by):
            raise ValueError("names a label twice")
        if not all(group_by):
            raise ValueError("has a label without a name")
        return group_by

    @property
    def all_matchers(self) -> Matchers:
        """What an alert has to be like, in the order in which it stands in a group key."""
        return in_order((*self.match, *self.match_re, *in_order(self.matchers)))


class TimeRanges(ConfigurationPart):
    """Some time: all fields that are given have to hold."""

    times: tuple[Annotated[Range, BeforeValidator(_times), _Plain], ...] = ()
    weekdays: tuple[Annotated[Range, BeforeValidator(_weekday), _Plain], ...] = ()
    days_of_month: tuple[Annotated[Range, BeforeValidator(_day), _Plain], ...] = ()
    months: tuple[Annotated[Range, BeforeValidator(_month), _Plain], ...] = ()
    years: tuple[Annotated[Range, BeforeValidator(_year), _Plain], ...] = ()
    location: str = "UTC"

    _is_known = field_validator("location")(known_location)

    def interval(self) -> TimeInterval:
        """Return the interval."""
        return TimeInterval(
            self.times,
            self.weekdays,
            self.days_of_month,
            self.months,
            self.years,
            ZoneInfo(self.location),
        )


class NamedTimes(ConfigurationPart):
    """Ranges of time under a name that routes use."""

    name: str = Field(min_length=1)
    time_intervals: tuple[TimeRanges, ...] = ()
