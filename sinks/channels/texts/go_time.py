"""Instants in templates: Go's ``time.Time`` with the methods that texts use, and its layouts."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from operators.templating import Object, TemplateError

__all__ = ["GoTime", "format_duration_go"]

ZERO: Final = -62_135_596_800 * 1_000_000_000
"""Go's zero time: the first of January of the year 1."""


class GoTime(Object):
    """An instant as templates see it.

    Args:
        nanoseconds: since the Unix epoch; None is Go's zero time.
        zone: whose clock it is shown by.
    """

    def __init__(self, nanoseconds: int | None, zone: tzinfo = UTC) -> None:
        self.nanoseconds = ZERO if nanoseconds is None else nanoseconds
        self.moment = _moment(self.nanoseconds, zone)
        super().__init__(
            {},
            {
                "Format": self.format,
                "Unix": lambda: self.nanoseconds // 1_000_000_000,
                "UnixMilli": lambda: self.nanoseconds // 1_000_000,
                "UnixNano": lambda: self.nanoseconds,
                "UTC": lambda: GoTime(self.nanoseconds),
                "Local": lambda: GoTime(self.nanoseconds, _local(self.nanoseconds)),
                "IsZero": lambda: self.nanoseconds == ZERO,
                "Year": lambda: self.moment.year,
                "Month": lambda: self.moment.strftime("%B"),
                "Day": lambda: self.moment.day,
                "Hour": lambda: self.moment.hour,
                "Minute": lambda: self.moment.minute,
                "Second": lambda: self.moment.second,
                "Weekday": lambda: _WEEKDAYS[self.moment.weekday()],
                "Sub": self.since,
            },
            self._text(),
        )

    def format(self, layout: str) -> str:
        """Return the instant in a layout, which is Go's example of a time."""
        return _LAYOUT.sub(lambda found: _PARTS[found.group()[:4]](self, found.group()), layout)

    def at(self, zone: str) -> GoTime:
        """Return the same instant by the clock of a zone.

        Raises:
            TemplateError: there is no such zone.
        """
        try:
            return GoTime(self.nanoseconds, ZoneInfo(zone))
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise TemplateError(f"unknown time zone {zone}") from None

    def since(self, earlier: GoTime) -> Object:
        """Return the time that has passed since another instant, which prints as Go does it."""
        return duration(self.nanoseconds - earlier.nanoseconds)

    def fraction(self, digits: int) -> str:
        """Return the first digits of the second's fraction."""
        return f"{self.nanoseconds % 1_000_000_000:09d}"[:digits]

    def _text(self) -> str:
        moment = self.moment
        fraction = self.fraction(9).rstrip("0")
        second = moment.strftime("%H:%M:%S") + (f".{fraction}" if fraction else "")
        return f"{moment.year:04d}-{moment:%m-%d} {second} {_offset(self, '-0700')} {_name(moment)}"


def duration(nanoseconds: int) -> Object:
    """Return Go's ``time.Duration``."""
    seconds = nanoseconds / 1e9
    return Object(
        {},
        {
            "Seconds": lambda: seconds,
            "Minutes": lambda: seconds / 60,
            "Hours": lambda: seconds / 3600,
            "String": lambda: format_duration_go(nanoseconds),
        },
        format_duration_go(nanoseconds),
    )


def format_duration_go(nanoseconds: int) -> str:
    """Return a duration as Go prints it.

    >>> format_duration_go(3_723_500_000_000), format_duration_go(1_500_000)
    ('1h2m3.5s', '1.5ms')
    """
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    if rest == 0:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if rest < size * 1_000 and size < 1_000_000_000:
            return f"{sign}{_decimal(rest, size)}{unit}"
    minutes, left = divmod(rest, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    text = f"{_decimal(left, 1_000_000_000)}s"
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else f"{sign}{text}"


def _decimal(value: int, size: int) -> str:
    whole, rest = divmod(value, size)
    digits = len(str(size)) - 1
    fraction = f"{rest:0{digits}d}".rstrip("0") if digits else ""
    return f"{whole}.{fraction}" if fraction else str(whole)


def _moment(nanoseconds: int, zone: tzinfo) -> datetime:
    try:
        return (
            datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=nanoseconds // 10**9)
        ).astimezone(zone)
    except OverflowError:
        return datetime(1, 1, 1, tzinfo=UTC)


def _local(nanoseconds: int) -> tzinfo:
    zone = datetime.fromtimestamp(max(nanoseconds, 0) // 10**9).astimezone().tzinfo
    return zone or UTC


_WEEKDAYS: Final = (
    "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday",
)  # fmt: skip
_MONTHS: Final = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_LAYOUT: Final = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00:00|Z07:00|Z0700|Z07|-07:00:00|-07:00|-0700|-07"
    r"|__2|002|01|02|03|04|05|06|_2|15|PM|pm|[.,]0+(?!\d)|[.,]9+(?!\d)|1|2|3|4|5"
)


def _offset(time: GoTime, layout: str) -> str:
    seconds = int((time.moment.utcoffset() or timedelta()).total_seconds())
    if layout.startswith("Z") and seconds == 0:
        return "Z"
    sign, minutes = ("-" if seconds < 0 else "+"), abs(seconds) // 60
    hours, minutes = divmod(minutes, 60)
    colon = ":" if ":" in layout else ""
    text = f"{sign}{hours:02d}"
    return text if len(layout) == 3 else f"{text}{colon}{minutes:02d}"


def _name(moment: datetime) -> str:
    name = moment.tzname() or "UTC"
    if name.startswith("UTC") and name != "UTC":
        seconds = int((moment.utcoffset() or timedelta()).total_seconds())
        return f"{'-' if seconds < 0 else '+'}{abs(seconds) // 3600:02d}"
    return name


def _fraction(time: GoTime, layout: str) -> str:
    digits = time.fraction(len(layout) - 1)
    if layout[1] == "0":
        return layout[0] + digits
    digits = digits.rstrip("0")
    return layout[0] + digits if digits else ""


_Part = Callable[[GoTime, str], str]
_GIVEN: Final[dict[str, _Part]] = {
    "January": lambda t, _: _MONTHS[t.moment.month - 1],
    "Jan": lambda t, _: _MONTHS[t.moment.month - 1][:3],
    "Monday": lambda t, _: _WEEKDAYS[t.moment.weekday()],
    "Mon": lambda t, _: _WEEKDAYS[t.moment.weekday()][:3],
    "MST": lambda t, _: _name(t.moment),
    "2006": lambda t, _: f"{t.moment.year:04d}",
    "06": lambda t, _: f"{t.moment.year % 100:02d}",
    "__2": lambda t, _: f"{t.moment.timetuple().tm_yday:3d}",
    "002": lambda t, _: f"{t.moment.timetuple().tm_yday:03d}",
    "01": lambda t, _: f"{t.moment.month:02d}",
    "1": lambda t, _: str(t.moment.month),
    "02": lambda t, _: f"{t.moment.day:02d}",
    "_2": lambda t, _: f"{t.moment.day:2d}",
    "2": lambda t, _: str(t.moment.day),
    "15": lambda t, _: f"{t.moment.hour:02d}",
    "03": lambda t, _: f"{(t.moment.hour - 1) % 12 + 1:02d}",
    "3": lambda t, _: str((t.moment.hour - 1) % 12 + 1),
    "04": lambda t, _: f"{t.moment.minute:02d}",
    "4": lambda t, _: str(t.moment.minute),
    "05": lambda t, _: f"{t.moment.second:02d}",
    "5": lambda t, _: str(t.moment.second),
    "PM": lambda t, _: "PM" if t.moment.hour >= 12 else "AM",
    "pm": lambda t, _: "pm" if t.moment.hour >= 12 else "am",
}


class _Parts(dict[str, _Part]):
    """What writes a part of a layout, by its first four characters."""

    def __missing__(self, part: str) -> _Part:
        return _fraction if part[0] in ".," else _offset


_PARTS: Final = _Parts({name[:4]: write for name, write in _GIVEN.items()})
