"""Settings of windows, and of how rollups are judged."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from flows.settings.values import Duration, PositiveDuration, RegularExpression, Section
from flows.settings.vectors import SignalVector
from models.named import DEFAULT, BadDetector, new_detector
from operators.contracts.durations import format_duration

__all__ = ["Rollups", "Scoring"]


class Rollups(Section):
    """Windows and their times."""

    windows: tuple[PositiveDuration, ...] = ("10s", "1m")  # type: ignore[assignment]
    disorder: Duration = "2s"  # type: ignore[assignment]
    lateness: Duration = "1m"  # type: ignore[assignment]
    idle_timeout: PositiveDuration = "30s"  # type: ignore[assignment]
    future: PositiveDuration = "10m"  # type: ignore[assignment]
    """How far a point may be ahead of the timestamp that Kafka has of its message."""
    partition_lag: PositiveDuration = "30s"  # type: ignore[assignment]
    """How far a partition that is read to its end may be behind others and hold windows back."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a point after which a series is forgotten."""
    counter_horizon: Duration = "5m"  # type: ignore[assignment]
    """A counter seen for the first time counts from zero if it started at most this long ago."""
    percentiles: RegularExpression = ""
    """Regular expression of the names of gauges that have percentiles, as histograms have."""
    shards: int = Field(default=16, ge=1, le=4096)

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


class ServiceSilence(Section):
    """When a service or a host that sends nothing any more is an alert."""

    enabled: bool = True
    hosts: bool = True
    """Whether hosts are followed, too; not where hosts come and go as load does."""
    after: PositiveDuration = "3m"  # type: ignore[assignment]
    """How long it may send nothing, at least: one with pauses of its own has four times those."""
    established: PositiveDuration = "30m"  # type: ignore[assignment]
    """How long it must have been there: what ran once is not missed."""
    gone_after: PositiveDuration = "1d"  # type: ignore[assignment]
    """How long it is silent until it counts as gone, and the alert resolves."""
    severity: str = "warning"


class Scoring(Section):
    """Which rollups are judged, and when a judgement becomes an alert."""

    enabled: bool = True
    window: PositiveDuration | None = None
    """The resolution that is judged; the finest if left out."""
    metrics: RegularExpression = ".*"
    """Regular expression that the whole metric name must match."""
    ignore: RegularExpression = (
        r"(headrace|prometheus|otelcol|telegraf|promhttp|net_conntrack|scrape|internal)[._].*"
        r"|.*_bucket"
    )
    """Regular expression of metrics that are not judged all the same: those of the tools that watch,
    and each bucket of a classic histogram."""
    detector: str = DEFAULT
    """One of ours, ``river.anomaly.HalfSpaceTrees`` or another of River's, several with ``|``
    between them, or that of an entry point ``headrace.detectors``."""
    options: dict[str, Any] = Field(default_factory=dict)
    features: tuple[str, ...] = ()
    """What a model of River's is given, see ``models.features``; its usual ones if left out."""
    alerts_per_series_month: float = Field(default=1.0, gt=0, le=100)
    """How many false alerts of a series in thirty days are put up with: more finds more."""
    warm_up: int = Field(default=20, ge=2)
    """Rollups of a series that are learned before any is judged."""
    fire_after: int = Field(default=2, ge=1)
    """Anomalous rollups in a row before an alert fires."""
    resolve_after: int = Field(default=3, ge=1)
    """Normal rollups in a row before it resolves."""
    accept_after: PositiveDuration = "1d"  # type: ignore[assignment]
    """How long a value stays where it fired, without a new anomaly, until it is the new level.
    Close to a bound (a full disk) it never is."""
    deploy_settles: PositiveDuration = "30m"  # type: ignore[assignment]
    """The same for what began so long after a deploy of its service (`headrace deploy`) at most."""
    link: str = ""
    """URL of a dashboard for ``generatorURL``, with ``{metric}``, ``{service}``, ``{tenant}``,
    ``{from}`` and ``{to}`` in it."""
    stale_after: PositiveDuration = "5m"  # type: ignore[assignment]
    """Event time without a rollup after which a firing alert resolves."""
    evict_after: PositiveDuration = "1h"  # type: ignore[assignment]
    """Event time without a rollup after which a series' detector is forgotten."""
    together: Duration = "1m"  # type: ignore[assignment]
    """Alerts of a service that fire within this of the first are one event with members; 0 leaves
    each alone."""
    severity: str = "warning"
    vectors: tuple[SignalVector, ...] = ()
    """Signals that are judged together, beside each series: `[golden]` for the golden signals of
    each service. The alerts of a vector that is taken out are resolved with the next window."""
    silence: ServiceSilence = Field(default_factory=ServiceSilence)

    @field_validator("vectors")
    @classmethod
    def _have_names_of_their_own(
        cls, vectors: tuple[SignalVector, ...]
    ) -> tuple[SignalVector, ...]:
        names = [vector.name for vector in vectors]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f'two vectors are called "{name}"')
        return vectors

    @model_validator(mode="after")
    def _fits_the_detector(self) -> Self:
        try:
            new_detector(self.detector, self.options, features=self.features)
        except BadDetector as error:
            raise ValueError(str(error)) from None
        return self
