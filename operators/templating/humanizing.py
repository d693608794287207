"""Numbers as people read them: what Prometheus and Alertmanager offer their templates."""

# ruff: noqa: PLR0911 -- one case an order of magnitude

from __future__ import annotations

import datetime
import math
from collections.abc import Iterable
from typing import Any, Final

from operators.templating.formatting import sprintf
from operators.templating.values import TemplateError, kind

__all__ = [
    "humanize",
    "humanize_1024",
    "humanize_duration",
    "humanize_percentage",
    "humanize_timestamp",
    "number_of",
    "timestamp_text",
]

_LARGE: Final = ("k", "M", "G", "T", "P", "E", "Z", "Y")
_SMALL: Final = ("m", "u", "n", "p", "f", "a", "z", "y")
_BINARY: Final = ("ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi")
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


def number_of(value: Any) -> float:
    """Return the number that a value is, or that a text says.

    Raises:
        TemplateError: it is or says none.
    """
    if isinstance(value, str):
        try:
            return float(value.strip() and value)
        except ValueError:
            raise TemplateError(f'"{value}" is no number') from None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TemplateError(f"can't convert {kind(value)} to float")
    return float(value)


def humanize(value: Any) -> str:
    """Return a number with four digits and a metric prefix.

    >>> humanize(1234567.0), humanize(0.00256), humanize(0)
    ('1.235M', '2.56m', '0')
    """
    number = number_of(value)
    if number == 0 or not math.isfinite(number):
        return _four(number)
    if abs(number) >= 1:
        return _larger(number, 1000, _LARGE)
    return _smaller(number)


def humanize_1024(value: Any) -> str:
    """Return a number with four digits and a binary prefix.

    >>> humanize_1024(2048.0)
    '2ki'
    """
    number = number_of(value)
    if abs(number) <= 1 or not math.isfinite(number):
        return _four(number)
    return _larger(number, 1024, _BINARY)


def humanize_duration(value: Any) -> str:
    """Return seconds as days, hours, minutes and seconds.

    >>> humanize_duration(93784), humanize_duration(0.25)
    ('1d 2h 3m 4s', '250ms')
    """
    number = number_of(value)
    if not math.isfinite(number):
        return _four(number)
    if number == 0:
        return f"{_four(number)}s"
    if abs(number) < 1:
        return f"{_smaller(number)}s"
    sign, number = ("-", -number) if number < 0 else ("", number)
    whole = int(number)
    seconds, minutes, hours, days = whole % 60, whole // 60 % 60, whole // 3600 % 24, whole // 86400
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {seconds}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {seconds}s"
    if minutes:
        return f"{sign}{minutes}m {seconds}s"
    return f"{sign}{_four(number)}s"


def humanize_percentage(value: Any) -> str:
    """Return a ratio as a percentage.

    >>> humanize_percentage(0.12345678)
    '12.35%'
    """
    return f"{_four(number_of(value) * 100)}%"


def humanize_timestamp(value: Any) -> str:
    """Return seconds since 1970 as Go prints that time.

    >>> humanize_timestamp(1435065584.128)
    '2015-06-23 13:19:44.128 +0000 UTC'
    """
    number = number_of(value)
    if not math.isfinite(number):
        return _four(number)
    return timestamp_text(number)


def timestamp_text(seconds: float) -> str:
    """Return a time in UTC as Go prints it, to the millisecond, as Prometheus has it.

    Raises:
        TemplateError: 64 bits of nanoseconds don't reach that far.
    """
    if not math.isfinite(seconds) or abs(seconds * 1e9) > (1 << 63):
        raise TemplateError(f"{sprintf('%v', [seconds])} can't be a time in nanoseconds: too far")
    milliseconds = math.trunc(int(seconds * 1e9) / 1_000_000)
    moment = _EPOCH + datetime.timedelta(milliseconds=milliseconds)
    fraction = f".{moment.microsecond // 1000:03d}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%d %H:%M:%S}{fraction} +0000 UTC"


def _four(number: float) -> str:
    return sprintf("%.4g", [number])


def _larger(number: float, step: int, prefixes: Iterable[str]) -> str:
    used = ""
    for prefix in prefixes:
        if abs(number) < step:
            break
        used = prefix
        number /= step
    return _four(number) + used


def _smaller(number: float) -> str:
    used = ""
    for prefix in _SMALL:
        if abs(number) >= 1:
            break
        used = prefix
        number *= 1000
    return _four(number) + used
