"""What judges vectors of signals: ours, or any anomaly detector of River's, under one contract."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Final, Self

import orjson

from models.joint_distance import JointDistance
from models.named import BadDetector
from models.trusted import from_bytes, to_bytes

__all__ = ["JOINT", "VectorModel", "new_vector_model"]

_log = logging.getLogger(__name__)

JOINT: Final = "joint_distance"
"""The default: see ``JointDistance``."""
_MONTH_OF_DAYS: Final = 30.0
_FAULTS: Final = (TypeError, ValueError, ArithmeticError, LookupError)
_AT_LEAST: Final = 2
"""Signals; one alone is judged as its series is."""
_YOUNG: Final = 30.0
_USUAL: Final = 1 / 300

Signals = Mapping[Hashable, float]


class VectorModel(ABC):
    """Says how unusual signals are together, as a number that is to be ranked; larger is more so.

    A signal that is missing is not in the mapping.
    """

    @abstractmethod
    def score(self, signals: Signals) -> float | None:
        """Return how unusual these are; None where nobody can tell yet. Changes nothing."""

    @abstractmethod
    def learn(self, signals: Signals) -> None:
        """Learn these."""

    @abstractmethod
    def contributions(self, signals: Signals) -> dict[Hashable, float]:
        """Return each signal's part in the score; together they are 1. Empty if nobody knows."""

    @abstractmethod
    def expected(self, signals: Signals) -> dict[Hashable, float]:
        """Return what each signal usually is, by the others if the model knows."""

    @abstractmethod
    def begin_again(self) -> None:
        """Have what comes next count as what is usual."""

    @property
    @abstractmethod
    def state(self) -> bytes:
        """What was learned."""

    @abstractmethod
    def resume(self, state: bytes) -> Self:
        """Take up what ``state`` gave, and return the model itself."""


def new_vector_model(
    name: str, options: Mapping[str, Any], above: Sequence[str], a_month: float
) -> VectorModel:
    """Return a fresh model.

    Args:
        name: ``joint_distance``, or one of River's, or several of them with ``|``.
        options: its arguments.
        above: signals of which less than usual is no fault; for ours.
        a_month: vectors in thirty days.

    Raises:
        BadDetector: nothing has this name, or it takes no such options.
    """
    if name == JOINT:
        given = {"fading": min(_MONTH_OF_DAYS / a_month, 0.05), **options}
        try:
            return OurVectors(JointDistance(above=tuple(above), **given))
        except TypeError as error:
            raise BadDetector(f"options: {name}: {str(error).partition(' ')[2]}") from None
    if not name.startswith("river."):
        raise BadDetector(
            f'no detector of vectors is called "{name}" (there are: {JOINT}, and those of River by '
            "their names, as river.anomaly.HalfSpaceTrees)"
        )
    return RiverVectors(name, options)


class OurVectors(VectorModel):
    """``JointDistance``."""

    def __init__(self, model: JointDistance) -> None:
        self._model = model

    def score(self, signals: Signals) -> float | None:
        """Return the distance of at least two signals as a normal deviate."""
        return self._model.score_one(signals) if self._model.known(signals) >= _AT_LEAST else None

    def learn(self, signals: Signals) -> None:
        """Learn these."""
        self._model.learn_one(signals)

    def contributions(self, signals: Signals) -> dict[Hashable, float]:
        """Return the parts of the squared distance."""
        return self._model.contributions(signals)

    def expected(self, signals: Signals) -> dict[Hashable, float]:
        """Return what each would be by all others."""
        return self._model.expected(signals)

    def begin_again(self) -> None:
        """Learn anew what is usual."""
        self._model.begin_again()

    @property
    def state(self) -> bytes:
        """Plain numbers as JSON, which keeps them to the last bit."""
        return orjson.dumps(self._model.state)

    def resume(self, state: bytes) -> Self:
        """Take them up."""
        self._model.resume(orjson.loads(state))
        return self


class RiverVectors(VectorModel):
    """Any anomaly detector of River's, given the signals as its features.

    One that is missing is given as it usually is. A signal's contribution is by how much the score
    falls where that signal alone is as usual (occlusion: M. D. Zeiler, R. Fergus, "Visualizing and
    understanding convolutional networks", ECCV 2014), as a part of all such falls.

    Raises:
        BadDetector: nothing has this name, or it takes no such options.
    """

    def __init__(self, name: str, options: Mapping[str, Any]) -> None:
        # Its library takes seconds to import: who has not asked for it does not wait for it.
        from models.river_model import BadModel, build_model  # noqa: PLC0415

        self._name, self._options = name, options
        try:
            self._model = build_model(name, options)
        except BadModel as error:
            raise BadDetector(str(error)) from None
        self._usual: dict[Hashable, float] = {}
        self._learned = 0.0

    def score(self, signals: Signals) -> float | None:
        """Return the model's own score; None at first, and where the model has none."""
        from models.river_model import raw_score  # noqa: PLC0415

        if self._learned < _YOUNG or len(signals) < _AT_LEAST:
            return None
        try:
            return raw_score(self._model, float(self._model.score_one(self._whole(signals))))
        except _FAULTS as error:
            _log.warning("%s: %s: %s; no score", self._name, type(error).__name__, error)
            return None

    def learn(self, signals: Signals) -> None:
        """Learn these; a model that fails on them begins anew."""
        self._learned += 1.0
        weight = max(_USUAL, 1.0 / self._learned)
        for name, value in signals.items():
            usual = self._usual.setdefault(name, value)
            self._usual[name] = usual + weight * (value - usual)
        try:
            self._model.learn_one(self._whole(signals))
        except _FAULTS as error:
            _log.warning("%s: %s: %s; it begins anew", self._name, type(error).__name__, error)
            self.begin_again()

    def _whole(self, signals: Signals) -> dict[Hashable, float]:
        return self._usual | dict(signals)

    def contributions(self, signals: Signals) -> dict[Hashable, float]:
        """Return by how much each raises the score."""
        score = self.score(signals)
        if score is None:
            return {}
        falls = {
            name: max(score - (self.score({**signals, name: self._usual[name]}) or 0.0), 0.0)
            for name in signals
            if name in self._usual
        }
        total = sum(falls.values())
        return {name: fall / total for name, fall in falls.items()} if total > 0.0 else {}

    def expected(self, signals: Signals) -> dict[Hashable, float]:
        """Return the mean of each."""
        return {name: self._usual[name] for name in signals if name in self._usual}

    def begin_again(self) -> None:
        """Make a new model."""
        self.__init__(self._name, self._options)  # type: ignore[misc]

    @property
    def state(self) -> bytes:
        """River's objects, see ``models.trusted``, and what is usual."""
        numbers = orjson.dumps([self._learned, self._usual])
        return len(numbers).to_bytes(4, "little") + numbers + to_bytes(self._model)

    def resume(self, state: bytes) -> Self:
        """Take them up."""
        size = int.from_bytes(state[:4], "little")
        self._learned, self._usual = orjson.loads(state[4 : 4 + size])
        self._model = from_bytes(state[4 + size :])
        return self
