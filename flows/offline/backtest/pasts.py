"""What a series did around its alerts, kept for pictures while a history is judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from operators.contracts.alert import AlertEvent
from operators.scoring.replay import Judgements

__all__ = ["Life", "Pasts", "life"]

Life = tuple[str, str]
"""Fingerprint and start: what tells an alert from others, and from its own earlier lives."""
_BEFORE: Final = 180
_AFTER: Final = 90
_MOST: Final = 1_000
"""Alerts whose past is kept, of each part of the series."""


@dataclass(slots=True)
class _Past:
    row: int
    until: int
    parts: list[pl.DataFrame] = field(default_factory=list)


class Pasts:
    """Keeps 180 windows before an alert fired and 90 after, of the first thousand alerts.

    Args:
        window: length of the windows, in nanoseconds.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._kept: dict[Life, _Past] = {}
        self._open: list[_Past] = []
        self._before: Judgements | None = None

    def take(self, judged: Judgements, rows: Mapping[str, int]) -> None:
        """Take in what was judged of a stretch of time.

        Args:
            judged: it.
            rows: of the series that alerts fired of, by fingerprint.
        """
        for past in self._open:
            past.parts.append(self._part(judged, past.row, None, past.until))
        for event, at in judged.events:
            if event["status"] == "firing" and len(self._kept) < _MOST:
                past = _Past(rows[event["fingerprint"]], at + _AFTER * self._window)
                since = at - _BEFORE * self._window
                for one in (self._before, judged):
                    if one is not None:
                        past.parts.append(self._part(one, past.row, since, past.until))
                self._kept[life(event)] = past
                self._open.append(past)
        last = int(judged.starts.max()) if len(judged.starts) else 0
        self._open = [past for past in self._open if past.until > last]
        self._before = judged._replace(events=[])

    def _part(self, judged: Judgements, row: int, since: int | None, until: int) -> pl.DataFrame:
        begin, end = np.searchsorted(judged.rows, [row, row + 1])
        first = begin
        if since is not None:
            first += np.searchsorted(judged.starts[begin:end], since)
        last = begin + np.searchsorted(judged.starts[begin:end], until)
        chosen = slice(int(first), int(last))
        score, expected, lower, upper = judged.judgements[:4, chosen]
        return pl.DataFrame(
            {
                "at": (judged.starts[chosen] + self._window) / 1e9, "value": judged.values[chosen],
                "score": score, "expected": expected, "lower": lower, "upper": upper,
            }
        ).fill_nan(None)  # fmt: skip

    @property
    def found(self) -> dict[Life, pl.DataFrame]:
        """Of each alert: ``at`` (end of the window, in seconds), ``value`` and the judgement."""
        return {key: pl.concat(past.parts) for key, past in self._kept.items()}


def life(event: AlertEvent) -> Life:
    """Return what names the life of the alert that an event is of."""
    return event["fingerprint"], event["startsAt"]
