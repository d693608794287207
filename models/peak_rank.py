"""The default detector: several statistics, each ranked among its own largest peaks."""

from __future__ import annotations

from math import log
from typing import ClassVar, Final, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray

from models.base import Bank, Detector, Judgement, State
from models.peak_rank_loop import judge_then_learn
from models.peak_rank_state import NUMBERS, REASONS, STORED, fresh

__all__ = ["PeakRank", "PeakRankBank", "threshold_for"]

_ONE_A_MONTH: Final = 0.94
_A_TURN: Final = 0.12
_LOUDEST: Final = 0.6
_BYTES: Final = NUMBERS * 8 + STORED * 4
_NO_ROW: Final = np.zeros(1, np.int32)


def threshold_for(alerts: float) -> float:
    """Return the evidence at which false alerts of a series come this often in thirty days.

    It is that of a series that is old enough; ``doubt_at`` is added before. Measured on noise and
    on series of operations, see ``models/README.md``.

    >>> round(threshold_for(1.0), 2), round(threshold_for(4.0), 2)
    (0.94, 0.77)
    """
    return max(_ONE_A_MONTH - _A_TURN * log(alerts), _LOUDEST)


class PeakRank(Detector):
    """Ranks what is unusual about a value among the most unusual that its series has shown.

    Seven statistics are taken of each value: its distance from what is expected, in the unit of
    the series and as a ratio; the step from the value before; the distance of the mean of ten; the
    mean distance of late; and how far the value, its two moving means and the value before lie
    from patterns seen before (boxes as in fuzzy adaptive resonance). Each keeps its eight largest
    peaks, at least 25 values apart. A value that exceeds a record counts by the logarithm of how
    much; the statistics are joined by a norm. A series that stands still for three times as long
    as ever before is anomalous, too.

    Expected is the level, a slow mean that no outlier moves far, or the usual value of this hour of
    a day of the week or of the weekend, as far as that was the better guess of late.

    The younger a series is, the further a value must be beyond what it has shown: of few values
    many are records. It needs days for a season. What comes
    often is no anomaly to it: a fault that lasted for some values is no news when it comes again. It does not
    see a drift slower than its level, which follows within some 300 values.

    Parameters
    ----------
    alerts
        How many false alerts of a series in thirty days its user puts up with.
    a_month
        How many values a series has in thirty days: the more often it is looked at, the rarer must
        be what is told.

    Examples
    --------
    >>> detector = PeakRank()
    >>> for value in [10.0, 11.0, 9.0, 10.5, 9.5] * 60:
    ...     detector.learn(value)
    >>> round(detector.judge(10.4).score, 2)
    0.0
    >>> round(detector.judge(20.0).score, 2)
    3.71

    References
    ----------
    The boxes: G. A. Carpenter, S. Grossberg and D. B. Rosen, "Fuzzy ART", Neural Networks 4(6),
    1991. Peaks apart from each other, as in the peaks-over-threshold method: S. Coles, "An
    Introduction to Statistical Modeling of Extreme Values", 2001, chapter 5.3.
    """

    reasons: ClassVar[tuple[str, ...]] = REASONS

    def __init__(self, alerts: float = 1.0, a_month: float = 43_200.0) -> None:
        self.alerts = alerts
        self.a_month = a_month
        self._bank = PeakRankBank(alerts, a_month)
        self._bank.grow(1)

    def judge(self, value: float, time: int = 0) -> Judgement:
        """Judge a value by its rank among peaks."""
        return self._bank.judge(value, time)

    def learn(self, value: float, time: int = 0) -> None:
        """Learn a value."""
        self.judge_then_learn(value, time)

    def judge_then_learn(self, value: float, time: int = 0) -> Judgement:
        """Do both at once."""
        found = self._bank.judge_then_learn(
            _NO_ROW, np.array([value], np.float64), np.array([time], np.int64)
        )
        return Judgement(*found[:, 0].tolist())

    @property
    def state(self) -> State:
        """All that is known, as bytes."""
        return bytes(self._bank.state[0].to_numpy())

    def resume(self, state: State) -> Self:
        """Take up such bytes."""
        self._bank.resume(_as_series(np.frombuffer(bytes(state), np.uint8)[np.newaxis]))  # type: ignore[arg-type]
        return self

    def bank(self) -> PeakRankBank:
        """Return an empty bank of such detectors, below 1 KB each."""
        return PeakRankBank(self.alerts, self.a_month)


class PeakRankBank(Bank):
    """Many ``PeakRank``: arrays with a row each, and a compiled pass over them."""

    def __init__(self, alerts: float, a_month: float) -> None:
        self._threshold = threshold_for(float(alerts))
        self._patience = float(a_month) / float(alerts)
        self._numbers = np.empty((0, NUMBERS))
        self._stored = np.empty((0, STORED), np.float32)

    def __len__(self) -> int:
        return len(self._numbers)

    def grow(self, count: int) -> None:
        """Add fresh rows."""
        numbers, stored = fresh()
        self._numbers = np.concatenate([self._numbers, np.tile(numbers, (count, 1))])
        self._stored = np.concatenate([self._stored, np.tile(stored, (count, 1))])

    def judge(self, value: float, time: int) -> Judgement:
        """Judge a value by the first row, which learns nothing."""
        found = np.empty((len(Judgement._fields), 1))
        judge_then_learn(
            self._numbers, self._stored, _NO_ROW, np.array([value], np.float64), np.array([time], np.int64),
            self._threshold, self._patience, False, found,
        )  # fmt: skip
        return Judgement(*found[:, 0].tolist())

    def judge_then_learn(
        self, rows: NDArray[np.int32], values: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Judge and learn in one pass."""
        judgements = np.empty((len(Judgement._fields), len(values)))
        judge_then_learn(
            self._numbers,
            self._stored,
            rows,
            values,
            times,
            self._threshold,
            self._patience,
            True,
            judgements,
        )
        return judgements

    def put(self, rows: NDArray[np.intp], state: pl.Series) -> None:
        """Set these rows to such bytes."""
        given = PeakRankBank(1.0, 1.0).resume(state)
        self._numbers[rows], self._stored[rows] = given._numbers, given._stored

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Set these rows back."""
        self._numbers[rows], self._stored[rows] = fresh()

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep only these rows."""
        self._numbers, self._stored = self._numbers[rows], self._stored[rows]

    @property
    def state(self) -> pl.Series:
        """The bytes of each row."""
        parts = [self._numbers.view(np.uint8), self._stored.view(np.uint8)]
        return _as_series(np.concatenate(parts, axis=1))

    def resume(self, state: pl.Series) -> Self:
        """Take up such bytes."""
        raw = state.to_numpy().reshape(-1, _BYTES)
        self._numbers = raw[:, : NUMBERS * 8].copy().view(np.float64)
        self._stored = raw[:, NUMBERS * 8 :].copy().view(np.float32)
        return self


def _as_series(raw: NDArray[np.uint8]) -> pl.Series:
    return pl.Series("state", raw, pl.Array(pl.UInt8, _BYTES))
