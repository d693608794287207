"""The geometry of the report's pictures: where everything is, in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from flows.demo.story import Fault, Story

__all__ = ["Chart", "Lifelines", "Mark", "lifelines", "series_chart"]

_LEFT: Final = 46.0
_RIGHT: Final = 14.0
_TOP: Final = 26.0
_BOTTOM: Final = 24.0


@dataclass(frozen=True, slots=True)
class Mark:
    """A place in a picture, and what is said about it; `kind` chooses its look."""

    x: float
    y: float
    says: str
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time in a picture."""

    x: float
    width: float
    says: str = ""
    kind: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A series over time, with what was expected of it.

    `band`, `expected` and `line` are the `d` of a path. `dots` has every rollup, `marks` what
    happened to alerts.
    """

    title: str
    unit: str
    width: float
    height: float
    top: float
    bottom: float
    left: float
    right: float
    band: str
    expected: str
    line: str
    dots: tuple[Mark, ...]
    rows: tuple[Mark, ...]
    columns: tuple[Mark, ...]
    fault: Span | None
    marks: tuple[Mark, ...]


@dataclass(frozen=True, slots=True)
class Lifelines:
    """The fault, every alert and every notification under one another, over the same time."""

    width: float
    height: float
    left: float
    bottom: float
    bars: tuple[tuple[Mark, Span], ...]
    told: tuple[Mark, ...]
    told_row: Mark
    fault: Span | None
    columns: tuple[Mark, ...]


class _Scale:
    """Places numbers between two ends of an axis."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low, high
        self._start = start
        self._factor = (end - start) / ((high - low) or 1.0)

    def __call__(self, number: float) -> float:
        return round(self._start + (number - self.low) * self._factor, 1)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return round numbers in the range, roughly as many as asked for.

    >>> ticks(0, 87, 4)
    [0.0, 20.0, 40.0, 60.0, 80.0]
    """
    rough = (high - low) / about or 1.0
    size = 10 ** math.floor(math.log10(rough))
    step = min((1, 2, 5, 10), key=lambda factor: abs(factor * size - rough)) * size
    first = math.ceil(low / step)
    return [round(number * step, 10) for number in range(first, math.floor(high / step) + 1)]


def series_chart(
    past: pl.DataFrame,
    fault: Fault,
    alerts: Sequence[tuple[float, str, str]],
    *,
    title: str,
    unit: str,
    span: tuple[float, float],
    size: tuple[float, float],
    limit: float = math.inf,
) -> Chart:
    """Return the picture of one series.

    Args:
        past: as `flows.demo.watched.history` returns it.
        fault: shown as a shade.
        alerts: what happened when: an instant, what to say, and the kind of mark.
        title, unit: what the numbers are.
        span: first and last instant, in seconds since the Unix epoch.
        size: width and height.
        limit: the series' highest possible value.
    """
    width, height = size
    zero = fault.began if fault.began is not None else span[0]
    x = _Scale(*span, _LEFT, width - _RIGHT)
    # What was expected matters as much as what came, but must not flatten it.
    peak = float(past["value"].max() or 0.0)  # type: ignore[arg-type]
    ceiling = float(past["upper"].max() or 0.0)  # type: ignore[arg-type]
    top = min(max(peak, min(ceiling, 1.5 * peak)) * 1.15, 1.04 * limit) or 1.0
    y = _Scale(0.0, top, height - _BOTTOM, _TOP)
    judged = past.drop_nulls("upper").with_columns(
        pl.col("upper").clip(upper_bound=min(top, limit))
    )
    upper = [(x(at), y(value)) for at, value in judged.select("at", "upper").iter_rows()]
    lower = [(x(at), y(value)) for at, value in judged.select("at", "lower").iter_rows()]
    middle = [(x(at), y(value)) for at, value in judged.select("at", "expected").iter_rows()]
    known = past.drop_nulls("value")
    line = [(x(at), y(value)) for at, value in known.select("at", "value").iter_rows()]
    return Chart(
        title=title,
        unit=unit,
        width=width,
        height=height,
        top=_TOP,
        bottom=height - _BOTTOM,
        left=_LEFT,
        right=width - _RIGHT,
        band=_path([*upper, *reversed(lower)]) + "Z" if upper else "",
        expected=_path(middle),
        line=_path(line),
        dots=tuple(_dots(known, x, y, zero, unit)),
        rows=tuple(Mark(_LEFT, y(value), f"{value:g}") for value in ticks(0, top, 4)),
        columns=_columns(span, zero, x, height - _BOTTOM),
        fault=_shade(fault, x),
        marks=tuple(Mark(x(at), _TOP, says, kind) for at, says, kind in alerts),
    )


def lifelines(story: Story, fault: Fault, *, span: tuple[float, float], width: float) -> Lifelines:
    """Return the picture of the fault, the alerts and the notifications.

    Args:
        story: what happened.
        fault: when there was cause for it.
        span: first and last instant, in seconds since the Unix epoch.
        width: of the picture.
    """
    left, row = 250.0, 30.0
    zero = fault.began if fault.began is not None else span[0]
    x = _Scale(*span, left, width - _RIGHT)
    bars = []
    if fault.began is not None:
        end = span[1] if fault.ended is None else fault.ended
        bars.append(("The fault", Span(x(fault.began), x(end) - x(fault.began), "", "fault")))
    for alert in story.alerts:
        end = span[1] if alert.resolved is None else alert.resolved
        says = f"{alert.service}: {alert.name}: fired {alert.fired - zero:.1f} s"
        kind = "open" if alert.resolved is None else "alert"
        bars.append((alert.name, Span(x(alert.fired), x(end) - x(alert.fired), says, kind)))
    placed = [(Mark(0, 20 + row * number, name), bar) for number, (name, bar) in enumerate(bars)]
    below = 20 + row * len(bars)
    told = []
    for notification in story.notifications:
        statuses = [alert["status"] for alert in notification.body["alerts"]]
        kind = "firing" if "firing" in statuses else "resolved"
        says = f"{notification.at - zero:+.1f} s: " + ", ".join(
            f"{statuses.count(status)} {status}" for status in sorted(set(statuses))
        )
        told.append(Mark(x(notification.at), below, says, kind))
    return Lifelines(
        width=width,
        height=below + 46,
        left=left,
        bottom=below + 20,
        bars=tuple(placed),
        told=tuple(told),
        told_row=Mark(0, below, "Notifications"),
        fault=_shade(fault, x),
        columns=_columns(span, zero, x, below + 20),
    )


def _dots(past: pl.DataFrame, x: _Scale, y: _Scale, zero: float, unit: str) -> list[Mark]:
    dots = []
    for row in past.iter_rows(named=True):
        says = f"{row['at'] - zero:+.0f} s: {row['value']:.3g} {unit}"
        kind = "learning"
        if row["score"] is not None:
            says += f", expected {row['lower']:.3g} to {row['upper']:.3g}"
            kind = "anomalous" if row["score"] >= 1 else "normal"
        dots.append(Mark(x(row["at"]), y(row["value"]), says, kind))
    return dots


def _columns(span: tuple[float, float], zero: float, x: _Scale, y: float) -> tuple[Mark, ...]:
    about = max(3, round((x(span[1]) - x(span[0])) / 100))
    seconds = ticks(span[0] - zero, span[1] - zero, about)
    return tuple(
        Mark(x(zero + second), y, f"{second:+.0f} s" if second else "0") for second in seconds
    )


def _shade(fault: Fault, x: _Scale) -> Span | None:
    if fault.began is None:
        return None
    end = x.high if fault.ended is None else fault.ended
    return Span(x(fault.began), x(end) - x(fault.began))


def _path(points: Sequence[tuple[float, float]]) -> str:
    return "".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
