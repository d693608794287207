"""``python -m bench.calibration``: false alerts of a series in thirty days, over nothing but noise.

What ``scoring.alerts_per_series_month`` promises has to hold for whatever window is judged, and
from the first day on. Each row is a window length and a span that a new series is looked at; the
figures are what comes of a setting, as the flow would tell it (two anomalous windows in a row).
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.named import DEFAULT, new_detector
from operators.scoring.episodes import Episodes

__all__ = ["NOISES", "false_alerts"]

_SECOND: Final = 10**9
_DAY: Final = 86_400 * _SECOND
_BEGIN: Final = 1_704_067_200 * _SECOND
WINDOWS: Final = (10, 60, 300, 900)
"""Seconds."""
DAYS: Final = (1, 30)
SETTINGS: Final = (1.0, 2.0, 5.0)


def _remembering(dice: np.random.Generator, size: int) -> NDArray[np.float64]:
    """Return a series of which each value is nine tenths of the one before, and noise (AR(1))."""
    fresh = dice.normal(size=size + 200)
    weights = 0.9 ** np.arange(200)
    values: NDArray[np.float64] = (
        50 + 4 * np.sqrt(1 - 0.81) * np.convolve(fresh, weights)[200 : size + 200]
    )
    return values


NOISES: Final[Mapping[str, Callable[[np.random.Generator, int], NDArray[np.float64]]]] = {
    "gaussian": lambda dice, size: 100 + 5 * dice.normal(size=size),
    "AR(1)": _remembering,
    "counts": lambda dice, size: dice.poisson(30, size).astype(float),
    "few counts": lambda dice, size: dice.poisson(0.05, size).astype(float),
    "lognormal": lambda dice, size: 0.08 * np.exp(0.4 * dice.normal(size=size)),
}
"""Stationary noise, as many values as asked for."""


def false_alerts(
    noise: str, window: int, days: float, alerts: float, series: int, detector: str = DEFAULT
) -> int:
    """Return how many alerts fire of so many series of a noise.

    Args:
        noise: in ``NOISES``.
        window: length in seconds.
        days: how long each series is looked at, from its first value on.
        alerts: those of a series in thirty days that are put up with.
        series: how many; each is seeded by its number.
        detector: its name.
    """
    size = int(days * 86_400 / window)
    starts = _BEGIN + np.arange(size, dtype=np.int64) * window * _SECOND
    row = np.zeros(size, np.int32)
    fired = 0
    for seed in range(series):
        dice = np.random.default_rng([seed, list(NOISES).index(noise)])
        values = NOISES[noise](dice, size)
        bank = new_detector(detector, alerts=alerts, window=window * _SECOND).bank()
        bank.grow(1)
        incidents = Episodes(20, 2, 3, window * _SECOND, _DAY)
        incidents.grow(1)
        judged = bank.judge_then_learn(row, values, starts)
        _, changes = incidents.follow(row, starts, values, judged)
        fired += sum(change.why == "fires" for change in changes)
    return fired


def main() -> None:
    """Print a line for each window length and span."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--detector", default=DEFAULT)
    parser.add_argument("--series", type=int, default=10, help="of each noise")
    parser.add_argument("--windows", type=int, nargs="*", default=WINDOWS, help="seconds")
    parser.add_argument("--days", type=float, nargs="*", default=DAYS)
    given = parser.parse_args()
    print(f"{'window':>7} {'days':>5} {'setting':>8} {'all':>7}  "
          + "  ".join(f"{name:>10}" for name in NOISES))  # fmt: skip
    for days in given.days:
        months = given.series * days / 30
        for window in given.windows:
            for alerts in SETTINGS:
                found = [
                    false_alerts(noise, window, days, alerts, given.series, given.detector) / months
                    for noise in NOISES
                ]
                print(f"{window:>6}s {days:>5g} {alerts:>8g} {np.mean(found):>7.2f}  "
                      + "  ".join(f"{one:>10.2f}" for one in found), flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
