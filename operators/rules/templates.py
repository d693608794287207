"""Templates of alerts' labels and annotations, with the functions that Prometheus offers them."""

from __future__ import annotations

import datetime
import ipaddress
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote_plus, urlsplit

import numpy as np

from operators.rules.durations import milliseconds
from operators.rules.errors import EvaluationError, ExpressionError
from operators.rules.frame import InstantVector
from operators.templating import Function, Map, Object, Template, TemplateError
from operators.templating.humanizing import (
    humanize,
    humanize_1024,
    humanize_duration,
    humanize_percentage,
    humanize_timestamp,
    number_of,
    timestamp_text,
)
from operators.templating.regular import compiled, replace_all

__all__ = ["Expander", "check_template", "in_order", "samples_of"]

_DEFINITIONS: Final = (
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}"
    "{{$externalURL := .ExternalURL}}{{$value := .Value}}"
)
_LARGEST: Final = 1 << 20

Query = Callable[[str], InstantVector]


def _first(samples: Any) -> Any:
    if not samples:
        raise TemplateError("first() called on vector with no elements")
    return samples[0]


def _label(name: str, sample: Any) -> str:
    found: str = sample.fields["Labels"].get(name, "")
    return found


def _match(pattern: str, text: str) -> bool:
    return compiled(pattern).search(text) is not None


def _title(text: str) -> str:
    made = []
    begins = True
    for character in text:
        made.append(character.upper() if begins and character.isalpha() else character)
        begins = not (character.isalnum() or character in "'_")
    return "".join(made)


def _split(host_port: str) -> tuple[str, str] | None:
    """Return host and port, or None if it is not both."""
    if host_port.startswith("["):
        host, closed, rest = host_port[1:].partition("]")
        return (host, rest[1:]) if closed and rest.startswith(":") else None
    if host_port.count(":") != 1:
        return None
    host, _, port = host_port.partition(":")
    return host, port


def _strip_port(host_port: str) -> str:
    found = _split(host_port)
    return found[0] if found else host_port


def _strip_domain(host_port: str) -> str:
    host, port = _split(host_port) or (host_port, "")
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        host = host.split(".")[0]
        return f"{host}:{port}" if port else host
    return host_port


def _to_time(value: Any) -> Object:
    seconds = number_of(value)
    text = timestamp_text(seconds)
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    methods: dict[str, Function] = {
        "Unix": lambda: int(seconds),
        "Year": lambda: moment.year,
        "Month": lambda: moment.strftime("%B"),
        "Day": lambda: moment.day,
        "Hour": lambda: moment.hour,
        "Minute": lambda: moment.minute,
        "Second": lambda: moment.second,
        "Weekday": lambda: moment.strftime("%A"),
        "Format": lambda layout: _formatted(moment, layout),
        "String": lambda: text,
    }
    return Object({}, methods, text)


_LAYOUT: Final[dict[str, Callable[[datetime.datetime], str]]] = {
    "January": lambda t: t.strftime("%B"),
    "Jan": lambda t: t.strftime("%b"),
    "Monday": lambda t: t.strftime("%A"),
    "Mon": lambda t: t.strftime("%a"),
    "MST": lambda _: "UTC",
    "2006": lambda t: f"{t.year:04}",
    "-07:00": lambda _: "+00:00",
    "-0700": lambda _: "+0000",
    "-07": lambda _: "+00",
    "Z07:00": lambda _: "Z",
    "Z0700": lambda _: "Z",
    "002": lambda t: t.strftime("%j"),
    "01": lambda t: f"{t.month:02}",
    "02": lambda t: f"{t.day:02}",
    "03": lambda t: f"{(t.hour + 11) % 12 + 1:02}",
    "04": lambda t: f"{t.minute:02}",
    "05": lambda t: f"{t.second:02}",
    "06": lambda t: f"{t.year % 100:02}",
    "15": lambda t: f"{t.hour:02}",
    "PM": lambda t: "AM" if t.hour < 12 else "PM",
    "pm": lambda t: "am" if t.hour < 12 else "pm",
    "_2": lambda t: f"{t.day:2}",
    "1": lambda t: str(t.month),
    "2": lambda t: str(t.day),
    "3": lambda t: str((t.hour + 11) % 12 + 1),
    "4": lambda t: str(t.minute),
    "5": lambda t: str(t.second),
}
"""The parts of a layout of Go, each how a certain moment is written in it."""
_PART: Final = re.compile(
    "|".join(re.escape(part) for part in sorted(_LAYOUT, key=len, reverse=True))
    + r"|[.,](?P<digits>0+|9+)(?!\d)"
)


def _formatted(moment: datetime.datetime, layout: str) -> str:
    def written(match: re.Match[str]) -> str:
        digits = match["digits"]
        if digits is None:
            return _LAYOUT[match[0]](moment)
        fraction = f"{moment.microsecond:06}000"[: len(digits)]
        if digits[0] == "9":
            fraction = fraction.rstrip("0")
        return match[0][0] + fraction if fraction else ""

    return _PART.sub(written, layout)


def _to_duration(value: Any) -> Object:
    seconds = number_of(value)
    methods: dict[str, Function] = {
        "Seconds": lambda: seconds,
        "Minutes": lambda: seconds / 60,
        "Hours": lambda: seconds / 3600,
        "Milliseconds": lambda: int(seconds * 1000),
    }
    return Object({}, methods, _duration_text(seconds))


def _duration_text(seconds: float) -> str:
    """Return a duration as Go prints it: ``1h2m3.5s``."""
    nanoseconds = int(abs(seconds) * 1e9)
    sign = "-" if seconds < 0 else ""
    if not nanoseconds:
        return "0s"
    for unit, size in (("ns", 1), ("µs", 1000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return f"{sign}{nanoseconds / size:.9f}".rstrip("0").rstrip(".") + unit
    minutes, rest = divmod(nanoseconds, 60_000_000_000)
    text = f"{rest / 1e9:.9f}".rstrip("0").rstrip(".") + "s"
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{sign}{hours}h{minutes}m{text}"
    return f"{sign}{minutes}m{text}" if minutes else sign + text


def _parse_duration(text: str) -> float:
    try:
        return milliseconds(text) / 1000
    except ValueError as error:
        raise TemplateError(str(error)) from None


def _link(tab: int) -> Callable[[str], str]:
    return lambda expression: f"/graph?g0.expr={quote_plus(expression)}&g0.tab={tab}"


def _sorted_by(name: str, samples: Any) -> Any:
    return sorted(samples, key=lambda sample: _label(name, sample))


def _unknown(*_: Any) -> Any:
    raise TemplateError("it is not known here")


_FUNCTIONS: Final[dict[str, Function]] = {
    "query": _unknown,
    "first": _first,
    "label": _label,
    "value": lambda sample: sample.fields["Value"],
    "strvalue": lambda sample: _label("__value__", sample),
    "args": lambda *values: {f"arg{i}": value for i, value in enumerate(values)},
    "reReplaceAll": replace_all,
    "safeHtml": lambda text: text,
    "match": _match,
    "title": _title,
    "toUpper": str.upper,
    "toLower": str.lower,
    "graphLink": _link(0),
    "tableLink": _link(1),
    "sortByLabel": _sorted_by,
    "stripPort": _strip_port,
    "stripDomain": _strip_domain,
    "humanize": humanize,
    "humanize1024": humanize_1024,
    "humanizeDuration": humanize_duration,
    "humanizePercentage": humanize_percentage,
    "humanizeTimestamp": humanize_timestamp,
    "toTime": _to_time,
    "toDuration": _to_duration,
    "now": _unknown,
    "pathPrefix": _unknown,
    "externalURL": _unknown,
    "parseDuration": _parse_duration,
    "urlQueryEscape": quote_plus,
}


@lru_cache(4096)
def _template(text: str) -> Template:
    return Template(_DEFINITIONS + text, _FUNCTIONS, largest=_LARGEST)


def check_template(text: str) -> None:
    """Raise `TemplateError` if a text is no template, or one that uses what is not there."""
    _template(text)


def samples_of(frame: InstantVector) -> list[Object]:
    """Return the series of a result as templates see them: ``.Labels`` and ``.Value``."""
    rows = np.flatnonzero(frame.present) if frame.order is None else frame.order
    return [
        Object({"Labels": Map(frame.sets.labels(int(row))), "Value": float(frame.values[row])})
        for row in rows
    ]


def in_order(frame: InstantVector) -> InstantVector:
    """Return a result in the order of its labels, unless it was sorted: ``first`` is not any of them."""
    if frame.order is not None:
        return frame
    labels = [
        (list(frame.sets.labels(int(row)).items()), row) for row in np.flatnonzero(frame.present)
    ]
    return frame._replace(order=np.array([row for _, row in sorted(labels)], np.int64))


class Expander:
    """Renders the templates of one evaluation.

    Args:
        query: evaluates an expression at the time of the evaluation.
        time: that time in ms.
        external_labels: what ``$externalLabels`` is.
        external_url: what ``externalURL`` gives.
    """

    def __init__(
        self, query: Query, time: int, external_labels: Mapping[str, str], external_url: str
    ) -> None:
        self._query = query
        self._external_labels = Map(external_labels)
        self._external_url = external_url
        self._functions: dict[str, Function] = {
            "query": self._samples,
            "now": lambda: time / 1000,
            "pathPrefix": lambda: urlsplit(external_url).path,
            "externalURL": lambda: external_url,
        }

    def _samples(self, text: str) -> list[Object]:
        try:
            return samples_of(self._query(text))
        except (ExpressionError, EvaluationError) as error:
            raise TemplateError(str(error)) from error

    def expand(self, text: str, labels: Mapping[str, str], value: Any) -> str:
        """Return a text for the labels and the value of a series.

        What can't be rendered becomes a text that says why, as in Prometheus: an alert with a
        bad annotation is better than none.
        """
        if "{{" not in text:
            return text
        data = Object(
            {
                "Labels": Map(labels),
                "ExternalLabels": self._external_labels,
                "ExternalURL": self._external_url,
                "Value": value,
            }
        )
        try:
            return _template(text).render(data, self._functions)
        except TemplateError as error:
            return f"<error expanding template: {error}>"
