"""What the runs came to: medians, and ratios of runs of the same turn."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import Any

from bench.cases import Case
from bench.run import Measured

__all__ = ["Figures", "best"]

FLOORS = ("floor", "logs: read")


class Figures:
    """The runs of each case, by turn, and single figures by name."""

    def __init__(self) -> None:
        self.runs: dict[Case, list[Measured]] = {}
        self.single: dict[str, float] = {}

    def add(self, case: Case, run: Measured) -> None:
        """Note a run; the first of a case is that of the first turn."""
        self.runs.setdefault(case, []).append(run)

    def find(
        self,
        way: str,
        encoding: str = "otlp_proto",
        series: int | None = None,
        points: int = -1,
        interval: int = 1,
    ) -> Case | None:
        """Return the case of so many series and points, the fewest series if ``None``.

        Of several numbers of points the largest is meant, and 0 means the smallest.
        """
        cases = [
            c
            for c in self.runs
            if (c.way, c.load.encoding, c.load.interval) == (way, encoding, interval)
        ]
        if not cases:
            return None
        wanted = min(c.load.series for c in cases) if series is None else series
        cases = [c for c in cases if c.load.series == wanted]
        cases.sort(key=lambda c: c.load.points, reverse=points != 0)
        return cases[0] if cases else None

    def median(self, case: Case | None, of: Callable[[Measured], float]) -> float | None:
        """Return the median over the turns; ``None`` if it was not measured."""
        if case is None:
            return None
        return statistics.median(map(of, self.runs[case]))

    def median_of_some(
        self, case: Case | None, of: Callable[[Measured], float | None]
    ) -> float | None:
        """Return the median over the turns that have such a figure; ``None`` if none has."""
        if case is None:
            return None
        known = [value for value in map(of, self.runs[case]) if value is not None]
        return statistics.median(known) if known else None

    def ratio(
        self, case: Case | None, base: Case | None, of: Callable[[Measured], float]
    ) -> float | None:
        """Return the median of the ratios of both in the same turn."""
        if case is None or base is None or case == base:
            return None
        pairs = zip(self.runs[case], self.runs[base], strict=False)
        return statistics.median(of(run) / of(other) for run, other in pairs)

    def of_the_floor(self, case: Case) -> float | None:
        """Return the speed as a part of what reading and decoding the same topic have.

        Of logs the floor is reading alone.
        """
        floor = self._floor_of(case)
        return 1.0 if case == floor else self.ratio(case, floor, lambda run: run.rate)

    def cpu_of_the_floor(self, case: Case) -> float | None:
        """Return how many times the floor's CPU seconds it takes."""
        floor = self._floor_of(case)
        return 1.0 if case == floor else self.ratio(case, floor, lambda run: run.cpu)

    def _floor_of(self, case: Case) -> Case | None:
        return next((c for c in self.runs if c.way in FLOORS and c.load == case.load), None)

    def to_json(self) -> dict[str, Any]:
        """Return all of it as plain data."""
        cases = {}
        for case, runs in self.runs.items():
            cases[case.label] = {
                "encoding": case.load.encoding,
                "series": case.load.series,
                "points": case.load.points,
                "points_per_second": self.median(case, lambda run: run.rate),
                "of_the_floor": self.of_the_floor(case),
                "cpu_of_the_floor": self.cpu_of_the_floor(case),
                "cpu_seconds_per_million": self.median(case, lambda run: run.cpu_a_million),
                "peak_mb": self.median(case, lambda run: run.peak_mb),
                "warm_points_per_second": self.median_of_some(case, lambda run: run.warm_rate),
                "warm_cpu_seconds_per_million": self.median_of_some(
                    case, lambda run: run.warm_cpu_a_million
                ),
                "runs": [_plain(run) for run in runs],
            }
        return {"cases": cases, "figures": self.single}


def _plain(run: Measured) -> dict[str, Any]:
    return {name: getattr(run, name) for name in run.__slots__}


def best(values: Sequence[float | None]) -> float | None:
    """Return the largest of those that were measured."""
    known = [value for value in values if value is not None]
    return max(known) if known else None
