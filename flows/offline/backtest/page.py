"""The report of a backtest: one HTML file with everything in it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import polars as pl

from flows.offline.backtest.alerts import AlertLife
from flows.offline.backtest.comparing import Comparison
from flows.offline.backtest.outcome import BacktestOutcome
from flows.offline.backtest.pasts import Life, life
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
from flows.offline.pictures.pages import environment
from operators.contracts.durations import format_duration

__all__ = ["render", "render_alert", "render_shadow"]

_WIDTH: Final = 980.0
_DAY: Final = 86_400.0
_PICTURES: Final = 6
_LISTED: Final = 200


@dataclass(frozen=True, slots=True)
class Headline:
    """A number that is worth a large print."""

    value: str
    says: str


@dataclass(frozen=True, slots=True)
class Bars:
    """Alerts a day: a bar each, of one run or of two side by side."""

    width: float
    height: float
    bottom: float
    bars: tuple[tuple[PictureMark, Span], ...]
    rows: tuple[PictureMark, ...]
    columns: tuple[PictureMark, ...]
    left: float
    right: float


def render(
    source: str,
    outcomes: Sequence[BacktestOutcome],
    pasts: Sequence[Mapping[Life, pl.DataFrame]],
    comparison: Comparison | None,
    *,
    version: str,
    rows: Sequence[tuple[str, ...]],
) -> str:
    """Return the page.

    Args:
        source: what was read.
        outcomes: of one run, or of two.
        pasts: of each run, what series did around alerts.
        comparison: of the two.
        version: of Headrace.
        rows: the figures as texts: a name, and a value of each run.
    """
    first = outcomes[0]
    return (
        environment("flows.offline.backtest")
        .get_template("backtest.html")
        .render(
            shadow=False,
            source=source,
            title=_title(outcomes, comparison),
            first=first,
            outcomes=outcomes,
            comparison=comparison,
            window=format_duration(first.window),
            began=_moment(first.began / 1e9),
            ended=_moment(first.ended / 1e9),
            headlines=list(_headlines(outcomes, comparison)),
            rows=rows,
            bars=_bars(outcomes),
            groups=[
                (title, [_listed(alert, first.ended) for alert in alerts[:_LISTED]], len(alerts))
                for title, alerts in _groups(outcomes, comparison)
            ],
            pictures=list(_pictures(outcomes, pasts, comparison)),
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            version=version,
        )
    )


def render_shadow(
    found: Comparison,
    pasts: Sequence[Mapping[Life, pl.DataFrame]],
    *,
    version: str,
    rows: Sequence[tuple[str, ...]],
) -> str:
    """Return a page about a model in shadow and the one in force.

    Args:
        found: what each told, the one in force first.
        pasts: of each, what series did around its alerts; the band is that of the one in force.
        version: of Headrace.
        rows: the figures as texts: a name, and a value of each.
    """
    outcomes = [found.one, found.other]
    first = found.one
    return (
        environment("flows.offline.backtest")
        .get_template("backtest.html")
        .render(
            shadow=True,
            title=_title(outcomes, found),
            first=first,
            outcomes=outcomes,
            comparison=found,
            window=format_duration(first.window),
            began=_moment(first.began / 1e9),
            ended=_moment(first.ended / 1e9),
            headlines=[
                Headline(f"{first.series.height:,}", "series were judged"),
                *(
                    Headline(f"{len(each.alerts):,}", f"alerts of {each.title}")
                    for each in outcomes
                ),
            ],
            rows=rows,
            bars=_bars(outcomes),
            groups=[
                (title, [_listed(alert, first.ended) for alert in alerts[:_LISTED]], len(alerts))
                for title, alerts in _groups(outcomes, found)
            ],
            pictures=list(_pictures(outcomes, pasts, found)),
            made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
            version=version,
        )
    )


def render_alert(alert: AlertLife, past: pl.DataFrame, rows: pl.DataFrame) -> str:
    """Return a page about one alert.

    Args:
        alert: it.
        past: what its series did around it, as ``Pasts`` has it.
        rows: those of it that are listed.
    """
    evidence = alert.evidence
    facts = [(name, value) for name, value in sorted(alert.labels.items())]
    facts += [
        ("began", _moment(alert.since / 1e9)),
        ("fired", _moment(alert.fired / 1e9)),
        ("resolved", "not yet" if alert.resolved is None else _moment(alert.resolved / 1e9)),
        ("detector", str(evidence.get("detector"))),
        ("statistic", str(evidence.get("statistic"))),
    ]
    return (
        environment("flows.offline.backtest")
        .get_template("alert.html")
        .render(
            summary=alert.summary,
            chart=_chart(alert, past, (_WIDTH, 330.0)),
            facts=facts,
            rows=[_listed_row(row) for row in rows.iter_rows(named=True)],
        )
    )


def _listed_row(row: Mapping[str, Any]) -> dict[str, Any]:
    def text(name: str) -> str:
        return "-" if row[name] is None else f"{row[name]:.4g}"

    return {
        "at": _moment(row["at"]), "value": text("value"), "expected": text("expected"),
        "range": f"{text('lower')} to {text('upper')}", "score": text("score"),
        "anomalous": row["score"] is not None and row["score"] >= 1,
    }  # fmt: skip


def _title(outcomes: Sequence[BacktestOutcome], comparison: Comparison | None) -> str:
    first = outcomes[0]
    if comparison is None:
        number = len(first.alerts)
        if not number:
            return "No alert would have fired."
        return f"{number:,} alert{'' if number == 1 else 's'} would have fired."
    one, other = len(comparison.only_one), len(comparison.only_other)
    return (
        f"{len(comparison.both):,} alerts in both, {one:,} only with the first, "
        f"{other:,} only with the second."
    )


def _headlines(
    outcomes: Sequence[BacktestOutcome], comparison: Comparison | None
) -> Iterator[Headline]:
    first = outcomes[0]
    yield Headline(f"{first.series.height:,}", "series were judged")
    yield Headline(f"{first.rollups / 1e6:,.3g} M", f"rollups of {format_duration(first.window)}")
    if comparison is None:
        yield Headline(f"{first.alerts_per_series_month:.2g}", "alerts of a series in thirty days")
        yield Headline(f"{len(first.told or ()):,}", "notifications for receivers")
        return
    for number, outcome in zip(("first", "second"), outcomes, strict=True):
        yield Headline(f"{len(outcome.alerts):,}", f"alerts with the {number}: {outcome.title}")


def _groups(
    outcomes: Sequence[BacktestOutcome], comparison: Comparison | None
) -> list[tuple[str, Sequence[AlertLife]]]:
    if comparison is None:
        return [("Alerts", outcomes[0].alerts)]
    return [
        (f"Only with {comparison.one.title}", comparison.only_one),
        (f"Only with {comparison.other.title}", comparison.only_other),
        ("In both", [pair.one for pair in comparison.both]),
    ]


def _listed(alert: AlertLife, ended: int) -> dict[str, Any]:
    return {
        "fired": _moment(alert.fired / 1e9),
        "minutes": f"{alert.lasts(ended) / 60e9:,.1f}" + ("" if alert.resolved else "+"),
        "score": f"{alert.evidence.get('score') or 0:.2f}",
        "says": alert.summary,
    }


def _bars(outcomes: Sequence[BacktestOutcome]) -> Bars:
    height, bottom, top = 200.0, 176.0, 14.0
    first = outcomes[0]
    begin, end = first.began / 1e9 // _DAY * _DAY, first.ended / 1e9
    days = max(int(-(-(end - begin) // _DAY)), 1)
    counted = [
        Counter(int((alert.fired / 1e9 - begin) // _DAY) for alert in outcome.alerts)
        for outcome in outcomes
    ]
    most = max((max(each.values(), default=0) for each in counted), default=0) or 1
    x = Scale(0, days, LEFT, _WIDTH - RIGHT)
    y = Scale(0, most, bottom, top)
    share = (x(1) - x(0)) * 0.8 / len(outcomes)
    bars = []
    for number, each in enumerate(counted):
        for day, alerts in sorted(each.items()):
            at = x(day) + (x(1) - x(0)) * 0.1 + number * share
            says = f"{_moment(begin + day * _DAY)[:10]}: {alerts} alerts"
            bars.append(
                (
                    PictureMark(at, y(alerts), says),
                    Span(share, bottom - y(alerts), kind="one" if number == 0 else "other"),
                )
            )
    step = max(1, -(-days // 10))
    return Bars(
        width=_WIDTH, height=height, bottom=bottom, left=LEFT, right=_WIDTH - RIGHT,
        bars=tuple(bars),
        rows=tuple(PictureMark(LEFT, y(number), f"{number:g}") for number in ticks(0, most, 4)),
        columns=tuple(
            PictureMark(x(day + 0.5), bottom, _moment(begin + day * _DAY)[5:10])
            for day in range(0, days, step)
        ),
    )  # fmt: skip


def _pictures(
    outcomes: Sequence[BacktestOutcome],
    pasts: Sequence[Mapping[Life, pl.DataFrame]],
    comparison: Comparison | None,
) -> Iterator[tuple[str, list[Chart]]]:
    if comparison is None:
        chosen = [("The clearest alerts", outcomes[0].alerts, pasts[0])]
    else:
        chosen = [
            (f"Only with {comparison.one.title}", comparison.only_one, pasts[0]),
            (f"Only with {comparison.other.title}", comparison.only_other, pasts[-1]),
        ]
    for title, alerts, kept in chosen:
        charts = [_chart(alert, kept[life(alert.event)]) for alert in _clearest(alerts, kept)]
        if charts:
            yield title, charts


def _clearest(
    alerts: Sequence[AlertLife], kept: Mapping[Life, pl.DataFrame]
) -> list[AlertLife]:  # fmt: skip
    """Return those of the highest score, of as many metrics as there are."""
    there = [alert for alert in alerts if life(alert.event) in kept]
    there.sort(key=lambda alert: -(alert.evidence.get("score") or 0.0))
    seen: Counter[str] = Counter()
    ranked = []
    for place, alert in enumerate(there):
        metric = alert.labels.get("metric", "")
        ranked.append((seen[metric], place, alert))
        seen[metric] += 1
    return [alert for _, _, alert in sorted(ranked, key=lambda one: one[:2])[:_PICTURES]]


def _chart(
    alert: AlertLife, past: pl.DataFrame, size: tuple[float, float] = (480.0, 230.0)
) -> Chart:
    fired = alert.fired / 1e9
    marks = [(fired, "fired", "firing")]
    span = (float(past["at"].min() or fired), float(past["at"].max() or fired))  # type: ignore[arg-type]
    if alert.resolved is not None and alert.resolved / 1e9 <= span[1]:
        marks.append((alert.resolved / 1e9, "resolved", "resolved"))
    low, high = float(past["value"].min() or 0.0), float(past["value"].max() or 0.0)  # type: ignore[arg-type]
    columns = [(at, _moment(at)[11:19]) for at in _instants(span)]
    labels = {
        name: value
        for name, value in alert.labels.items()
        if name not in ("alertname", "severity", "metric")
    }
    return series_chart(
        past, marks, title=alert.labels.get("metric", ""), unit=", ".join(labels.values()),
        span=span, size=size, when=_moment, columns=columns,
        floor=0.0 if low >= 0 and low < 0.5 * high else low, every=6,
        shade=(alert.since / 1e9, min((alert.ended or alert.fired) / 1e9, span[1])),
    )  # fmt: skip


def _instants(span: tuple[float, float]) -> list[float]:
    """Return a few round instants in a span of time."""
    length = span[1] - span[0]
    steps = (10, 30, 60, 300, 600, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 604_800)
    step = next((step for step in steps if length / step <= 5), steps[-1])
    first = -(-span[0] // step) * step
    return [first + number * step for number in range(int((span[1] - first) // step) + 1)]


def _moment(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}"
