"""What Headrace wants to be, in numbers, and whether a run of the benchmark found it so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from bench.cases import Case
from bench.figures import Figures, best
from bench.run import Measured

__all__ = ["FURTHER", "GOALS", "Goal", "bytes_a_series"]

_LINES: Final = "influx"
_JSON: Final = "prometheus_json"
_TO_TOPICS: Final = " to topics"


@dataclass(frozen=True, slots=True)
class Goal:
    """A figure, and what it should be; ``measured`` gives ``None`` if its cases did not run."""

    name: str
    sense: Literal["at least", "at most"]
    target: float
    unit: str
    measured: Callable[[Figures], float | None]

    def met(self, value: float) -> bool:
        """Whether this value is good enough."""
        return value >= self.target if self.sense == "at least" else value <= self.target


def _rate(run: Measured) -> float:
    return run.rate


def _rate_from_start(run: Measured) -> float:
    return run.points / run.whole


def _warm_rate(run: Measured) -> float | None:
    return run.warm_rate


def _cpu(run: Measured) -> float:
    return run.cpu_a_million


def _floor_ratio(encoding: str) -> Callable[[Figures], float | None]:
    def measured(figures: Figures) -> float | None:
        case = figures.find("flow", encoding)
        return None if case is None else figures.of_the_floor(case)

    return measured


def _best_rate(encoding: str) -> Callable[[Figures], float | None]:
    def measured(figures: Figures) -> float | None:
        ways = ("flow", "flow -w 2", "flow, 2 processes")
        return best([figures.median(figures.find(way, encoding), _rate) for way in ways])

    return measured


def _best_of_logs(encoding: str, where: str = "") -> Callable[[Figures], float | None]:
    def measured(figures: Figures) -> float | None:
        ways = (f"logs: flow{where}", f"logs: flow{where} -w 2")
        return best(
            [figures.median_of_some(figures.find(way, encoding), _warm_rate) for way in ways]
        )

    return measured


def _logs_from_cold(encoding: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(figures.find("logs: flow", encoding), _rate)


def _flow_cpu(encoding: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(figures.find("flow", encoding), _cpu)


def _short_run(of: Callable[[Measured], float]) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(figures.find("flow", points=0), figures.find("flow"), of)


def _fixed(of: Callable[[Measured], float]) -> Callable[[Figures], float | None]:
    """What a run costs however few points it has, if its cost is a straight line in them."""

    def measured(figures: Figures) -> float | None:
        short, long = figures.find("flow", points=0), figures.find("flow")
        less, more = figures.median(short, of), figures.median(long, of)
        if short is None or long is None or less is None or more is None or short == long:
            return None
        few, many = short.load.points, long.load.points
        return less - (more - less) * few / (many - few)

    return measured


def _few_and_many(figures: Figures) -> tuple[Case | None, Case | None]:
    """Return the flow with the fewest series and with the most."""
    series = [c.load.series for c in figures.runs if c.way == "flow"]
    if not series or min(series) == max(series):
        return None, None
    return figures.find("flow"), figures.find("flow", series=max(series))


def _many_series(figures: Figures) -> float | None:
    few, many = _few_and_many(figures)
    return figures.ratio(many, few, _rate)


def bytes_a_series(figures: Figures) -> float | None:
    """Return how much peak memory grew from the fewest series to the most, for each."""
    few, many = _few_and_many(figures)
    more = figures.median(many, lambda run: run.peak_mb)
    less = figures.median(few, lambda run: run.peak_mb)
    if few is None or many is None or more is None or less is None:
        return None
    return (more - less) * 2**20 / (many.load.series - few.load.series)


def _second_worker(way: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures.ratio(figures.find(way), figures.find("in memory"), _rate)


def _best_second_worker(figures: Figures) -> float | None:
    ways = ("in memory -w 2", "in memory, 2 processes")
    return best([_second_worker(way)(figures) for way in ways])


def _rate_at(way: str, interval: int) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(figures.find(way, interval=interval), _rate)


def _cpu_at(way: str, interval: int) -> Callable[[Figures], float | None]:
    return lambda figures: figures.median(figures.find(way, interval=interval), _cpu)


def _start(figures: Figures) -> float | None:
    """Return the seconds from the start of a flow to the first message that it reads."""
    return figures.median(figures.find("flow"), lambda run: run.first)


GOALS: Final = (
    Goal("To topics, 15 s a point: speed", "at least", 1e6, "points/s", _rate_at("flow to topics", 15)),
    Goal("To topics, 15 s a point: CPU", "at most", 1.2, "s a million", _cpu_at("flow to topics", 15)),
    Goal("To topics, 1 s a point: speed", "at least", 4e6, "points/s", _rate_at("flow to topics", 1)),
    Goal("Storage to the lake", "at least", 1.5e6, "rollups/s", _rate_at("storage to lake", 15)),
    Goal("OTLP: a start, to the first message", "at most", 2.0, "s", _start),
    Goal("OTLP: the flow's speed, of the floor", "at least", 0.65, "", _floor_ratio("otlp_proto")),
    Goal("OTLP: best of 1 and 2 workers", "at least", 4e6, "points/s", _best_rate("otlp_proto")),
    Goal("OTLP: CPU", "at most", 0.40, "s a million", _flow_cpu("otlp_proto")),
    Goal("OTLP: a short run's speed, of a long one's", "at least", 0.8, "", _short_run(_rate)),
    Goal("OTLP: speed with most series, of that with fewest", "at least", 1 / 3, "", _many_series),
    Goal("OTLP: memory a series", "at most", 1536, "bytes", bytes_a_series),
    Goal("In memory: speed with a second worker", "at least", 1.6, "times", _best_second_worker),
    Goal("Line protocol: best of 1 and 2 workers", "at least", 1.5e6, "lines/s", _best_rate(_LINES)),
    Goal("JSON: best of 1 and 2 workers", "at least", 0.8e6, "messages/s", _best_rate(_JSON)),
    Goal("JSON: CPU", "at most", 1.2, "s a million", _flow_cpu(_JSON)),
    Goal("Logs, OTLP, warm: best of 1 and 2 workers", "at least", 3e5, "lines/s", _best_of_logs("otlp_proto")),
    Goal("Logs, text, warm: best of 1 and 2 workers", "at least", 3e5, "lines/s", _best_of_logs("text")),
    Goal("Logs, OTLP, from cold: 1 worker", "at least", 1.2e5, "lines/s", _logs_from_cold("otlp_proto")),
    Goal("Logs, text, from cold: 1 worker", "at least", 1.2e5, "lines/s", _logs_from_cold("text")),
    Goal(
        "Live: watermark to readable row, 99 of 100",
        "at most", 1.0, "s", lambda figures: figures.single.get("latency_p99_seconds"),
    ),
)  # fmt: skip


def _cpu_of_the_floor(figures: Figures) -> float | None:
    case = figures.find("flow")
    return None if case is None else figures.cpu_of_the_floor(case)


FURTHER: Final[tuple[tuple[str, str, Callable[[Figures], float | None]], ...]] = (
    ("OTLP: CPU, of the floor's", "times", _cpu_of_the_floor),
    ("OTLP: a short run's speed, from the process's start", "", _short_run(_rate_from_start)),
    ("OTLP: what a run costs however short, from the first message", "s",
     _fixed(lambda run: run.seconds)),
    ("… in CPU", "s", _fixed(lambda run: run.cpu)),
    ("In memory: speed with -w 2", "times", _second_worker("in memory -w 2")),
    ("In memory: speed with 2 processes", "times", _second_worker("in memory, 2 processes")),
    ("Logs, OTLP, warm, to topics: best of 1 and 2 workers", "lines/s", _best_of_logs("otlp_proto", _TO_TOPICS)),
    ("Logs, text, warm, to topics: best of 1 and 2 workers", "lines/s", _best_of_logs("text", _TO_TOPICS)),
    ("Live: watermark to readable row, half of them", "s",
     lambda figures: figures.single.get("latency_p50_seconds")),
    ("Restart after a kill, to the first message", "s",
     lambda figures: figures.single.get("restart_seconds")),
    ("… of which Python starts and imports", "s",
     lambda figures: figures.single.get("restart_ready_seconds")),
    ("… until all was read and closed", "s",
     lambda figures: figures.single.get("restart_done_seconds")),
)  # fmt: skip
"""Figures without a goal."""
