"""Made series of operations, seeded, with what is usual there and with known faults.

What is usual and no fault: seasons of day and week, bursts, nightly jobs, deploys (a short gap, a
spike, sometimes another level of noise), restarts, gaps. The same series for all detectors.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from models.evaluate.labelled import Labelled

__all__ = ["FAULTS", "KINDS", "Fault", "Operational", "operational", "operations"]

Floats = NDArray[np.float64]
_BEGIN: Final = 1_704_067_200 * 10**9  # a Monday, midnight
_STEP: Final = 60 * 10**9
_DAY: Final = 1440
FAULTS: Final = ("spike", "shift", "drift", "variance", "flat", "zero", "missing")


class Fault(NamedTuple):
    """One fault: rows ``first`` to ``last`` of a series; of ``missing``, the row after the hole."""

    kind: str
    first: int
    last: int


class Operational(NamedTuple):
    """One made series, and its faults; ``times`` have holes where nothing was reported."""

    kind: str
    times: NDArray[np.int64]
    values: Floats
    faults: tuple[Fault, ...]

    def labelled(self, probation: int = 2 * _DAY) -> Labelled:
        """Return it as the evaluation takes it; a fault counts for half an hour after its end."""
        windows = tuple(
            (fault.first, min(fault.last + 30, len(self.values) - 1))
            for fault in self.faults
            if fault.kind != "missing"
        )
        return Labelled(self.kind, self.times, self.values, windows, probation)


class Source:
    """The dice and the calendar of one series."""

    def __init__(self, seed: int, days: int) -> None:
        self.dice = np.random.default_rng(seed)
        self.size = days * _DAY
        at = np.arange(self.size)
        self.hour = at % _DAY / 60
        # Weekends come and go within a few hours, not at midnight.
        week = at / _DAY % 7
        self.weekend = np.clip(np.minimum(week - 4.9, 7.0 - week) / 0.3, 0, 1)

    def daily(self, peak: float = 14.0, depth: float = 0.6) -> Floats:
        """Return a day's course around 1, weaker on weekends."""
        course = 1 + depth * np.cos((self.hour - peak) / 24 * 2 * np.pi)
        quieter = 1 + (course - 1) * 0.4 - 0.25
        return course + self.weekend * (quieter - course)

    def noise(self, scale: float, memory: float = 0.0) -> Floats:
        """Return noise that remembers its last value to this part."""
        raw = self.dice.normal(0, scale * np.sqrt(1 - memory**2), self.size)
        out = np.empty(self.size)
        last = 0.0
        for at, fresh in enumerate(raw.tolist()):
            last = memory * last + fresh
            out[at] = last
        return out

    def bursts(self, a_day: float, length: int, height: float) -> Floats:
        """Return bursts that come at random, with lengths and heights around these."""
        out = np.zeros(self.size)
        for begin in self.dice.integers(0, self.size, self.dice.poisson(a_day * self.size / _DAY)):
            long = int(self.dice.integers(1, 2 * length + 1))
            out[begin : begin + long] += height * self.dice.uniform(0.5, 1.5)
        return out

    def nightly(self, hour: float, minutes: int) -> NDArray[np.bool_]:
        """Return when a nightly job runs, a few minutes more or less."""
        out = np.zeros(self.size, np.bool_)
        for day in range(self.size // _DAY):
            begin = day * _DAY + int(hour * 60) + int(self.dice.integers(0, 5))
            out[begin : begin + minutes + int(self.dice.integers(-3, 4))] = True
        return out


def _sawtooth(source: Source, slope: float, low: float, high: float) -> Floats:
    out, at = np.empty(source.size), low
    for row in range(source.size):
        at += slope * source.dice.uniform(0.5, 1.5)
        if at > high * source.dice.uniform(0.97, 1.0):
            at = low * source.dice.uniform(0.9, 1.1)
        out[row] = at
    return out


KINDS: Final[dict[str, Callable[[Source], Floats]]] = {
    "cpu of an idle host": lambda s: 0.04 + abs(s.noise(0.01)) + s.bursts(24, 2, 0.1),
    "cpu of a service": lambda s: 0.35 * s.daily() + s.noise(0.03, 0.6),
    "cpu with a nightly job": lambda s: 0.1 + 0.7 * s.nightly(2, 40) + abs(s.noise(0.02, 0.3)),
    "cpu per core": lambda s: 0.2 * s.daily(15, 0.8) + s.dice.gamma(1.5, 0.05, s.size),
    "latency": lambda s: 0.08 * np.exp(s.noise(0.12, 0.4)) * (0.8 + 0.2 * s.daily()),
    "latency, 99th percentile": lambda s: 0.3 * np.exp(s.noise(0.35)) + s.bursts(3, 2, 0.6),
    "latency with a cache": lambda s: (
        np.where(s.dice.random(s.size) < 0.3, 0.2, 0.02) * np.exp(s.noise(0.1))
    ),
    "requests": lambda s: s.dice.poisson(np.maximum(900 * s.daily(), 5) * 60) / 60,
    "requests, few": lambda s: s.dice.poisson(2.0 * np.maximum(s.daily(), 0.1)) / 60.0,
    "requests, bursty": lambda s: s.dice.negative_binomial(2, 0.05, s.size) * s.daily(20, 0.5),
    "errors, sparse": lambda s: s.dice.poisson(0.02, s.size) + s.dice.poisson(s.bursts(0.4, 2, 1)),
    "errors of a hundred": lambda s: s.dice.binomial(400, 0.004, s.size) / 400.0,
    "disk that fills": lambda s: _sawtooth(s, 0.6 / (5 * _DAY), 0.3, 0.85),
    "disk that hardly moves": lambda s: 0.42 + np.arange(s.size) * 1e-7 + s.noise(2e-5),
    "memory with collections": lambda s: _sawtooth(s, 0.02, 0.3, 0.7) * 8e9,
    "queue": lambda s: s.dice.poisson(0.2, s.size) + np.floor(s.bursts(12, 5, 30)),
    "connections": lambda s: np.round(200 * (0.9 + 0.1 * s.daily()) + s.noise(12, 0.95)),
    "temperature": lambda s: 42 + 3 * s.daily(16, 0.6) + s.noise(0.2, 0.8),
    "network with a backup": lambda s: 2e6 * np.exp(s.noise(0.4, 0.5)) + 4e7 * s.nightly(3.5, 60),
    "constant": lambda s: np.full(s.size, 16.0),
}
"""What the values of each kind are when all is well: a row a minute."""
_OFTEN_STILL: Final = ("errors", "queue", "constant", "requests, few", "disk that hardly")
"""Kinds that may stand still or at zero for hours, and are well."""


def operational(kind: str, seed: int, days: int = 30, faults: tuple[str, ...] = ()) -> Operational:
    """Return one series.

    Args:
        kind: in ``KINDS``.
        seed: another one makes another series of the kind.
        days: its length.
        faults: what goes wrong, in this order, in its second half.
    """
    source = Source(seed * 1000 + list(KINDS).index(kind), days)
    values = np.maximum(np.asarray(KINDS[kind](source), np.float64), 0.0)
    here = np.ones(source.size, np.bool_)
    _usual(source, kind, values, here)
    made = []
    room = source.size // 2 // (len(faults) + 1)
    for number, wanted in enumerate(faults):
        fault = wanted
        if fault in {"flat", "zero"} and kind.startswith(_OFTEN_STILL):
            fault = "shift"
        at = source.size // 2 + room * number + int(source.dice.integers(room // 4, room // 2))
        made.append((fault, at, at + _harm(source, fault, at, values, here)))
    rows = np.cumsum(here) - 1
    times = _BEGIN + np.arange(source.size, dtype=np.int64) * _STEP
    found = tuple(
        Fault(fault, int(rows[first]) + (fault == "missing"), int(rows[last]))
        for fault, first, last in made
    )
    return Operational(kind, times[here], values[here], found)


def _usual(source: Source, kind: str, values: Floats, here: NDArray[np.bool_]) -> None:
    """Let deploys, restarts and gaps happen, a few a month."""
    dice = source.dice
    for at in dice.integers(0, source.size - 30, source.size // _DAY // 5):  # deploys
        here[at : at + int(dice.integers(1, 3))] = False
        if kind.startswith(("cpu", "latency")):
            values[at + 2 : at + 5] *= dice.uniform(1.1, 1.5)
    for at in dice.integers(0, source.size - 30, source.size // _DAY // 10):  # gaps
        here[at : at + int(dice.integers(2, 20))] = False


def _harm(
    source: Source, fault: str, at: int, values: Floats, here: NDArray[np.bool_]
) -> int:  # fmt: skip
    """Change the values from ``at`` on; return the length of the fault less one."""
    dice, before = source.dice, values[max(at - _DAY, 0) : at]
    level = float(np.median(before))
    spread = max(float(np.subtract(*np.percentile(before, [95, 5]))), 0.05 * abs(level))
    whole = bool(np.all(before == np.round(before)))
    spread = max(spread, 2.0 if whole else 0.02)
    sign = 1.0 if dice.random() < 0.8 or level < spread else -1.0
    length = {
        "spike": 4, "shift": 240, "drift": 480, "variance": 240, "flat": 360, "zero": 120,
        "missing": 60,
    }[fault]  # fmt: skip
    rows = slice(at, at + length)
    if fault == "spike":
        values[rows] += sign * spread * dice.uniform(2.0, 5.0)
    elif fault == "shift":
        values[rows] += sign * spread * dice.uniform(1.0, 2.5)
    elif fault == "drift":
        values[rows] += sign * np.linspace(0, spread * dice.uniform(1.5, 3.0), length)
    elif fault == "variance":
        values[rows] += dice.normal(0, spread * 0.8, length)
    elif fault == "flat":
        values[rows] = values[at]
    elif fault == "zero":
        values[rows] = 0.0
    else:
        here[rows] = False
        return length
    np.maximum(values, 0.0, out=values)
    if whole and level != 16.0:  # what is counted comes in whole numbers in a fault, too
        values[rows] = dice.poisson(values[rows])
    return length - 1


def operations(
    seed: int, days: int = 30, faults: tuple[str, ...] = FAULTS[:-1]
) -> list[Operational]:  # fmt: skip
    """Return one series of each kind, each with three of the faults in turn, and a quiet twin."""
    made = []
    for number, kind in enumerate(KINDS):
        chosen = tuple(faults[(number + turn * 2 + turn // 3) % len(faults)] for turn in range(3))
        if faults:
            made.append(operational(kind, seed, days, chosen))
        made.append(operational(kind, seed + 500, days))
    return made
