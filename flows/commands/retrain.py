"""``headrace retrain``: detectors that have learned what is stored, as an artefact."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.text import Text

from flows.commands.failure import CommandFailed
from flows.commands.scoring_backtest import HistoryChoice, changed, history_of, judged
from flows.commands.terminal import console, count, table, write_json
from flows.offline.backtest.judging import Found, Wanted
from flows.offline.forecasting.steps import pasts
from flows.offline.history.base import BadHistory, History
from flows.offline.training.choosing import LEARNED, Candidate, choose, score
from flows.offline.training.incidents import BadIncidents, KnownIncident, missed, read_incidents
from flows.offline.training.seasonal import HOUR, NAME, BadTraining, baselines, span
from flows.promotions import registry_of
from flows.settings import Scoring, Settings
from flows.version import version as version_of_headrace
from models.artefact import Trained, write_artefact
from operators.contracts.alert import rfc3339
from operators.contracts.clock import SystemClock

__all__ = ["retrain"]

SCHEMA: Final = "headrace.retrain/v1"
_SLIDER: Final = ("0.1", "0.25", "0.5", "1", "2", "5")
"""What is tried of ``alerts_per_series_month`` where nobody names candidates."""


@dataclass(frozen=True, slots=True)
class _Made:
    version: str
    path: str
    bytes: int
    series: int


def retrain(
    settings: Settings,
    choice: HistoryChoice,
    *,
    candidates: Sequence[str] = (),
    incidents: Path | None = None,
    cores: int = 0,
    as_json: bool = False,
) -> None:
    """Train detectors on a history, and put the model into the registry; it is not promoted.

    Args:
        settings: of scoring, and where models are.
        choice: which history.
        candidates: settings of scoring to choose from, each ``key=value``, several with ``;``.
        incidents: a file of known ones; those that were reported as missed count, too.
        cores: how many to use; 0 for all.
        as_json: print a document.

    Raises:
        CommandFailed: something can't be read or written, or a setting is wrong.
    """
    history = history_of(settings, choice)
    known = [*_incidents(incidents), *missed(registry_of(settings).reports())]
    tried = [
        _try(settings, history, title, known, cores, quiet=as_json)
        for title in candidates or [f"alerts_per_series_month={one}" for one in _SLIDER]
    ]
    chosen = choose(tried, settings.scoring.alerts_per_series_month)
    run = judged(
        settings, history, chosen.settings, f"training with {chosen.title}", cores,
        wanted=Wanted(states=True, trained=_fitted(history, chosen.settings, 1.0)), quiet=as_json,
    )  # fmt: skip
    made = _write(settings, history, chosen, run)
    if as_json:
        write_json(_document(tried, chosen, made), indent=True)
    else:
        _say(settings, tried, chosen, made)


def _try(
    settings: Settings, history: History, title: str, known: Sequence[KnownIncident], cores: int,
    *, quiet: bool,
) -> Candidate[Scoring]:  # fmt: skip
    changes = [change.strip() for change in title.split(";")]
    scoring = changed(settings.scoring, changes, "--candidate")
    wanted = Wanted(trained=_fitted(history, scoring, LEARNED))
    run = judged(settings, history, scoring, title, cores, wanted=wanted, quiet=quiet)
    return Candidate(title, scoring, score(run, history.window, known))


def _fitted(history: History, scoring: Scoring, part: float) -> Trained | None:
    """Return what a detector that is fitted offline knows after a part of the history; else None.

    Raises:
        CommandFailed: it can't be fitted.
    """
    if scoring.detector != NAME:
        return None
    try:
        hours = list(pasts(history, scoring, HOUR))
        began, ended = span(hours) if hours else (0, 0)
        states = baselines(hours, began + round((ended - began) * part))
    except (BadHistory, BadTraining) as error:
        raise CommandFailed(str(error)) from None
    kind = {"detector": NAME, "options": scoring.options, "features": [],
            "alerts": scoring.alerts_per_series_month, "window": history.window}  # fmt: skip
    return Trained({"version": "", **kind}, states)


def _incidents(path: Path | None) -> list[KnownIncident]:
    try:
        return [] if path is None else read_incidents(path)
    except BadIncidents as error:
        raise CommandFailed(f"--incidents: {error}") from None


def _write(
    settings: Settings, history: History, chosen: Candidate[Scoring], run: Found
) -> _Made:  # fmt: skip
    scoring = chosen.settings
    facts: dict[str, Any] = {
        "detector": scoring.detector,
        "options": scoring.options,
        "features": list(scoring.features),
        "alerts": scoring.alerts_per_series_month,
        "window": history.window,
        "since": run.began,
        "until": run.ended,
        "rollups": int(run.series["rollups"].sum()),
        "validation": chosen.score.document(),
        "settings": scoring.model_dump(mode="json", exclude={"enabled", "window"}),
        "source": history.source,
        "headrace": version_of_headrace(),
    }
    registry = registry_of(settings)
    created = rfc3339(SystemClock().now())
    version, content = write_artefact(facts, run.states, created=created, key=registry.key)
    try:
        path = registry.put(version, content)
    except OSError as error:
        raise CommandFailed(f"{registry.place}: cannot be written: {error.strerror}") from None
    return _Made(version, path, len(content), run.states.height)


def _document(
    tried: Sequence[Candidate[Scoring]], chosen: Candidate[Scoring], made: _Made
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "candidates": [{"title": one.title, **one.score.document()} for one in tried],
        "chosen": chosen.title,
        "version": made.version,
        "path": made.path,
        "bytes": made.bytes,
        "series": made.series,
    }


def _say(
    settings: Settings, tried: Sequence[Candidate[Scoring]], chosen: Candidate[Scoring], made: _Made
) -> None:  # fmt: skip
    out = console()
    shown = table("candidate", "alerts of a series in 30 days", "by span", "incidents told",
                  right=["alerts of a series in 30 days", "incidents told"])  # fmt: skip
    for one in tried:
        style = "bold" if one is chosen else ""
        shown.add_row(
            Text(one.title, style=style),
            f"{one.score.rate:.3g}",
            ", ".join(f"{rate:.3g}" for rate in one.score.rates),
            f"{one.score.told} of {one.score.incidents}" if one.score.incidents else "-",
        )
    out.print(shown)
    wanted = settings.scoring.alerts_per_series_month
    kept = "" if chosen.score.rate <= wanted else ", the calmest: none keeps what is wanted"
    out.print(
        f"\nchosen: {chosen.title}{kept} (wanted: at most {wanted:g})\n"
        f"model {made.version}: {count(made.series)} series, {count(made.bytes)}B, in {made.path}\n"
        f"in force after: headrace models promote {made.version}",
        soft_wrap=True,
    )
