"""The contract of a detector, and of a bank: the detectors of many series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from river.base import AnomalyDetector

__all__ = ["Bank", "Detector", "Judgement", "ScalarBank", "State"]

State = tuple[float, ...] | bytes


class Judgement(NamedTuple):
    """What a detector says of a value.

    ``score`` means the same for every detector: 0 is normal, **1 or more is anomalous**.
    ``expected`` is the likeliest value, ``lower`` and ``upper`` are where what is usual ends: a
    value outside scores 1 or more. One between them may, too, for what came before it: a level
    that creeps, unrest, a value that never moves. A detector that knows no band gives NaN.
    ``reason`` is the place of the strongest statistic in the detector's ``reasons``.
    """

    score: float
    expected: float
    lower: float
    upper: float
    reason: float = 0.0


class Detector(AnomalyDetector):
    """An online detector of one series: first ``judge`` a value, then ``learn`` it.

    It is a River anomaly detector too (``score_one``, ``learn_one`` on ``{"value": x, "time": t}``),
    so it works in River's pipelines, metrics and checks. State is a few numbers, not an object graph:
    it is snapshotted for every series, every few seconds.
    """

    reasons: ClassVar[tuple[str, ...]] = ("value",)
    """Names of the statistics that a judgement may rest on."""

    @abstractmethod
    def judge(self, value: float, time: int = 0) -> Judgement:
        """Judge a finite value by what was learned so far. Changes nothing.

        Args:
            value: it.
            time: nanoseconds since the Unix epoch, for those that know hours and days.
        """

    @abstractmethod
    def learn(self, value: float, time: int = 0) -> None:
        """Learn a finite value."""

    def judge_then_learn(self, value: float, time: int = 0) -> Judgement:
        """Judge a value, then learn it; one that does both at once is cheaper."""
        judgement = self.judge(value, time)
        self.learn(value, time)
        return judgement

    @property
    @abstractmethod
    def state(self) -> State:
        """What was learned: plain numbers, or bytes."""

    @abstractmethod
    def resume(self, state: State) -> Self:
        """Take up a state that ``state`` gave, and return the detector itself."""

    def bank(self) -> Bank:
        """Return an empty bank of detectors with the parameters of this one.

        One that is compiled, and judges a million values a second and more, is worth its lines for
        a detector of every series; any other does with one object a series.
        """
        return ScalarBank(self)

    def score_one(self, x: dict[Hashable, Any]) -> float:
        """Return the score of ``x["value"]`` at ``x["time"]``."""
        return self.judge(*_reading(x)).score

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        """Learn ``x["value"]`` at ``x["time"]``."""
        self.learn(*_reading(x))


def _reading(x: Mapping[Hashable, Any]) -> tuple[float, int]:
    """Return value and time; River's own checks give features of other names, then it is their sum."""
    if "value" in x:
        return float(x["value"]), int(x.get("time", 0))
    return float(sum(x.values())), 0


class Bank(ABC):
    """Detectors of one kind with the same parameters, numbered by *rows* from 0.

    What a row learns and says is, to the last bit, what a detector of its own would.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of rows."""

    @abstractmethod
    def grow(self, count: int) -> None:
        """Add so many rows, which have learned nothing."""

    @abstractmethod
    def judge_then_learn(
        self, rows: NDArray[np.int32], values: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Have each value judged, and then learned, by the detector of its row.

        Args:
            rows: row of each value; one may come several times, its values in their order.
            values: finite.
            times: of the values, in nanoseconds since the Unix epoch.

        Returns:
            Five rows: the fields of ``Judgement``, each with one element a value.
        """

    @abstractmethod
    def put(self, rows: NDArray[np.intp], state: pl.Series) -> None:
        """Have these rows know what a state says: an element of ``state`` each."""

    @abstractmethod
    def forget(self, rows: NDArray[np.intp]) -> None:
        """Have these rows learn anew."""

    @abstractmethod
    def keep(self, rows: NDArray[np.intp]) -> None:
        """Remove all rows but these, which are numbered anew in their order."""

    @property
    @abstractmethod
    def state(self) -> pl.Series:
        """What was learned, one element a row: plain numbers, or bytes."""

    @abstractmethod
    def resume(self, state: pl.Series) -> Self:
        """Take up a state that ``state`` gave, row by row, and return the bank itself."""


class ScalarBank(Bank):
    """A bank for any detector: one object a row, and one call a value."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self._detectors: list[Detector] = []

    def __len__(self) -> int:
        return len(self._detectors)

    def grow(self, count: int) -> None:
        """Add fresh detectors."""
        self._detectors += [self._detector.clone() for _ in range(count)]

    def judge_then_learn(
        self, rows: NDArray[np.int32], values: NDArray[np.float64], times: NDArray[np.int64]
    ) -> NDArray[np.float64]:
        """Call one detector after the other."""
        judgements = np.empty((len(values), len(Judgement._fields)))
        readings = zip(rows.tolist(), values.tolist(), times.tolist(), strict=True)
        for at, (row, value, time) in enumerate(readings):
            judgements[at] = self._detectors[row].judge_then_learn(value, time)
        return judgements.T

    def put(self, rows: NDArray[np.intp], state: pl.Series) -> None:
        """Put detectors with such states in their place."""
        for row, one in zip(rows.tolist(), state.to_list(), strict=True):
            self._detectors[row] = self._resumed(one)

    def _resumed(self, state: Any) -> Detector:
        fresh = self._detector.clone()
        return fresh.resume(state if isinstance(state, bytes) else tuple(state))

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Put fresh detectors in their place."""
        for row in rows.tolist():
            self._detectors[row] = self._detector.clone()

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep only the detectors of these rows."""
        self._detectors = [self._detectors[row] for row in rows.tolist()]

    @property
    def state(self) -> pl.Series:
        """The states of the detectors, an element each."""
        states = [detector.state for detector in self._detectors]
        kind = pl.Binary if states and isinstance(states[0], bytes) else pl.List(pl.Float64)
        return pl.Series("state", states, kind)

    def resume(self, state: pl.Series) -> Self:
        """Take up a state with as many rows as it has."""
        self._detectors = [self._resumed(one) for one in state.to_list()]
        return self
