"""Hysteresis: one incident is one alert that fires once and resolves once."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Literal

__all__ = ["Incident", "Transition"]

Transition = Literal["fire", "resolve"]

_RECENT = 12


@dataclass(slots=True)
class Incident:
    """Whether a series is anomalous, seen over several of its rollups.

    It fires after ``fire_after`` anomalous ones in a row and resolves after ``resolve_after``
    normal ones in a row; what lies between changes nothing, so flapping makes no noise.

    Attributes:
        since: start of the first anomalous window of the current run or alert.
        until: start of the first normal window of the current run.
        firing: whether an alert is out.
        recent: the last values, the newest last; evidence for people.
    """

    anomalous: int = 0
    normal: int = 0
    firing: bool = False
    since: int = 0
    until: int = 0
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=_RECENT))

    @property
    def active(self) -> bool:
        """Whether a normal rollup would change anything."""
        return self.firing or self.anomalous > 0

    def end(self) -> None:
        """Resolve because nothing more is heard: what comes later is another incident."""
        self.firing = False
        self.anomalous = self.normal = 0

    def step(
        self, *, anomaly: bool, window_start: int, fire_after: int, resolve_after: int
    ) -> Transition | None:
        """Take in the verdict on the next rollup; say what changed."""
        if anomaly:
            self.normal = 0
            self.anomalous += 1
            if self.anomalous == 1 and not self.firing:
                self.since = window_start
            if not self.firing and self.anomalous >= fire_after:
                self.firing = True
                return "fire"
            return None
        self.anomalous = 0
        self.normal += 1
        if self.normal == 1:
            self.until = window_start
        if self.firing and self.normal >= resolve_after:
            self.firing = False
            return "resolve"
        return None
