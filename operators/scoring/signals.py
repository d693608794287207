"""Signals of a service: which rollups they are made of, and how.

A vector has a few signals, as rate, errors, duration and saturation of a service (its *golden
signals*). Each is taken from rollups that are selected by name and labels; of several selectors the
first one that has any in a window counts, since producers call the same thing differently.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import asin, exp, isfinite, log, pi, sin, sqrt
from typing import Any, Final

from operators.contracts.frames import CUMULATIVE, DELTA, GAUGE, KINDS, QUANTILES

__all__ = [
    "GOLDEN",
    "TAKES",
    "Selector",
    "Signal",
    "Vector",
    "off_scale",
    "on_a_scale",
    "said",
    "value_of",
]

TAKES: Final = ("rate", "ratio", "mean", "max", "free", *QUANTILES)
"""What is taken of the rollups of a signal.

``rate``: events a second; ``ratio``: part of them that failed, see ``Selector``; ``mean``: of a
histogram's values, or of gauges; ``max``: the largest; ``free``: one less the mean, of a part that
is idle; ``p95`` and the like: the mean of the series' own percentiles, each as often as it has
events, since those of several series can't be had from rollups.
"""
_FEW: Final = 5
"""Events in a window that a ratio takes at least: three requests are no evidence."""
_FAILED: Final = (
    r'"(?:http[._]response[._]status_code|http[._]status_code|status_code|status|code)":"(?:5\d\d|5xx|error)"'
    r'|"(?:error\.type|exception\.type)":"[^"]|"status\.code":"STATUS_CODE_ERROR"'
    r'|"rpc\.grpc\.status_code":"(?:2|4|8|12|13|14|15)"|"outcome":"SERVER_ERROR"'
)
"""Labels of what failed, in the JSON of labels; of gRPC those that the semantic conventions count."""
_NO_EVENTS: Final = (KINDS[GAUGE],)
_NO_VALUES: Final = (KINDS[DELTA], KINDS[CUMULATIVE])
_SMALL: Final = 1e-3
"""What is far below a millisecond or a thousandth is as good as nothing."""


@dataclass(frozen=True, slots=True)
class Selector:
    """Rollups that a signal is made of.

    Attributes:
        metric: regular expression of the whole name.
        take: in ``TAKES``.
        labels: regular expressions of whole values by label; one that is missing is empty.
        failed: of a ratio: labels of those that failed; labels that tell of failure if empty.
        of: of a ratio: regular expression of the metric that is the whole, whose failures ``metric``
            counts; if empty they are among the events of ``metric`` itself.
    """

    metric: str
    take: str
    labels: Mapping[str, str] = field(default_factory=dict)
    failed: Mapping[str, str] = field(default_factory=dict)
    of: str = ""

    def names(self, name: str) -> bool:
        """Say whether a metric of this name may be part of the signal."""
        return (
            re.fullmatch(self.metric, name) is not None
            or re.fullmatch(self.of or "$^", name) is not None
        )

    def role(self, name: str, kind: str, labels: Mapping[str, str], text: str) -> str | None:
        """Return what a series is to the signal: ``part``, ``whole``, ``both``, or None for nothing.

        Args:
            name, kind: of the series.
            labels: its labels.
            text: the same as JSON.
        """
        counts = self.take in ("rate", "ratio")
        lacks = _NO_EVENTS if counts else _NO_VALUES
        if kind in lacks or not self.names(name) or not _match(self.labels, labels):
            return None
        if self.take != "ratio":
            return "part"
        if self.of:
            return "part" if re.fullmatch(self.metric, name) else "whole"
        failed = _match(self.failed, labels) if self.failed else re.search(_FAILED, text)
        return "both" if failed else "whole"


@dataclass(frozen=True, slots=True)
class Signal:
    """One signal of a vector.

    Attributes:
        selectors: of which the first that has anything counts.
        above: less of it than usual is no fault.
    """

    selectors: tuple[Selector, ...]
    above: bool


@dataclass(frozen=True, slots=True)
class Vector:
    """Signals that are judged together, for each group of series that have the same labels.

    Attributes:
        name: of the vector; it is a label of its alerts.
        by: labels that make a group.
        signals: by name.
        window: the resolution that is judged, in nanoseconds.
        detector: ``joint_distance``, or a detector of River's by its name.
        options: its arguments.
    """

    name: str
    by: tuple[str, ...]
    signals: Mapping[str, Signal]
    window: int
    detector: str
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def above(self) -> tuple[str, ...]:
        """Names of signals of which less than usual is no fault."""
        return tuple(name for name, signal in self.signals.items() if signal.above)


_RECEIVED: Final = {"span.kind": "SPAN_KIND_(SERVER|CONSUMER)"}
_SPANS: Final = r"traces\.span\.metrics\.duration"
_SERVERS: Final = r"(http\.server\.(request\.)?duration|rpc\.server\.(call\.)?duration)"
_EXPOSED: Final = (
    r"(http_server_(request_)?duration_(milli)?seconds|http_server_requests_seconds"
    r"|http_request_duration_seconds|rpc_server_(call_)?duration_(milli)?seconds"
    r"|grpc_server_handling_seconds|traces_spanmetrics_latency)"
)
"""The same as Prometheus has them; Spring's, the usual one of its clients, and gRPC's."""
_COUNTED: Final = (
    r"(http_requests_total|http_server_requests_total|calls|traces_spanmetrics_calls_total)"
)
_LOADS: Final = (
    r"(process\.cpu\.utilization|jvm\.cpu\.recent_utilization|container\.cpu\.utilization"
    r"|k8s\.(pod|container)\.cpu_limit_utilization|process_cpu_utilization(_ratio)?"
    r"|jvm_cpu_recent_utilization(_ratio)?)"
)


def _calls(take: str, *more: Selector) -> tuple[Selector, ...]:
    return (
        Selector(_SERVERS, take),
        Selector(_EXPOSED, take),
        Selector(_SPANS, take, _RECEIVED),
        *more,
    )


GOLDEN: Final[Mapping[str, Signal]] = {
    "rate": Signal(_calls("rate", Selector(_COUNTED, "rate")), above=False),
    "errors": Signal(_calls("ratio", Selector(_COUNTED, "ratio")), above=True),
    "duration": Signal(_calls("mean"), above=True),
    "saturation": Signal(
        (
            Selector(_LOADS, "mean"),
            Selector(r"system\.cpu\.utilization", "free", {"state|cpu.mode": "idle"}),
        ),
        above=True,
    ),
}
"""A service's golden signals: as OpenTelemetry's semantic conventions name them, the old names and
the new, as Prometheus has them, and as the flow ``traces`` counts spans."""


def _match(wanted: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Say whether labels are as wanted; a name may be several, with ``|`` between them."""
    for names, expression in wanted.items():
        value = next((labels[name] for name in names.split("|") if name in labels), "")
        if re.fullmatch(expression, value) is None:
            return False
    return True


def value_of(take: str, amount: float, weight: float, most: float, seconds: float) -> float | None:
    """Return the value of a signal in a window; None if there is too little for one.

    Args:
        take: in ``TAKES``.
        amount, weight: sums over all series, see ``operators.scoring.vector_parts``.
        most: the largest value.
        seconds: length of the window.
    """
    if take == "rate":
        return amount / seconds
    if take == "max":
        return most if isfinite(most) else None
    if weight < (_FEW if take == "ratio" else 1e-9):
        return None
    return amount / weight


def on_a_scale(take: str, value: float, weight: float, seconds: float) -> float:
    """Return a value on a scale on which it varies evenly, whatever its size.

    Of a rate that is the logarithm of the events in the window, of a ratio the arc sine of its root
    (F. J. Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika
    35, 1948), of all else a logarithm that goes through zero.

    Args:
        take, value: of the signal.
        weight: events of which the ratio is.
        seconds: length of the window.
    """
    if take == "rate":
        return log(1.0 + max(value, 0.0) * seconds)
    if take == "ratio":
        part = min(max(value, 0.0), 1.0)
        return asin(sqrt((part * weight + 0.375) / (weight + 0.75)))
    size = log(1.0 + abs(value) / _SMALL)
    return size if value >= 0 else -size


def off_scale(take: str, scaled: float, weight: float, seconds: float) -> float:
    """Return the value that is at a place of the scale, see ``on_a_scale``."""
    if take == "rate":
        return max(exp(scaled) - 1.0, 0.0) / seconds
    if take == "ratio":
        part = sin(min(max(scaled, 0.0), pi / 2)) ** 2
        return min(max((part * (weight + 0.75) - 0.375) / weight, 0.0), 1.0)
    size = (exp(abs(scaled)) - 1.0) * _SMALL
    return size if scaled >= 0 else -size


def said(take: str, value: float, unit: str) -> str:
    """Return a value for people.

    >>> said("rate", 12.345, ""), said("ratio", 0.0421, ""), said("mean", 0.25, "s")
    ('12.35/s', '4.21 %', '0.25 s')
    """
    if take == "rate":
        return f"{value:.4g}/s"
    if take == "ratio":
        return f"{100 * value:.3g} %"
    return f"{value:.3g} {unit}".rstrip()
