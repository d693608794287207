"""``headrace explain``: what led to an alert of the detectors, worked out again from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import polars as pl

from flows.commands.failure import CommandFailed
from flows.commands.scoring_backtest import (
    HistoryChoice,
    changed,
    history_of,
    judged,
    moment,
    without_model,
    write_page,
)
from flows.commands.terminal import ago, console, printable, table, write_json
from flows.offline.backtest.alerts import AlertLife, lives
from flows.offline.backtest.judging import Found, Wanted
from flows.offline.backtest.pasts import life
from flows.settings import Settings
from operators.contracts.alert import rfc3339

__all__ = ["explain_alert"]

SCHEMA: Final = "headrace.explanation/v1"
_BEFORE, _AFTER = 8, 4
"""Windows that are shown before the incident began, and after it fired."""


def explain_alert(
    settings: Settings,
    choice: HistoryChoice,
    alert: str,
    *,
    changes: Sequence[str] = (),
    report: Path | None = None,
    cores: int = 0,
    as_json: bool = False,
) -> None:
    """Print the rollups, the band and the statistic that led to an alert.

    Args:
        settings: of scoring, as they were.
        choice: which history; it has to begin where the detectors' did.
        alert: its fingerprint, or the id of one of its events, or how that begins.
        changes: settings of scoring that were other, and ``model=VERSION``.
        report: a file for a page with a picture.
        cores: how many to use; 0 for all.
        as_json: print a document.

    Raises:
        CommandFailed: there is no such alert, or something can't be read or written.
    """
    history = history_of(settings, choice)
    others, trained = without_model(settings, changes)
    scoring = changed(settings.scoring, others, "--set")
    wanted = Wanted(pasts=True, trained=trained)
    run = judged(settings, history, scoring, "explaining", cores, wanted=wanted, quiet=as_json)
    found = _find(run, alert)
    past = run.pasts.get(life(found.event))
    if past is None:
        raise CommandFailed(
            f"{alert}: there are too many alerts in that history to keep what led to each: "
            f"give --set metrics={found.labels.get('metric', '')}"
        )
    rows = _around(past, found, history.window)
    if report is not None:
        write_page(report, _page(found, past, rows))
    if as_json:
        write_json(_document(found, rows, run), indent=True)
    else:
        _say(found, rows, run)
        if report is not None:
            console().print(f"\nThe picture is in {report}", soft_wrap=True)


def _find(run: Found, alert: str) -> AlertLife:
    ids = {life(event) for event, _ in run.events if event["id"].startswith(alert)}
    # What leads a cause is told with its members; each of those is explained, too.
    found = [
        one
        for one in (*lives(run.alone), *lives(run.events))
        if one.event["fingerprint"].startswith(alert) or life(one.event) in ids
    ]
    if not found:
        count = len(lives(run.events))
        raise CommandFailed(
            f"{alert}: none of the {count} alerts over that history has this fingerprint, or an "
            "event with this id: were the settings others, or the span of time?"
        )
    return sorted(found, key=lambda one: one.fired)[-1]


def _around(past: pl.DataFrame, found: AlertLife, window: int) -> pl.DataFrame:
    """Return the rollups from before the incident to after it fired."""
    first = (found.since - _BEFORE * window) / 1e9
    last = (found.fired + _AFTER * window) / 1e9
    return past.filter(pl.col("at") > first + window / 1e9, pl.col("at") <= last)


def _document(found: AlertLife, rows: pl.DataFrame, run: Found) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "alert": dict(found.event),
        "firedAt": rfc3339(found.fired),
        "resolvedAt": None if found.resolved is None else rfc3339(found.resolved),
        "seconds": found.lasts(run.ended) / 1e9,
        "rollups": [
            {**row, "at": rfc3339(round(row["at"] * 1e9))} for row in rows.iter_rows(named=True)
        ],
    }


def _say(found: AlertLife, rows: pl.DataFrame, run: Found) -> None:
    out = console()
    evidence = found.evidence
    lasted = ago(found.lasts(run.ended) / 1e9)
    until = f"resolved after {lasted}" if found.resolved else f"fires still, for {lasted}"
    facts = [
        ("what", printable(found.summary)),
        ("labels", printable(", ".join(f"{k}={v}" for k, v in sorted(found.labels.items())))),
        ("began", moment(found.since)),
        ("fired", f"{moment(found.fired)}, {until}"),
        ("by", f"{evidence.get('detector')}: {evidence.get('statistic')}"),
        ("score", f"{evidence.get('score') or 0.0:.3g}, an alert from 1 on"),
    ]
    for name, value in facts:
        out.print(f"{name:<8}{value}", soft_wrap=True)
    out.print()
    shown = table("end of window", "value", "expected", "lower", "upper", "score",
                  right=["value", "expected", "lower", "upper", "score"])  # fmt: skip
    for row in rows.iter_rows(named=True):
        numbers = [row[name] for name in ("value", "expected", "lower", "upper", "score")]
        marked = row["score"] is not None and row["score"] >= 1
        shown.add_row(
            moment(round(row["at"] * 1e9)),
            *("-" if number is None else f"{number:.4g}" for number in numbers),
            style="bold red" if marked else "",
        )
    out.print(shown, soft_wrap=True)


def _page(found: AlertLife, past: pl.DataFrame, rows: pl.DataFrame) -> str:
    # The templates are needed for this alone.
    from flows.offline.backtest.page import render_alert  # noqa: PLC0415

    return render_alert(found, past, rows)
