"""Settings of vectors: signals of a service that are judged together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, model_validator

from flows.settings.values import PositiveDuration, RegularExpression, Section
from models.named import BadDetector
from models.vector_model import JOINT, new_vector_model
from operators.scoring.signals import GOLDEN, TAKES, Selector, Signal, Vector

__all__ = ["SignalRollups", "SignalVector"]

_NAME = r"[A-Za-z_][A-Za-z0-9_.-]*"


class SignalRollups(Section):
    """Which rollups a signal is made of, see ``operators.scoring.signals.Selector``."""

    metric: RegularExpression
    """Regular expression of the whole name."""
    take: str
    """``rate`` of events; ``ratio`` of those that failed; ``mean``, ``max`` or ``p95`` of values;
    ``free``, what a part that is idle leaves."""
    labels: dict[str, RegularExpression] = Field(default_factory=dict)
    """Regular expressions of the whole values of labels."""
    failed: dict[str, RegularExpression] = Field(default_factory=dict)
    """Of a ratio: labels of what failed; if left out, those that tell of failure."""
    of: RegularExpression = ""
    """Of a ratio: the metric that is the whole, if ``metric`` counts failures alone."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.take not in TAKES:
            raise ValueError(f'"{self.take}" can\'t be taken (there are: {", ".join(TAKES)})')
        if self.take != "ratio" and (self.failed or self.of):
            raise ValueError("failed and of are for take: ratio")
        if self.failed and self.of:
            raise ValueError("a ratio has failed or of, not both")
        return self

    def selector(self) -> Selector:
        """Return what scoring takes."""
        return Selector(self.metric, self.take, self.labels, self.failed, self.of)


def _listed(value: Any) -> Any:
    return value if isinstance(value, list | tuple) else (value,)


_Listed = Annotated[tuple[SignalRollups, ...], BeforeValidator(_listed), Field(min_length=1)]


class SignalVector(Section):
    """Signals that are judged together, a vector for each group of series."""

    name: str = Field(pattern=f"^{_NAME}$")
    by: tuple[str, ...] = Field(default=("service.name",), min_length=1)
    """Labels that make a group; series without one of them are in none."""
    signals: dict[str, _Listed] = Field(default_factory=dict)
    """By name, what each is made of: a selector, or several of which the first that has anything
    counts. The golden signals if left out: rate, errors, duration, saturation."""
    both_ways: tuple[str, ...] = ("rate",)
    """Signals of which less than usual may be a fault, too."""
    window: PositiveDuration | None = None
    """The resolution that is judged; the one of all scoring if left out."""
    detector: str = JOINT
    """Ours, or an anomaly detector of River's by its name."""
    options: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _by_its_name(cls, given: Any) -> Any:
        """``golden`` alone is the vector of the golden signals."""
        return {"name": given} if given == "golden" else given

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if self.signals and len(self.signals) < 2:
            raise ValueError("signals: a vector has two at least")
        if self.name != "golden" and not self.signals:
            raise ValueError('signals: none are given (only "golden" has some of its own)')
        try:
            new_vector_model(self.detector, self.options, (), 1000.0)
        except BadDetector as error:
            raise ValueError(str(error)) from None
        return self

    def vector(self, window: int) -> Vector:
        """Return what scoring takes; ``window`` is the resolution of all scoring."""
        signals: Mapping[str, Signal] = GOLDEN
        if self.signals:
            signals = {
                name: Signal(
                    tuple(one.selector() for one in rollups), above=name not in self.both_ways
                )
                for name, rollups in self.signals.items()
            }
        return Vector(
            self.name, self.by, signals, self.window or window, self.detector, self.options
        )
