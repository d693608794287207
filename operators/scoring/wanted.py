"""What scoring needs to know of the settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

__all__ = ["ScoringSettings"]


class ScoringSettings(Protocol):
    """What scoring needs to know; ``flows.settings.Scoring`` is one. Times in nanoseconds."""

    @property
    def enabled(self) -> bool:
        """Whether anything is judged."""
        ...

    @property
    def metrics(self) -> str:
        """Regular expression of the names of the judged metrics."""
        ...

    @property
    def ignore(self) -> str:
        """Regular expression of the names of metrics that are not judged all the same."""
        ...

    @property
    def detector(self) -> str:
        """Its name, see ``models.named``."""
        ...

    @property
    def options(self) -> Mapping[str, Any]:
        """Arguments of the detector."""
        ...

    @property
    def features(self) -> tuple[str, ...]:
        """What a model of River's is given; its usual ones if empty."""
        ...

    @property
    def alerts_per_series_month(self) -> float:
        """How many false alerts of a series in thirty days are put up with."""
        ...

    @property
    def warm_up(self) -> int:
        """Rollups that are learned before one is judged."""
        ...

    @property
    def fire_after(self) -> int:
        """Anomalous rollups in a row that make an alert fire."""
        ...

    @property
    def resolve_after(self) -> int:
        """Normal ones in a row that resolve it."""
        ...

    @property
    def accept_after(self) -> int:
        """How long a value stays where it fired before that is the new level."""
        ...

    @property
    def deploy_settles(self) -> int:
        """How long after a deploy an incident is of it, and stays until it is the new level."""
        ...

    @property
    def link(self) -> str:
        """URL of a dashboard, see ``AnomalyEvents``."""
        ...

    @property
    def stale_after(self) -> int:
        """Silence after which a firing alert resolves."""
        ...

    @property
    def evict_after(self) -> int:
        """Silence after which a series is forgotten."""
        ...

    @property
    def together(self) -> int:
        """How long after the first alert of a service others are its members; 0 for never."""
        ...

    @property
    def severity(self) -> str:
        """Label of the alerts."""
        ...
