"""Any anomaly detector of River, by its name, and pipelines that end in one."""

from __future__ import annotations

import importlib
import inspect
import logging
from collections.abc import Mapping, Sequence
from math import isfinite, log, nan
from typing import Any, ClassVar, Final, Self

import orjson
from river import anomaly, compose, preprocessing
from river.base import AnomalyDetector, AnomalyFilter, Base, SupervisedAnomalyDetector

from models.base import Detector, Judgement, State
from models.calibration import Calibration
from models.features import Features
from models.trusted import from_bytes, to_bytes

__all__ = ["BadModel", "RiverModel", "build_model", "raw_score"]

_log = logging.getLogger(__name__)

_PREFIX: Final = "river."
_USUAL: Final = ("value", "difference", "rolling_mean", "rolling_deviation")
_SCALED: Final[Mapping[type, type]] = {
    anomaly.HalfSpaceTrees: preprocessing.MinMaxScaler,
    anomaly.OneClassSVM: preprocessing.StandardScaler,
    anomaly.LocalOutlierFactor: preprocessing.StandardScaler,
    anomaly.LODA: preprocessing.StandardScaler,
}
"""What a detector that is named alone is given its features through: it would see little else."""
_BOUNDED: Final = (anomaly.HalfSpaceTrees, anomaly.GaussianScorer)
"""Their scores end at 1: what counts is how near they are to it."""
_NEAREST: Final = 1e-16
_FAULTS: Final = (TypeError, ValueError, ArithmeticError, LookupError)
_LEAST: Final = 5
_WILD: Final = 1e30
_LARGEST: Final = 1e150
"""Values beyond are given as this: their square is a number still."""


class BadModel(ValueError):
    """A name or options that make no detector of River's; the text says which and why."""


class RiverModel(Detector):
    """A detector of River's as one of Headrace's: its raw scores are calibrated.

    It has no band. It costs what the River model costs, from 1 to some 1000 microseconds a value;
    its state is River's objects, from 1 to some 200 KB a series. A value that makes the model
    raise an error has no score, and the model begins anew.

    Parameters
    ----------
    model
        Name of a class, as ``river.anomaly.HalfSpaceTrees``, or several with ``|`` between them,
        as ``river.preprocessing.StandardScaler | river.anomaly.OneClassSVM``.
    options
        Arguments of the class; of a pipeline, arguments by the classes' names. An argument that
        is a model is the name of its class, or that with its arguments:
        ``{"forecaster": {"river.time_series.SNARIMAX": {"p": 4, "d": 1, "q": 0}}}``.
    features
        Names in ``models.features.FEATURES``.
    alerts
        How many false alerts of a series in thirty days its user puts up with.
    a_month
        How many values a series has in thirty days.

    Examples
    --------
    >>> detector = RiverModel("river.anomaly.StandardAbsoluteDeviation")
    >>> for value in [10.0, 11.0, 9.0, 10.5, 9.5] * 60:
    ...     detector.learn(value)
    >>> detector.judge(10.4).score
    0.0
    >>> detector.judge(20.0).score > 1
    True

    References
    ----------
    J. Montiel et al., "River: machine learning for streaming data in Python", Journal of Machine
    Learning Research 22, 2021.
    """

    reasons: ClassVar[tuple[str, ...]] = ("model",)

    def __init__(
        self,
        model: str = "river.anomaly.HalfSpaceTrees",
        options: Mapping[str, Any] | None = None,
        features: Sequence[str] = _USUAL,
        alerts: float = 1.0,
        a_month: float = 43_200.0,
    ) -> None:
        self.model = model
        self.options = options
        self.features = features
        self.alerts = alerts
        self.a_month = a_month
        self._begin()

    def _begin(self) -> None:
        self._features = Features(self.features)
        self._calibration = Calibration(self.alerts, self.a_month)
        self._river = build_model(self.model, self.options or {})
        self._takes_target = isinstance(_last(self._river), SupervisedAnomalyDetector)
        self._learned = 0.0

    def judge(self, value: float, time: int = 0) -> Judgement:
        """Judge a value by the rank of its raw score."""
        raw = self._raw(value, self._features.of(value, time))
        return Judgement(nan if raw is None else self._calibration.score(raw), nan, nan, nan)

    def learn(self, value: float, time: int = 0) -> None:
        """Learn a value, and its raw score."""
        self.judge_then_learn(value, time)

    def judge_then_learn(self, value: float, time: int = 0) -> Judgement:
        """Do both with one score of the model."""
        features = self._features.of(value, time)
        raw = self._raw(value, features)
        score = nan
        if raw is not None:
            score = self._calibration.score(raw)
            self._calibration.learn(raw)
        if self._is_wild(value):
            return Judgement(score, nan, nan, nan)  # nothing measures it: judged, not learned
        try:
            if self._takes_target:
                self._river.learn_one(features, _bounded(value))
            else:
                self._river.learn_one(features)
        except _FAULTS as error:
            self._fail(error)
        self._features.learn(_bounded(value))
        self._learned += 1.0
        return Judgement(score, nan, nan, nan)

    def _is_wild(self, value: float) -> bool:
        _, last, mean, _ = self._features.state
        return self._learned > _LEAST and abs(value) > _WILD * (abs(mean) + abs(last) + 1.0)

    def _raw(self, value: float, features: dict[str, float]) -> float | None:
        """Return the model's own score, None if it has none."""
        if self._learned <= _LEAST:
            return 0.0
        try:
            if self._takes_target:
                raw = self._river.score_one(features, _bounded(value))
            else:
                raw = self._river.score_one(features)
            raw = float(raw)
        except _FAULTS as error:
            self._fail(error)
            return None
        return raw_score(self._river, raw)

    def _fail(self, error: Exception) -> None:
        _log.warning("%s: %s: %s; it begins anew", self.model, type(error).__name__, error)
        self._begin()

    @property
    def state(self) -> State:
        """The model's objects, and the numbers of its calibration and features, as bytes."""
        numbers = orjson.dumps([self._learned, self._features.state, self._calibration.state])
        return len(numbers).to_bytes(4, "little") + numbers + to_bytes(self._river)

    def resume(self, state: State) -> Self:
        """Take up such bytes."""
        raw = bytes(state)  # type: ignore[arg-type]
        size = int.from_bytes(raw[:4], "little")
        self._learned, features, calibration = orjson.loads(raw[4 : 4 + size])
        self._features.resume(features)
        self._calibration.resume(calibration)
        self._river = from_bytes(raw[4 + size :])
        return self


def raw_score(model: Any, score: float) -> float | None:
    """Return the score of a model of River's where larger differs from large; None if it is no number."""
    if not isfinite(score):
        return None
    return -log(max(1.0 - score, _NEAREST)) if isinstance(_last(model), _BOUNDED) else score


def _bounded(value: float) -> float:
    return max(min(value, _LARGEST), -_LARGEST)


def _last(model: Any) -> Any:
    return list(model.steps.values())[-1] if isinstance(model, compose.Pipeline) else model


def build_model(model: str, options: Mapping[str, Any]) -> Any:
    """Return what a name and options describe.

    Raises:
        BadModel: there is no such class, it takes no such options, or it detects no anomalies.
    """
    names = [name.strip() for name in model.split("|")]
    if len(names) == 1:
        parts = [_instance(names[0], options)]
        scaler = _SCALED.get(type(parts[0]))
        if scaler is not None:
            parts.insert(0, scaler())
    else:
        known = {name.rpartition(".")[2] for name in names}
        for name in options:
            if name not in known:
                raise BadModel(f'options: no part of the pipeline is called "{name}"')
        parts = [_instance(name, options.get(name.rpartition(".")[2], {})) for name in names]
    if not isinstance(parts[-1], AnomalyDetector | SupervisedAnomalyDetector) or isinstance(
        parts[-1], AnomalyFilter
    ):
        raise BadModel(f"{names[-1]} is no anomaly detector of River's")
    return parts[0] if len(parts) == 1 else compose.Pipeline(*parts)


def _instance(name: str, options: Mapping[str, Any]) -> Any:
    kind = _class(name)
    given = {option: _argument(value) for option, value in options.items()}
    if "seed" in inspect.signature(kind).parameters:
        given.setdefault("seed", 0)  # a replay says the same
    try:
        return kind(**given)
    except (TypeError, ValueError) as error:
        allowed = ", ".join(list(inspect.signature(kind).parameters))
        raise BadModel(f"{name}: {error} (it takes: {allowed or 'nothing'})") from None


def _argument(value: Any) -> Any:
    """Return an argument; what names a class of River's becomes a model."""
    if isinstance(value, str) and value.startswith(_PREFIX):
        return _instance(value, {})
    if isinstance(value, Mapping) and len(value) == 1:
        (name, options), *_ = value.items()
        if isinstance(name, str) and name.startswith(_PREFIX):
            return _instance(name, options or {})
    return value


def _class(name: str) -> type[Base]:
    module, _, attribute = name.rpartition(".")
    if not (module == "river" or module.startswith(_PREFIX)):
        raise BadModel(f'"{name}" is no class of River\'s, as river.anomaly.HalfSpaceTrees is')
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError):
        raise BadModel(f'River has no "{name}"') from None
    if not (isinstance(found, type) and issubclass(found, Base)):
        raise BadModel(f'"{name}" is no model')
    return found
