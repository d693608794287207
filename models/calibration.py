"""Raw scores of any model become scores that mean the same: 1 or more is anomalous."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite, log
from typing import Final

from models.peak_rank import threshold_for
from models.peak_rank_peaks import doubt_at

__all__ = ["Calibration"]

_PEAKS: Final = 8
_APART: Final = 25
_FEW: Final = 50
_FADING: Final = 1 / 300
_MARGIN: Final = 1.05
_CAP: Final = 20.0


class Calibration:
    """Ranks raw scores of one series among their largest peaks, as ``PeakRank`` does its own.

    A raw score counts by how far it is above its mean. The eight largest of such excesses, at
    least 25 values apart, are what the series has shown; beyond them counts the logarithm of how
    much. Which evidence is an alert follows from how many a user puts up with.

    Args:
        alerts: false alerts of a series in thirty days.
        a_month: values in thirty days.

    >>> calibration = Calibration(alerts=1.0)
    >>> for at in range(500):
    ...     calibration.learn(0.1 * (at % 7))
    >>> calibration.score(0.6) < 1, calibration.score(3.0) >= 1
    (True, True)
    """

    def __init__(self, alerts: float, a_month: float = 43_200.0) -> None:
        self._threshold = threshold_for(alerts)
        self._patience = a_month / alerts
        self._seen = 0.0
        self._mean = 0.0
        self._deviation = 0.0
        self._begun = -float(_APART)
        self._newest = 0.0
        self._peaks = [0.0] * _PEAKS

    def score(self, raw: float) -> float:
        """Return the score of a raw score; of one that is no number it is 0. Changes nothing."""
        excess = self._excess(raw)
        if excess <= 0.0 or self._seen < _FEW:
            return 0.0
        record = self._peaks[0] * _MARGIN + 0.01 * self._deviation + 1e-12
        if excess > record:
            evidence = 1.0 + 2.0 * log(excess / record)
        else:
            rank = sum(peak >= excess for peak in self._peaks)
            evidence = 1.0 - (rank + 1.0) / (_PEAKS + 1.0)
        evidence -= doubt_at(self._seen, self._patience)
        return min(max(evidence, 0.0) / self._threshold, _CAP)

    def _excess(self, raw: float) -> float:
        return raw - self._mean if isfinite(raw) and self._seen else 0.0

    def learn(self, raw: float) -> None:
        """Take a raw score up."""
        if not isfinite(raw) or not (self._seen or raw):
            return  # a model that says 0 says nothing yet
        excess = self._excess(raw)
        self._seen += 1.0
        weight = max(_FADING, 1.0 / self._seen)
        self._deviation += weight * (abs(excess) - self._deviation)
        # What stands out far moves the mean as little as what is at the record.
        step = raw - self._mean
        if self._seen > 20:
            bound = 4.0 * self._deviation
            step = max(min(step, bound), -bound)
        self._mean += weight * step
        if excess <= self._peaks[-1]:
            return
        if self._seen > 20:
            excess = min(excess, 2.0 * self._peaks[0] + 0.01 * self._deviation + 1e-12)
        if self._seen - self._begun < _APART:
            if excess <= self._newest:
                return
            if self._newest in self._peaks:
                self._peaks.remove(self._newest)
            else:
                self._peaks.pop()
        else:
            self._peaks.pop()
        self._peaks.append(excess)
        self._peaks.sort(reverse=True)
        self._newest, self._begun = excess, self._seen

    @property
    def state(self) -> tuple[float, ...]:
        """What was learned, as numbers."""
        return (self._seen, self._mean, self._deviation, self._begun, self._newest, *self._peaks)

    def resume(self, state: Sequence[float]) -> None:
        """Take up such numbers."""
        numbers = [float(number) for number in state]
        self._seen, self._mean, self._deviation, self._begun, self._newest = numbers[:5]
        self._peaks = numbers[5:]
