"""The contract of a detector, and of a bank: the detectors of many series."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from river.base import AnomalyDetector

__all__ = ["Bank", "Detector", "Judgement", "ScalarBank"]


class Judgement(NamedTuple):
    """What a detector says of a value.

    ``score`` means the same for every detector: 0 is normal, **1 or more is anomalous**. A value
    between ``lower`` and ``upper`` scores less than 1; ``expected`` is the likeliest.
    """

    score: float
    expected: float
    lower: float
    upper: float


class Detector(AnomalyDetector):
    """An online detector of one series: first ``judge`` a value, then ``learn`` it.

    It is a River anomaly detector too (``score_one``, ``learn_one`` on ``{"value": x}``), so it
    works in River's pipelines, metrics and checks. State is a few numbers, not an object graph:
    it is snapshotted for every series, every few seconds.
    """

    state_size: ClassVar[int]
    """Length of ``state``."""

    @abstractmethod
    def judge(self, value: float) -> Judgement:
        """Judge a finite value by what was learned so far. Changes nothing."""

    @abstractmethod
    def learn(self, value: float) -> None:
        """Learn a finite value."""

    @property
    @abstractmethod
    def state(self) -> tuple[float, ...]:
        """What was learned, as ``state_size`` numbers."""

    @abstractmethod
    def resume(self, state: tuple[float, ...]) -> Self:
        """Take up a state that ``state`` gave, and return the detector itself."""

    def bank(self) -> Bank:
        """Return an empty bank of detectors with the parameters of this one.

        One that is compiled, and judges a million values a second and more, is worth its lines for
        a detector of every series; any other does with one object a series.
        """
        return ScalarBank(self)

    def score_one(self, x: dict[Hashable, Any]) -> float:
        """Return the score of ``x["value"]``."""
        return self.judge(float(x["value"])).score

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        """Learn ``x["value"]``."""
        self.learn(float(x["value"]))


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
        self, rows: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Have each value judged, and then learned, by the detector of its row.

        Args:
            rows: row of each value; one may come several times, its values in their order.
            values: finite.

        Returns:
            Four rows: the fields of ``Judgement``, each with one element a value.
        """

    @abstractmethod
    def forget(self, rows: NDArray[np.intp]) -> None:
        """Have these rows learn anew."""

    @abstractmethod
    def keep(self, rows: NDArray[np.intp]) -> None:
        """Remove all rows but these, which are numbered anew in their order."""

    @property
    @abstractmethod
    def state(self) -> NDArray[np.float64]:
        """What was learned: the ``state`` of each detector, a row each."""

    @abstractmethod
    def resume(self, state: NDArray[np.float64]) -> Self:
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
        self, rows: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Call one detector after the other."""
        judgements = np.empty((len(values), len(Judgement._fields)))
        for at, (row, value) in enumerate(zip(rows.tolist(), values.tolist(), strict=True)):
            detector = self._detectors[row]
            judgements[at] = detector.judge(value)
            detector.learn(value)
        return judgements.T

    def forget(self, rows: NDArray[np.intp]) -> None:
        """Put fresh detectors in their place."""
        for row in rows.tolist():
            self._detectors[row] = self._detector.clone()

    def keep(self, rows: NDArray[np.intp]) -> None:
        """Keep only the detectors of these rows."""
        self._detectors = [self._detectors[row] for row in rows.tolist()]

    @property
    def state(self) -> NDArray[np.float64]:
        """The states of the detectors, a row each."""
        states = [detector.state for detector in self._detectors]
        return np.array(states, np.float64).reshape(len(self), self._detector.state_size)

    def resume(self, state: NDArray[np.float64]) -> Self:
        """Take up a state with as many rows as it has."""
        self._detectors = [self._detector.clone().resume(tuple(row)) for row in state.tolist()]
        return self
