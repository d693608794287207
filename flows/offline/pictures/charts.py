"""The geometry of pictures of series: where everything is, in the units of an SVG's view box."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

__all__ = [
    "LEFT",
    "RIGHT",
    "Chart",
    "PictureMark",
    "Scale",
    "Span",
    "path",
    "series_chart",
    "ticks",
]

LEFT: Final = 46.0
RIGHT: Final = 14.0
_TOP: Final = 26.0
_BOTTOM: Final = 24.0


@dataclass(frozen=True, slots=True)
class PictureMark:
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
    happened to alerts, `shade` a time to point out.
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
    dots: tuple[PictureMark, ...]
    rows: tuple[PictureMark, ...]
    columns: tuple[PictureMark, ...]
    shade: Span | None
    marks: tuple[PictureMark, ...]


class Scale:
    """Places numbers between two ends of an axis: from `low` to `high`, from `start` to `end`."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high = low, high
        self._start = start
        self._factor = (end - start) / ((high - low) or 1.0)

    def __call__(self, number: float) -> float:
        """Return the place of a number."""
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
    alerts: Sequence[tuple[float, str, str]],
    *,
    title: str,
    unit: str,
    span: tuple[float, float],
    size: tuple[float, float],
    when: Callable[[float], str],
    columns: Sequence[tuple[float, str]],
    limit: float = math.inf,
    floor: float = 0.0,
    shade: tuple[float, float] | None = None,
    every: int = 1,
) -> Chart:
    """Return the picture of one series.

    Args:
        past: `at` (an instant), `value`, `score`, `expected`, `lower` and `upper`, in the order
            of time; null where there is none.
        alerts: what happened when: an instant, what to say, and the kind of mark.
        title, unit: what the numbers are.
        span: first and last instant, in seconds since the Unix epoch.
        size: width and height.
        when: says an instant.
        columns: instants on the axis of time, and what is said of each.
        limit: the series' highest possible value.
        floor: where the axis of values begins, if no value is lower.
        shade: from when to when there is something to point out.
        every: anomalous rollups have a dot, and of the others every so-manieth.
    """
    width, height = size
    x = Scale(*span, LEFT, width - RIGHT)
    # What was expected matters as much as what came, but must not flatten it.
    peak = float(past["value"].max() or 0.0)  # type: ignore[arg-type]
    ceiling = float(past["upper"].max() or 0.0)  # type: ignore[arg-type]
    least = min(float(past["value"].min() or 0.0), floor)  # type: ignore[arg-type]
    top = min(max(peak, min(ceiling, 1.5 * peak)) * 1.15, 1.04 * limit) or 1.0
    y = Scale(least, max(top, least + 1e-9), height - _BOTTOM, _TOP)
    judged = past.drop_nulls("upper").with_columns(
        pl.col("upper").clip(least, min(top, limit)), pl.col("lower").clip(least, top)
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
        left=LEFT,
        right=width - RIGHT,
        band=path([*upper, *reversed(lower)]) + "Z" if upper else "",
        expected=path(middle),
        line=path(line),
        dots=tuple(_dots(known, x, y, when, unit, every)),
        rows=tuple(PictureMark(LEFT, y(value), f"{value:g}") for value in ticks(least, top, 4)),
        columns=tuple(PictureMark(x(at), height - _BOTTOM, says) for at, says in columns),
        shade=None if shade is None else Span(x(shade[0]), x(shade[1]) - x(shade[0])),
        marks=tuple(PictureMark(x(at), _TOP, says, kind) for at, says, kind in alerts),
    )


def _dots(
    past: pl.DataFrame, x: Scale, y: Scale, when: Callable[[float], str], unit: str, every: int
) -> list[PictureMark]:
    dots = []
    for number, row in enumerate(past.iter_rows(named=True)):
        is_anomalous = row["score"] is not None and row["score"] >= 1
        if number % every and not is_anomalous:
            continue
        says = f"{when(row['at'])}: {row['value']:.3g} {unit}"
        kind = "learning"
        if row["score"] is not None:
            if row["lower"] is not None:
                says += f", expected {row['lower']:.3g} to {row['upper']:.3g}"
            kind = "anomalous" if is_anomalous else "normal"
        dots.append(PictureMark(x(row["at"]), y(row["value"]), says, kind))
    return dots


def path(points: Sequence[tuple[float, float]]) -> str:
    """Return the `d` of a path through points."""
    return "".join(f"{'L' if number else 'M'}{x:g} {y:g}" for number, (x, y) in enumerate(points))
