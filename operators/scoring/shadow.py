"""The operator that scores: a model in force, and perhaps a candidate in its shadow.

The candidate judges the same rollups, and alerts nobody. What it would have told is told apart, so that people can lay both side by side before one takes the
place of the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.artefact import Trained
from operators.bytewax import KeyedStream, keyed
from operators.contracts.engine import KeyedLogic
from operators.contracts.items import Closed, Events, Passed, Scored, ShadowEvents
from operators.scoring.feedback import NOTHING_REPORTED, Reports
from operators.scoring.promoted import NOTHING_PROMOTED, Promoted, Promotions
from operators.scoring.step import ScoringLogic, compile_kernels, unscored
from operators.scoring.wanted import ScoringSettings

__all__ = ["ShadowedLogic", "scoring"]


def scoring(
    step_id: str,
    up: KeyedStream[Closed | Passed],
    settings: ScoringSettings,
    window: int,
    promotions: Promotions = NOTHING_PROMOTED,
    shadows: Promotions = NOTHING_PROMOTED,
    reports: Reports = NOTHING_REPORTED,
) -> KeyedStream[Scored | Events | Passed | ShadowEvents]:
    """Score the rollups, and make alert events of incidents; what event time passed goes on.

    Args:
        step_id: name of the step, and of its state.
        up: rollups by shard.
        settings: which rollups are judged, and how.
        window: the resolution that is judged, in nanoseconds.
        promotions: models that take the place of others.
        shadows: models that judge beside the one in force.
        reports: what people say of alerts; it counts for both.
    """
    if settings.enabled:
        compile_kernels(settings)

    def build(state: dict[str, Any] | None) -> ShadowedLogic:
        return ShadowedLogic(settings, window, state, promotions, shadows, reports)

    return keyed(step_id, up, build)


class ShadowedLogic(KeyedLogic[Closed | Passed, Scored | Events | Passed | ShadowEvents]):
    """Scores, and has the candidate judge the same.

    A candidate is there from the first window that starts at its event time or later, until another
    takes its place or none does. It begins with what it was trained with, as it would in force.

    Args:
        settings, window, state, promotions, reports: as ``ScoringLogic`` takes them.
        shadows: candidates, as they were said; one without a model ends the one before.
    """

    def __init__(
        self,
        settings: ScoringSettings,
        window: int,
        state: dict[str, Any] | None,
        promotions: Promotions,
        shadows: Promotions,
        reports: Reports = NOTHING_REPORTED,
    ) -> None:
        self._settings, self._window = settings, window
        self._shadows, self._reports = shadows, reports
        self._live = ScoringLogic(settings, window, state, promotions, reports)
        self._effective = -1
        self._candidate: _CandidateLogic | None = None
        kept = None if state is None else state.get("shadow")
        if kept is not None:
            self._effective = kept["effective"]
            trained = shadows.of(kept["version"]) if kept["version"] else None
            if trained is not None:
                self._begin(Promoted(self._effective, trained), kept["state"])

    def on_batch(
        self, items: list[Closed | Passed]
    ) -> list[Scored | Events | Passed | ShadowEvents]:
        """Score the frames in their order; tell what the candidate would have told."""
        out: list[Scored | Events | Passed | ShadowEvents] = [*self._live.on_batch(items)]
        self._hear(items)
        if self._candidate is not None:
            judged = self._candidate.on_batch(items)
            out += [ShadowEvents(item.frame) for item in judged if isinstance(item, Events)]
        return out

    def _hear(self, items: Sequence[Closed | Passed]) -> None:
        starts = [item.frame["window_start"].max() for item in items if isinstance(item, Closed)]
        until = max((int(start) for start in starts if isinstance(start, int)), default=-1)
        for promoted in self._shadows.after(self._effective, until):
            self._effective = promoted.effective
            self._candidate = None
            if promoted.trained is not None:
                self._begin(promoted, None)

    def _begin(self, promoted: Promoted, state: dict[str, Any] | None) -> None:
        self._candidate = _CandidateLogic(
            self._settings, self._window, state, _Only(promoted), self._reports
        )

    def snapshot(self) -> dict[str, Any]:
        """Return what scoring keeps, and what is known of the candidate beside it."""
        candidate = self._candidate
        shadow = {
            "effective": self._effective,
            "version": "" if candidate is None else candidate.version,
            "state": None if candidate is None else candidate.snapshot(),
        }
        return {**self._live.snapshot(), "shadow": shadow}


class _CandidateLogic(ScoringLogic):
    """Judges as scoring does, from the candidate's event time on; scores are not kept."""

    def __init__(
        self,
        settings: ScoringSettings,
        window: int,
        state: dict[str, Any] | None,
        only: _Only,
        reports: Reports,
    ) -> None:
        self._only = only
        super().__init__(settings, window, state, only, reports)

    @property
    def version(self) -> str:
        """Of the candidate."""
        return self._only.promoted.version

    def _score(self, frame: pl.DataFrame, events: list[Any]) -> pl.DataFrame:
        if frame["window_start"].item(0) < self._only.promoted.effective:
            return unscored(frame)
        return super()._score(frame, events)

    def _scored(
        self, frame: pl.DataFrame, at: NDArray[np.intp], judged: NDArray[np.float64]
    ) -> pl.DataFrame:
        del at, judged  # nobody reads the scores, and they are not counted as made
        return unscored(frame)


class _Only(Promotions):
    """The candidate, as what is promoted to a scoring that is its own."""

    def __init__(self, promoted: Promoted) -> None:
        self.promoted = promoted

    def after(self, effective: int, until: int) -> Sequence[Promoted]:
        """Return it where its time is."""
        return [self.promoted] if effective < self.promoted.effective <= until else []

    def of(self, version: str) -> Trained | None:
        """Return it by its version."""
        return self.promoted.trained if version == self.promoted.version else None
