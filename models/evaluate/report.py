"""What an evaluation found, as plain data and as text."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.evaluate.events import Alerts, alerts
from models.evaluate.labelled import Labelled
from models.evaluate.nab import PROFILES, nab

__all__ = ["report", "text"]


def report(
    series: Sequence[Labelled], scores: Sequence[NDArray[np.float64]], threshold: float | None
) -> dict[str, Any]:
    """Return the figures of all series and of each category.

    Args:
        series: labelled ones.
        scores: of each series, a row each.
        threshold: a frozen one; if left out, for each profile the one that is best for these
            series, which flatters: it is how NAB's own table is made.
    """
    found: dict[str, Any] = {"series": len(series), "threshold": threshold, "profiles": {}}
    for name, profile in PROFILES.items():
        best = nab(series, scores, profile, threshold)
        found["profiles"][name] = {
            "score": round(best.score, 2),
            "threshold": _number(best.threshold),
            **_figures(alerts(series, scores, best.threshold)),
        }
    at = found["profiles"]["standard"]["threshold"]
    standard = threshold if threshold is not None else at
    found["categories"] = {}
    for category in sorted({one.category for one in series}):
        chosen = [at for at, one in enumerate(series) if one.category == category]
        part, given = [series[at] for at in chosen], [scores[at] for at in chosen]
        level = np.inf if standard is None else standard
        found["categories"][category] = {
            "score": round(nab(part, given, PROFILES["standard"], level).score, 2),
            **_figures(alerts(part, given, level)),
        }
    return found


def _figures(found: Alerts) -> dict[str, Any]:
    return {
        "windows": found.windows,
        "detected": found.detected,
        "recall": _number(found.recall),
        "precision": _number(found.precision),
        "events": found.events,
        "false_events": found.false_events,
        "false_rows_per_series_day": _number(found.false_rows_per_day),
        "false_events_per_series_day": _number(found.false_events_per_day),
        "false_events_per_series_month": _number(found.false_events_per_month),
    }


def _number(value: float) -> float | None:
    return round(float(value), 6) if isfinite(value) else None


def text(found: dict[str, Any]) -> str:
    """Return a table of the figures."""
    frozen = found["threshold"]
    how = "the best for each profile on these series" if frozen is None else f"{frozen:g}, frozen"
    lines = [
        f"{found['series']} series, threshold: {how}",
        "",
        f"{'':32}{'score':>8}{'at':>10}{'detected':>10}{'recall':>8}{'precision':>10}"
        f"{'false rows':>12}{'false events':>14}{'a month':>9}",
        f"{'':32}{'':>8}{'':>10}{'':>10}{'':>8}{'':>10}{'/series day':>12}{'/series day':>14}",
    ]
    groups = [("profiles", ""), ("categories", "  ")]
    for group, indent in groups:
        for name, figures in found[group].items():
            detected = f"{figures['detected']}/{figures['windows']}"
            lines.append(
                f"{indent + name:32}{figures['score']:8.2f}{_text(figures.get('threshold')):>10}"
                f"{detected:>10}{_text(figures['recall']):>8}{_text(figures['precision']):>10}"
                f"{_text(figures['false_rows_per_series_day']):>12}"
                f"{_text(figures['false_events_per_series_day']):>14}"
                f"{_text(figures['false_events_per_series_month']):>9}"
            )
    return "\n".join(lines)


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"
