"""Which detector is in force: that of the settings, or a promoted model's."""

from __future__ import annotations

from typing import Any, NamedTuple

from models.base import Detector
from models.named import new_detector
from operators.scoring.anomalies import AnomalyEvents
from operators.scoring.promoted import Promoted
from operators.scoring.wanted import ScoringSettings

__all__ = ["Model", "anomaly_events"]


class Model(NamedTuple):
    """What is in force.

    Attributes:
        effective: since when, as event time in nanoseconds.
        version: of the model; empty without one.
        kind: ``detector``, ``options``, ``features`` and ``alerts`` of the model; None without one.
    """

    effective: int = -1
    version: str = ""
    kind: dict[str, Any] | None = None

    @classmethod
    def of(cls, promoted: Promoted) -> Model:
        """Return what a promotion brings into force."""
        trained = promoted.trained
        if trained is None:
            return cls(promoted.effective)
        names = ("detector", "options", "features", "alerts")
        kind = {name: trained.manifest[name] for name in names}
        return cls(promoted.effective, trained.version, kind)

    def kind_in(self, settings: ScoringSettings) -> dict[str, Any]:
        """Return the kind, which without a model is that of the settings."""
        return self.kind or {
            "detector": settings.detector,
            "options": dict(settings.options),
            "features": list(settings.features),
            "alerts": settings.alerts_per_series_month,
        }

    def detector(self, settings: ScoringSettings, window: int) -> Detector:
        """Return a fresh detector of the kind, for a value each ``window`` (nanoseconds)."""
        kind = self.kind_in(settings)
        return new_detector(
            kind["detector"], kind["options"], alerts=kind["alerts"], window=window,
            features=tuple(kind["features"]),
        )  # fmt: skip


def anomaly_events(
    settings: ScoringSettings, window: int, detector: Detector, model: Model | None = None
) -> AnomalyEvents:
    """Return what makes the events of a detector, which is a model's or of the settings' kind."""
    used = model or Model()
    name = str(used.kind_in(settings)["detector"])
    return AnomalyEvents(
        window, f"{name}@{used.version}" if used.version else name, settings.severity,
        detector.reasons, settings.link,
    )  # fmt: skip
