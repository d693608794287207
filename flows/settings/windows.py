"""Settings of what is done with it: windows, and the judgement of rollups."""

from __future__ import annotations

from itertools import pairwise
from typing import Self

from pydantic import Field, field_validator, model_validator

from flows.settings.values import Duration, PositiveDuration, Section, regular_expression
from models import DETECTORS
from operators.durations import format_duration

__all__ = ["Rollups", "Scoring"]


class Rollups(Section):
    """Windows and their times."""

    windows: tuple[PositiveDuration, ...] = ("10s", "1m")  # type: ignore[assignment]
    disorder: Duration = "2s"  # type: ignore[assignment]
    lateness: Duration = "1m"  # type: ignore[assignment]
    idle_timeout: PositiveDuration = "30s"  # type: ignore[assignment]
    future: PositiveDuration = "10m"  # type: ignore[assignment]
    """How far a timestamp may be ahead of this machine's clock."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a point after which a series is forgotten."""
    counter_horizon: Duration = "5m"  # type: ignore[assignment]
    """A counter seen for the first time counts from zero if it started at most this long ago."""
    percentiles: str = ""
    """Regular expression of the names of gauges that have percentiles, as histograms have."""
    shards: int = Field(default=16, ge=1, le=4096)

    @field_validator("percentiles")
    @classmethod
    def _is_an_expression(cls, percentiles: str) -> str:
        return regular_expression(percentiles)

    @field_validator("windows", mode="after")
    @classmethod
    def _nested(cls, windows: tuple[int, ...]) -> tuple[int, ...]:
        if not windows:
            raise ValueError("at least one window is needed")
        for finer, coarser in pairwise(windows):
            if coarser <= finer or coarser % finer:
                raise ValueError(
                    f"{format_duration(coarser)} is not a multiple of {format_duration(finer)}, "
                    "the window before it: write them from fine to coarse"
                )
        return windows


class Scoring(Section):
    """Which rollups are judged, and when a judgement becomes an alert."""

    enabled: bool = True
    window: PositiveDuration | None = None
    """The resolution that is judged; the finest if left out."""
    metrics: str = ".*"
    """Regular expression that the whole metric name must match."""
    detector: str = "robust_ewma"
    options: dict[str, float] = Field(default_factory=dict)
    warm_up: int = Field(default=20, ge=2)
    """Rollups of a series that are learned before any is judged."""
    fire_after: int = Field(default=2, ge=1)
    """Anomalous rollups in a row before an alert fires."""
    resolve_after: int = Field(default=3, ge=1)
    """Normal rollups in a row before it resolves."""
    stale_after: PositiveDuration = "5m"  # type: ignore[assignment]
    """Event time without a rollup after which a firing alert resolves."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a rollup after which a series' detector is forgotten."""
    severity: str = "warning"

    @field_validator("detector")
    @classmethod
    def _is_known(cls, detector: str) -> str:
        if detector not in DETECTORS:
            raise ValueError(
                f'there is no detector "{detector}" (there are: {", ".join(DETECTORS)})'
            )
        return detector

    @field_validator("metrics")
    @classmethod
    def _is_an_expression(cls, metrics: str) -> str:
        return regular_expression(metrics)

    @model_validator(mode="after")
    def _fits_the_detector(self) -> Self:
        try:
            DETECTORS[self.detector](**self.options)
        except TypeError as error:
            fault = str(error).partition(" ")[2] or str(error)
            raise ValueError(f"options: {self.detector} {fault}") from None
        return self
