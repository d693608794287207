"""The pictures of the demo's report: a series with the fault, and the lives of the alerts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from flows.offline.pictures.charts import (
    LEFT,
    RIGHT,
    Chart,
    PictureMark,
    Scale,
    Span,
    series_chart,
    ticks,
)
from tests.demo.story import Fault, Story

__all__ = ["Chart", "Lifelines", "PictureMark", "fault_chart", "lifelines"]


@dataclass(frozen=True, slots=True)
class Lifelines:
    """The fault, every alert and every notification under one another, over the same time."""

    width: float
    height: float
    left: float
    bottom: float
    bars: tuple[tuple[PictureMark, Span], ...]
    told: tuple[PictureMark, ...]
    told_row: PictureMark
    fault: Span | None
    columns: tuple[PictureMark, ...]


def fault_chart(
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
    """Return the picture of one series; time is told in seconds from the fault.

    Args:
        past: as `tests.demo.watched.history` returns it.
        fault: shown as a shade.
        alerts, title, unit, span, size, limit: as in `series_chart`.
    """
    zero = fault.began if fault.began is not None else span[0]
    x = Scale(*span, LEFT, size[0] - RIGHT)
    ended = span[1] if fault.ended is None else fault.ended
    return series_chart(
        past,
        alerts,
        title=title,
        unit=unit,
        span=span,
        size=size,
        when=lambda at: f"{at - zero:+.0f} s",
        columns=_seconds(span, zero, x),
        limit=limit,
        shade=None if fault.began is None else (fault.began, ended),
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
    x = Scale(*span, left, width - RIGHT)
    bars = []
    if fault.began is not None:
        end = span[1] if fault.ended is None else fault.ended
        bars.append(("The fault", Span(x(fault.began), x(end) - x(fault.began), "", "fault")))
    for alert in story.alerts:
        end = span[1] if alert.resolved is None else alert.resolved
        says = f"{alert.service}: {alert.name}: fired {alert.fired - zero:.1f} s"
        kind = "open" if alert.resolved is None else "alert"
        bars.append((alert.name, Span(x(alert.fired), x(end) - x(alert.fired), says, kind)))
    placed = [
        (PictureMark(0, 20 + row * number, name), bar) for number, (name, bar) in enumerate(bars)
    ]
    below = 20 + row * len(bars)
    told = []
    for notification in story.notifications:
        statuses = [alert["status"] for alert in notification.body["alerts"]]
        kind = "firing" if "firing" in statuses else "resolved"
        says = f"{notification.at - zero:+.1f} s: " + ", ".join(
            f"{statuses.count(status)} {status}" for status in sorted(set(statuses))
        )
        told.append(PictureMark(x(notification.at), below, says, kind))
    return Lifelines(
        width=width,
        height=below + 46,
        left=left,
        bottom=below + 20,
        bars=tuple(placed),
        told=tuple(told),
        told_row=PictureMark(0, below, "Notifications"),
        fault=_shade(fault, x),
        columns=_columns(span, zero, x, below + 20),
    )


def _seconds(span: tuple[float, float], zero: float, x: Scale) -> list[tuple[float, str]]:
    about = max(3, round((x(span[1]) - x(span[0])) / 100))
    seconds = ticks(span[0] - zero, span[1] - zero, about)
    return [(zero + second, f"{second:+.0f} s" if second else "0") for second in seconds]


def _columns(span: tuple[float, float], zero: float, x: Scale, y: float) -> tuple[PictureMark, ...]:
    return tuple(PictureMark(x(at), y, says) for at, says in _seconds(span, zero, x))


def _shade(fault: Fault, x: Scale) -> Span | None:
    if fault.began is None:
        return None
    end = x.high if fault.ended is None else fault.ended
    return Span(x(fault.began), x(end) - x(fault.began))
