"""What scoring should say, worked out one rollup after the other, from everything that was seen.

It keeps the history of each series and looks at the whole of it each time, where the code under
test keeps counters. The detectors are the scalar ones, which have tests of their own.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from models.base import Detector
from models.named import DETECTORS


@dataclass
class Seen:
    """One series: the verdicts on it, oldest first, each with the start of its window."""

    detector: Detector
    values: list[float] = field(default_factory=list)
    verdicts: list[tuple[int, bool]] = field(default_factory=list)
    starts: list[int] = field(default_factory=list)
    band: tuple[float, float] = (float("-inf"), float("inf"))  # before the run or alert
    since: int | None = None  # of the alert that fires

    @property
    def latest(self) -> int:
        return max(self.starts, default=0)

    def rhythm(self) -> float:
        """Return the usual time between two windows, each of which weighs an eighth."""
        usual = 0.0
        for before, after in pairwise(self.starts):
            gap = float(after - before)
            usual = usual or gap
            usual += (min(gap, 4 * usual) - usual) / 8
        return usual


@dataclass
class Reference:
    """Scoring of one shard.

    Attributes:
        scores: by series and window; None where nothing was judged.
        events: series, status, start, end, the values before, and the time of the change.
    """

    window: int
    warm_up: int
    fire_after: int
    resolve_after: int
    stale_after: int
    evict_after: int
    series: dict[int, Seen] = field(default_factory=dict)
    scores: dict[tuple[int, int], float | None] = field(default_factory=dict)
    events: list[tuple[int, str, int, int | None, list[float], int]] = field(default_factory=list)
    latest: int = 0
    swept: int = 0

    def see(self, rollups: list[tuple[int, int, float]]) -> None:
        """Take in what came at once: series, start of the window and value."""
        for series, start, value in sorted(rollups, key=lambda rollup: rollup[1]):
            self.latest = max(self.latest, start)
            self._judge(series, start, value)
        if self.latest - self.swept >= self.window:
            self.swept = self.latest
            self._sweep()

    def _judge(self, series: int, start: int, value: float) -> None:
        seen = self.series.setdefault(series, Seen(DETECTORS["robust_ewma"]()))
        self.scores[series, start] = None
        rhythm = seen.rhythm()
        if rhythm and seen.since is None and start - seen.latest > 3 * max(rhythm, self.window):
            seen.verdicts.clear()
        if len(seen.values) >= self.warm_up:
            judged = seen.detector.judge(value)
            self.scores[series, start] = judged.score
            going_on = seen.since is not None or bool(seen.verdicts and seen.verdicts[-1][1])
            if not going_on and judged.score >= 1:
                outside = not judged.lower <= value <= judged.upper
                everything = (float("-inf"), float("inf"))
                seen.band = (judged.lower, judged.upper) if outside else everything
            away = going_on and not seen.band[0] <= value <= seen.band[1]
            seen.verdicts.append((start, judged.score >= 1 or away))
            self._follow(series, seen, start)
        seen.detector.learn(value)
        seen.values.append(value)
        seen.starts.append(start)

    def _follow(self, series: int, seen: Seen, start: int) -> None:
        run = [seen.verdicts[-1]]
        for verdict in reversed(seen.verdicts[:-1]):
            if verdict[1] != run[-1][1]:
                break
            run.append(verdict)
        begun, anomalous = run[-1]
        recent = seen.values[-12:]
        if anomalous and seen.since is None and len(run) >= self.fire_after:
            seen.since = begun
            self.events.append((series, "firing", begun, None, recent, start + self.window))
        if not anomalous and seen.since is not None and len(run) >= self.resolve_after:
            self.events.append((series, "resolved", seen.since, begun, recent, start + self.window))
            seen.since = None

    def _sweep(self) -> None:
        for series, seen in sorted(self.series.items()):
            quiet = self.latest - seen.latest
            if seen.since is not None and quiet >= min(self.stale_after, self.evict_after):
                end = seen.latest + self.window
                recent = seen.values[-12:]
                self.events.append(
                    (series, "resolved", seen.since, end, recent, self.latest + self.window)
                )
                seen.since = None
                seen.verdicts.clear()
            if quiet >= self.evict_after:
                del self.series[series]
