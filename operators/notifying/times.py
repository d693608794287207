"""Instants as RFC 3339 writes them, to the nanosecond, as Go's clients send and expect them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

__all__ = ["NEVER", "format_instant", "parse_instant"]

NEVER: Final = "0001-01-01T00:00:00Z"
"""Go's zero time: what Alertmanager writes for the end of an alert that still fires."""

_RFC3339: Final = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?(?:[Zz]|([+-]\d\d:\d\d))"
)


def parse_instant(text: str) -> int:
    """Return the nanoseconds since the Unix epoch at which ``text`` stands.

    >>> parse_instant("1970-01-01T01:00:00.25+01:00")
    250000000

    Raises:
        ValueError: not a date and time with an offset, as RFC 3339 asks for.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError(f'"{text[:60]}" is not a time as RFC 3339 writes it')
    day, time, fraction, offset = match.groups()
    try:
        instant = datetime.fromisoformat(f"{day}T{time}{offset or '+00:00'}")
        seconds = round(instant.timestamp())
    except (ValueError, OverflowError):
        raise ValueError(f'"{text[:60]}" is not a time: there is no such day or hour') from None
    return seconds * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def format_instant(nanoseconds: int) -> str:
    """Return the instant in UTC, with no more digits than it needs.

    >>> format_instant(1_500_000_000)
    '1970-01-01T00:00:01.5Z'
    """
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    text = datetime.fromtimestamp(seconds, tz=UTC).strftime("%Y-%m-%dT%H:%M:%S")
    digits = f".{fraction:09d}".rstrip("0").rstrip(".")
    return f"{text:0>19}{digits}Z"
