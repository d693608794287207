"""The functions that Alertmanager's templates may call, besides those that every Go template has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from operators.contracts.clock import Clock, SystemClock
from operators.templating import Function, TemplateError
from operators.templating.regular import compiled, replace_all
from sinks.channels.texts.escaping import SafeText
from sinks.channels.texts.go_time import GoTime, duration

__all__ = ["functions"]

_WORD: Final = re.compile(r"\w[\w'\u2019]*")


def functions(clock: Clock | None = None) -> Mapping[str, Function]:
    """Return the functions by name; ``since`` counts by ``clock``."""
    used = clock or SystemClock()
    return {
        "toUpper": str.upper,
        "toLower": str.lower,
        "title": lambda text: _WORD.sub(
            lambda word: word.group()[0].upper() + word.group()[1:].lower(), text
        ),
        "trimSpace": str.strip,
        "join": _join,
        "match": lambda pattern, text: compiled(pattern).search(text) is not None,
        "safeHtml": SafeText,
        "safeUrl": SafeText,
        "urlUnescape": unquote_plus,
        "reReplaceAll": replace_all,
        "stringSlice": lambda *texts: list(texts),
        "date": lambda layout, time: _time(time).format(layout),
        "tz": lambda zone, time: _time(time).at(zone),
        "since": lambda time: duration(used.now() - _time(time).nanoseconds),
        "humanizeDuration": _humanized,
        "toJson": _json,
    }


def _join(separator: str, texts: Any) -> str:
    if not isinstance(texts, (list, tuple)):
        raise TemplateError("join needs a list of texts")
    return separator.join(map(str, texts))


def _time(value: Any) -> GoTime:
    if not isinstance(value, GoTime):
        raise TemplateError("needs a time, such as .StartsAt")
    return value


def _json(value: Any) -> str:

    try:
        return orjson.dumps(value, default=str).decode()
    except TypeError as error:
        raise TemplateError(f"toJson: {error}") from None


def _humanized(value: Any) -> str:
    """Return seconds as people say them, as Prometheus does.

    >>> _humanized(3725)
    '1h 2m 5s'
    """
    try:
        seconds = value.methods["Seconds"]() if hasattr(value, "methods") else float(value)
    except (TypeError, ValueError, KeyError):
        raise TemplateError("humanizeDuration needs seconds or a duration") from None
    if abs(seconds) < 1:
        for unit, size in (("s", 1.0), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
            if abs(seconds) >= size or seconds == 0 or unit == "ns":
                return f"{seconds / size:.4g}{unit}"
    sign, whole = ("-" if seconds < 0 else ""), int(abs(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{sign}{days}d {hours}h {minutes}m {rest}s"
    if hours:
        return f"{sign}{hours}h {minutes}m {rest}s"
    return f"{sign}{minutes}m {rest}s" if minutes else f"{sign}{abs(seconds):.4g}s"
