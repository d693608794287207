"""What a backtest of rules has to say, as a document."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from operators.rules.backtest import Fired, RuleHistory

__all__ = ["compared", "report"]


def report(outcome: RuleHistory, seconds: float) -> dict[str, Any]:
    """Return ``headrace.backtest/v1``.

    Args:
        outcome: of the rules.
        seconds: that it took.
    """
    by_rule: dict[tuple[str, str, str], list[Fired]] = {}
    for rule in outcome.rules:
        by_rule.setdefault(rule, [])
    for one in outcome.fired:
        by_rule.setdefault((one.file, one.group, one.alert), []).append(one)
    return {
        "schema": "headrace.backtest/v1",
        "begin": text_of(outcome.begin),
        "end": text_of(outcome.end),
        "samples": outcome.samples,
        "evaluations": outcome.evaluations,
        "seconds": seconds,
        "rules": [
            _rule(rule, fired, outcome.end) for rule, fired in by_rule.items()
        ],
        "failures": [
            {"file": file, "group": group, "rule": rule, "times": times, "reason": reason}
            for (file, group, rule), (times, reason) in sorted(outcome.failures.items())
        ],
    }  # fmt: skip


def _rule(rule: tuple[str, str, str], fired: list[Fired], end: float) -> dict[str, Any]:
    file, group, alert = rule
    lengths = [(end if one.end is None else one.end) - one.start for one in fired]
    return {
        "file": file,
        "group": group,
        "alert": alert,
        "fired": len(fired),
        "alerts": len({tuple(sorted(one.labels.items())) for one in fired}),
        "firing_seconds": sum(lengths),
        "longest_seconds": max(lengths, default=0),
        "firings": [_firing(one) for one in fired],
    }


def _firing(one: Fired) -> dict[str, Any]:
    return {
        "labels": one.labels,
        "annotations": one.annotations,
        "startsAt": text_of(one.start),
        "endsAt": None if one.end is None else text_of(one.end),
        "value": one.value,
    }


def compared(here: RuleHistory, there: RuleHistory) -> dict[str, Any]:
    """Return which alerts fired here only, there only, and in both at the same time.

    Alerts are the same if their labels are, wherever their rules stand.
    """

    def spans(fired: Iterable[Fired]) -> dict[Any, Fired]:
        return {(tuple(sorted(one.labels.items())), one.start, one.end): one for one in fired}

    mine, theirs = spans(here.fired), spans(there.fired)
    return {
        "only_here": [_firing(one) for key, one in mine.items() if key not in theirs],
        "only_there": [_firing(one) for key, one in theirs.items() if key not in mine],
        "same": len(mine.keys() & theirs.keys()),
    }


def text_of(seconds: float) -> str:
    """Return a time in UTC, to the millisecond."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
