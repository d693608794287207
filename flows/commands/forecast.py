"""``headrace forecast``: when series cross their limits, the most urgent first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import orjson

from flows.commands.failure import USAGE, CommandFailed
from flows.commands.scoring_backtest import HistoryChoice, history_of
from flows.commands.terminal import ago, console, printable, table, write_json
from flows.commands.topic_values import last_values
from flows.offline.forecasting.forecast import crossing, forecast
from flows.offline.forecasting.steps import Past, pasts
from flows.offline.forecasting.telling import (
    KIND,
    LimitAhead,
    forecast_event,
    forecast_labels,
    forecast_rollups,
)
from flows.offline.history.base import BadHistory
from flows.process.redaction import Redaction
from flows.settings import Scoring, Settings
from operators.contracts.alert import decode_event, fingerprint, rfc3339
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.durations import DurationError, format_duration, parse_duration
from operators.contracts.events import event_frame
from operators.contracts.frames import shard_of
from operators.scoring.bounds import nature
from sinks.base import Unavailable
from sinks.kafka import KafkaDestination, alert_messages, batch_messages

__all__ = ["forecast_capacity"]

SCHEMA: Final = "headrace.forecast/v1"
_DAY: Final = 86_400 * 10**9
_LIMIT: Final = re.compile(r"(.+?)([<>])(-?[0-9.]+(?:[eE][+-]?\d+)?)")
_FURTHEST: Final = 2_000
_SHOWN: Final = 30


class _Limit(NamedTuple):
    value: float
    above: bool


def _urgency(one: LimitAhead) -> tuple[float, float, float, str]:
    """Return what sorts the most urgent first; then what comes nearest to its limit."""
    never = float("inf")
    likely, earliest = one.crossing.likely, one.crossing.earliest
    far = abs(one.value - float(one.forecast.expected[-1])) / (abs(one.value) or 1)
    return (
        never if likely is None else likely,
        never if earliest is None else earliest,
        far,
        one.past.facts["name"] + one.past.facts["labels"],
    )


def forecast_capacity(
    settings: Settings,
    choice: HistoryChoice,
    *,
    limits: Sequence[str] = (),
    horizon: str = "7d",
    step: str = "1h",
    publish: bool = False,
    within: str = "3d",
    as_json: bool = False,
) -> None:
    """Print when series cross their limits.

    A limit is given, or known: a utilization has one of 1, a percentage one of 100.

    Args:
        settings: which metrics there are, and where the lake is.
        choice: which history.
        limits: ``METRIC>VALUE`` or ``METRIC<VALUE``; the metric is a regular expression.
        horizon: how far to look ahead.
        step: of the forecast.
        publish: write the forecasts to the rollups topic, and events to the alerts topic.
        within: how near a limit has to be for an alert.
        as_json: print a document, with the whole forecast of each series.

    Raises:
        CommandFailed: it can't be read, an option is wrong, or the brokers do not confirm.
    """
    near = _duration(within, "--alert-within")
    length, ahead = _durations(step, horizon)
    known = [_limit(text) for text in limits]
    history = history_of(settings, choice)
    every = Scoring(metrics=".*", ignore="")
    season = _DAY // length if length < _DAY and _DAY % length == 0 else 1
    found: list[LimitAhead] = []
    short = 0
    try:
        for past in pasts(history, every, length):
            limit = _limit_of(past, known)
            if limit is None:
                continue
            guess = forecast(past.values, season, ahead)
            if guess is None:
                short += 1
                continue
            when = crossing(guess, limit.value, above=limit.above)
            found.append(LimitAhead(past, guess, when, limit.value, limit.above, length))
    except BadHistory as error:
        raise CommandFailed(str(error)) from None
    if not found and not short:
        raise CommandFailed(
            f"{history.source}: no series has a limit: give one, as --limit 'disk.used>1e12'"
        )
    found.sort(key=_urgency)
    if publish:
        _publish(settings, found, length, near)
    if as_json:
        write_json(_document(found, short, length), indent=True)
    else:
        _say(found, short, length, horizon)


def _publish(settings: Settings, found: Sequence[LimitAhead], step: int, near: int) -> None:
    """Write what is forecast, and what is to be said of limits that are near.

    Raises:
        CommandFailed: a topic can't be read, or the brokers do not confirm.
    """
    # Only for these is there a bucket in InfluxDB.
    windows = [window for window in settings.rollups.windows if step % window == 0]
    if not windows:
        raise CommandFailed(
            f"--step: {format_duration(step)} is no multiple of one of rollups.windows", USAGE
        )
    said = last_values(settings, settings.topics.alerts)
    firing = [decode_event(value) for value in said.values() if b'"forecast"' in value]
    known = {
        event["fingerprint"]: event
        for event in firing
        if event["kind"] == KIND and event["status"] == "firing"
    }
    events, frames = [], []
    for one in found:
        frame = forecast_rollups(one.past, one.forecast, step, max(windows))
        frames.append(
            (int(shard_of(frame["series"].to_numpy()[:1], settings.rollups.shards)[0]), frame)
        )
        labels = forecast_labels(one.past, settings.scoring.severity)
        event = forecast_event(one, near, labels, known.get(fingerprint(labels)))
        if event is not None:
            events.append((event, one.past.ends))
    topics = settings.topics
    rollups = batch_messages(frames, ROLLUP_BATCHES, topics.rollups, topics.partitions)
    alerts = alert_messages(event_frame(events), topics.alerts)
    try:
        if rollups is not None:
            KafkaDestination(settings.kafka, compressed=True).write(rollups)
        KafkaDestination(settings.kafka).write(alerts)
    except Unavailable as error:
        raise CommandFailed(Redaction(settings)(str(error))) from None


def _duration(text: str, option: str) -> int:
    try:
        return parse_duration(text)
    except DurationError as error:
        raise CommandFailed(f"{option}: {error}", USAGE) from None


def _durations(step: str, horizon: str) -> tuple[int, int]:
    length, whole = _duration(step, "--step"), _duration(horizon, "--horizon")
    if not 0 < length <= whole or whole // length > _FURTHEST:
        raise CommandFailed(
            f"--horizon: {horizon} is not from 1 to {_FURTHEST} steps of {step}", USAGE
        )
    return length, whole // length


def _limit(text: str) -> tuple[re.Pattern[str], _Limit]:
    fault = f"--limit: \"{text}\" is no limit (write 'METRIC>VALUE' or 'METRIC<VALUE')"
    parts = _LIMIT.fullmatch(text.replace(" ", ""))
    if parts is None:
        raise CommandFailed(fault, USAGE)
    try:
        return re.compile(parts[1]), _Limit(float(parts[3]), parts[2] == ">")
    except (ValueError, re.error):
        raise CommandFailed(fault, USAGE) from None


def _limit_of(past: Past, known: Sequence[tuple[re.Pattern[str], _Limit]]) -> _Limit | None:
    name = past.facts["name"]
    for pattern, limit in known:
        if pattern.fullmatch(name):
            return limit
    largest = nature(name, past.facts["unit"] or "").largest
    return _Limit(largest, above=True) if largest < float("inf") else None


def _document(found: Sequence[LimitAhead], short: int, step: int) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "step": format_duration(step),
        "too_short": short,
        "series": [
            {
                "name": one.past.facts["name"],
                "labels": orjson.loads(one.past.facts["labels"]),
                "tenant": one.past.facts["tenant"],
                "since": rfc3339(one.past.ends),
                "now": float(one.past.values[-1]),
                "limit": one.value,
                "from": "below" if one.above else "above",
                "crosses": dict(one.instants),
                "method": one.forecast.method,
                "error": one.forecast.error,
                "error_of_last_value": one.forecast.error_of_last,
                "error_of_last_season": one.forecast.error_of_season,
                "expected": one.forecast.expected.tolist(),
                "lower": one.forecast.lower.tolist(),
                "upper": one.forecast.upper.tolist(),
            }
            for one in found
        ],
    }


def _say(found: Sequence[LimitAhead], short: int, step: int, horizon: str) -> None:
    out = console()
    coming = [one for one in found if one.crossing.earliest is not None]
    if coming:
        shown = table("series", "now", "limit", "reached", "from", "to", right=["now", "limit"])
        for one in coming[:_SHOWN]:
            when = one.crossing
            says = "not likely" if when.likely is None else _in(when.likely, one, step)
            latest = f"after {horizon}" if when.latest is None else _moment(when.latest, one, step)
            shown.add_row(
                _named(one), f"{one.past.values[-1]:.4g}", f"{one.value:.4g}", says,
                _moment(when.earliest or 0.0, one, step), latest,
            )  # fmt: skip
        out.print(shown, soft_wrap=True)
        if len(coming) > _SHOWN:
            out.print(f"and {len(coming) - _SHOWN} more: see --json")
    more = f"; {short} have too short a past" if short else ""
    out.print(
        f"\n{len(coming)} of {len(found)} series with a limit may reach it within {horizon}{more}. "
        "Of ten values nine lie in the interval.",
        soft_wrap=True,
    )


def _in(steps: float, one: LimitAhead, step: int) -> str:
    return f"in {ago(steps * step / 1e9)}, {_moment(steps, one, step)}"


def _moment(steps: float, one: LimitAhead, step: int) -> str:
    return f"{datetime.fromtimestamp((one.past.ends + steps * step) / 1e9, UTC):%Y-%m-%d %H:%M}"


def _named(one: LimitAhead) -> str:
    labels = orjson.loads(one.past.facts["labels"])
    said = ", ".join(f"{name}={value}" for name, value in labels.items())
    return printable(f"{one.past.facts['name']} ({said})" if said else one.past.facts["name"])
