"""The contract of a detector."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Hashable
from typing import Any, ClassVar, NamedTuple, Self

from river.base import AnomalyDetector

__all__ = ["Detector", "Judgement"]


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

    def score_one(self, x: dict[Hashable, Any]) -> float:
        """Return the score of ``x["value"]``."""
        return self.judge(float(x["value"])).score

    def learn_one(self, x: dict[Hashable, Any]) -> None:
        """Learn ``x["value"]``."""
        self.learn(float(x["value"]))
