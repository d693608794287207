"""Lengths of time as people write them: ``10s``, ``5m``, ``1h30m``."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["DurationError", "format_duration", "parse_duration"]

_UNITS: Final = {
    "ns": 1,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
    "d": 86_400_000_000_000,
    "w": 604_800_000_000_000,
}
_PART: Final = re.compile(r"(\d+)(ns|us|ms|s|m|h|d|w)")
_WHOLE: Final = re.compile(rf"(?:{_PART.pattern})+")


class DurationError(ValueError):
    """A text that is not a duration."""


def parse_duration(text: str) -> int:
    """Return the nanoseconds that ``text`` stands for.

    >>> parse_duration("1m30s")
    90000000000

    Raises:
        DurationError: ``text`` is not a series of whole numbers with units.
    """
    if not _WHOLE.fullmatch(text):
        raise DurationError(f'"{text}" is not a duration (write 10s, 5m, 1h)')
    return sum(int(number) * _UNITS[unit] for number, unit in _PART.findall(text))


def format_duration(nanoseconds: int) -> str:
    """Return the shortest text that ``parse_duration`` reads back as ``nanoseconds``.

    >>> format_duration(90_000_000_000)
    '90s'
    """
    for unit in ("w", "d", "h", "m", "s", "ms", "us"):
        if nanoseconds and nanoseconds % _UNITS[unit] == 0:
            return f"{nanoseconds // _UNITS[unit]}{unit}"
    return f"{nanoseconds}ns"
