"""NAB's score: an early alert in a labelled window is worth most, a false one costs.

A. Lavin and S. Ahmad, "Evaluating Real-time Anomaly Detection Algorithms: the Numenta Anomaly
Benchmark", ICMLA 2015; the version of the weights is 1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluate.labelled import Labelled

__all__ = ["PROFILES", "Nab", "Profile", "nab"]


class Profile(NamedTuple):
    """What a user holds dear: weight of a detected window, of a false row, of a missed window."""

    detected: float
    false: float
    missed: float


PROFILES: Final = {
    "standard": Profile(1.0, 0.11, 1.0),
    "reward_low_FP_rate": Profile(1.0, 0.22, 1.0),
    "reward_low_FN_rate": Profile(1.0, 0.11, 2.0),
}


@dataclass(frozen=True, slots=True)
class Nab:
    """The score of a profile: 100 is perfect, 0 is what a detector that says nothing has."""

    threshold: float
    score: float


def nab(
    series: Sequence[Labelled],
    scores: Sequence[NDArray[np.float64]],
    profile: Profile,
    threshold: float | None = None,
) -> Nab:
    """Return the score of alerts in all rows that reach a threshold.

    Args:
        series: labelled ones.
        scores: of each series, a row each.
        profile: weights.
        threshold: the best one for these series if left out, as NAB does it.
    """
    windows = sum(len(_scorable(one)) for one in series)
    if not windows:
        return Nab(threshold if threshold is not None else np.inf, 0.0)
    pooled, gains, owners = _pooled(series, scores)
    order = np.argsort(-pooled, kind="stable")
    pooled, gains, owners = pooled[order], gains[order], owners[order]
    inside = owners >= 0
    total = np.cumsum(np.where(inside, 0.0, gains * profile.false))
    best = np.full(windows, -profile.missed)
    rises = np.zeros(len(pooled))
    for at in np.flatnonzero(inside).tolist():
        gain = gains[at] * profile.detected
        rise = gain - best[owners[at]]
        if rise > 0:
            best[owners[at]] = gain
            rises[at] = rise
    total += np.cumsum(rises) - profile.missed * windows
    if threshold is None:
        last_of_its_score = np.append(pooled[1:] != pooled[:-1], True)
        candidates = np.flatnonzero(last_of_its_score)
        at = int(candidates[np.argmax(total[candidates])])
        threshold, raw = float(pooled[at]), float(total[at])
        if raw < -profile.missed * windows:
            threshold, raw = float(np.inf), -profile.missed * windows
    else:
        reached = int(np.count_nonzero(pooled >= threshold))
        raw = float(total[reached - 1]) if reached else -profile.missed * windows
    silent = -profile.missed * windows
    return Nab(threshold, 100.0 * (raw - silent) / (profile.detected * windows - silent))


def _scorable(series: Labelled) -> list[tuple[int, int]]:
    return [window for window in series.windows if window[1] >= series.probation]


def _pooled(
    series: Sequence[Labelled], scores: Sequence[NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.intp]]:
    """Return of all rows after probation the score, what an alert there is worth, and its window."""
    gains, owners, pooled = [], [], []
    numbered = 0
    for one, given in zip(series, scores, strict=True):
        gain, owner = np.full(len(one), -1.0), np.full(len(one), -1)
        for number, (first, last) in enumerate(one.windows):
            width = last - first + 1
            rows = np.arange(first, last + 1)
            gain[rows] = _sigmoid(-(last - rows + 1) / width) / _sigmoid(np.array(-1.0))
            owner[rows] = numbered
            until = one.windows[number + 1][0] if number + 1 < len(one.windows) else len(one)
            after = np.arange(last + 1, until)
            past = (after - last) / max(width - 1, 1)
            gain[after] = np.where(past > 3.0, -1.0, _sigmoid(past))
            numbered += last >= one.probation
        gains.append(gain[one.probation :])
        owners.append(owner[one.probation :])
        pooled.append(given[one.probation :])
    return np.concatenate(pooled), np.concatenate(gains), np.concatenate(owners)


def _sigmoid(position: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 1 long before the end of a window, 0 at it, -1 long after."""
    return 2.0 / (1.0 + np.exp(5.0 * position)) - 1.0
