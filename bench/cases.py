"""Which cases there are, and which of them a run of the benchmark measures."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from bench.case import Job
from bench.load import SERIES_A_MESSAGE, Load
from bench.log_load import LogLoad

__all__ = ["ENCODINGS", "WAYS", "Case", "Scale", "Way", "plan", "short", "with_sources"]

_TO_TOPICS: Final = "flow to topics"
_TO_LAKE: Final = "storage to lake"
_TO_INFLUXDB: Final = "storage to InfluxDB"
_LOGS: Final = "logs: "
_POINTS_A_LINE: Final = 2
"""A line of a log costs as much as several points, but a quarter of them is needed to be warm."""
_ALL_TURNS: Final = 99
ENCODINGS: Final = ("otlp_proto", "influx", "prometheus_json")


@dataclass(frozen=True, slots=True)
class Way:
    """What is done with the points: the job of each process, and what is around them."""

    job: Job
    processes: int = 1
    recovery: bool = False
    scoring: bool = False


WAYS: Final = {
    "read": Way(Job("read")),
    "floor": Way(Job("decode")),
    "flow": Way(Job("flow")),
    "flow -w 2": Way(Job("flow", workers=2)),
    "flow, 2 processes": Way(Job("flow"), processes=2),
    "flow with recovery": Way(Job("flow"), recovery=True),
    "flow with scoring": Way(Job("flow"), scoring=True),
    _TO_TOPICS: Way(Job("flow", outputs="settings"), scoring=True),
    _TO_LAKE: Way(Job("storage", outputs="settings")),
    _TO_INFLUXDB: Way(Job("storage", outputs="settings")),
    "in memory": Way(Job("flow", memory=(0, 0))),
    "in memory -w 2": Way(Job("flow", memory=(0, 0), workers=2)),
    "in memory, 2 processes": Way(Job("flow", memory=(0, 0)), processes=2),
    "logs: read": Way(Job("read")),
    "logs: flow": Way(Job("logs")),
    "logs: flow -w 2": Way(Job("logs", workers=2)),
    "logs: flow, 2 processes": Way(Job("logs"), processes=2),
    "logs: flow to topics": Way(Job("logs", outputs="settings")),
    "logs: flow to topics -w 2": Way(Job("logs", outputs="settings", workers=2)),
}
"""``floor`` reads and decodes. ``storage …`` carries what a flow to topics made of the same points, of
which that is measured first; its points are rollups. ``in memory`` is the flow on polls that are in memory already.
``logs`` is the flow ``logs`` on lines of logs, to batches that are parsed, scrubbed, grouped and counted, and on
to their topics; its floor is to read the lines and do nothing."""


@dataclass(frozen=True, slots=True)
class Case:
    """A way, and the load that it is measured with, at most ``turns`` times."""

    way: str
    load: Load | LogLoad
    turns: int = _ALL_TURNS

    @property
    def label(self) -> str:
        """What people call it."""
        return f"{self.topic}: {self.way}"

    @property
    def topic(self) -> str:
        """What people call its load: encoding, series, points."""
        load = self.load
        if isinstance(load, LogLoad):
            return f"{load.encoding} {short(load.points)} lines"
        often = "" if load.interval == 1 else f", {load.interval} s"
        return f"{load.encoding} {short(load.series)} series {short(load.points)}{often}"

    @property
    def job(self) -> Job:
        """What each of its processes does."""
        job = WAYS[self.way].job
        if isinstance(self.load, LogLoad):
            return replace(job, lines=self.load.points // WAYS[self.way].processes)
        if job.memory is None:
            return job
        return replace(job, memory=(self.load.series, self.load.seconds))


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is measured.

    Attributes:
        points: of the large OTLP loads.
        few: points of the smaller ones, of text and in memory.
        series: numbers of active series, the usual one first.
        runs: turns of the cases.
        whole: every way of every load, instead of those that the goals are about.
    """

    points: int = 16_000_000
    few: int = 4_000_000
    series: tuple[int, ...] = field(default=(8_000, 100_000, 1_000_000))
    runs: int = 3
    whole: bool = False


def plan(scale: Scale) -> list[Case]:
    """Return the cases, each once, in the order in which they take turns."""
    cases: dict[str, Case] = {}
    for case in _whole(scale) if scale.whole else _usual(scale):
        cases.setdefault(case.label, case)
    return list(cases.values())


def with_sources(chosen: Collection[Case], cases: Sequence[Case]) -> list[Case]:
    """Return the chosen of all cases, and those that write what the chosen read.

    The flow ``storage`` carries what the flow to topics of the same load has just written.
    """
    carried = {case.topic for case in chosen if case.way in (_TO_LAKE, _TO_INFLUXDB)}
    return [
        case
        for case in cases
        if case in chosen or (case.way == _TO_TOPICS and case.topic in carried)
    ]


def _usual(scale: Scale) -> Iterator[Case]:
    first, *more = scale.series
    for interval in (1, 15, 60):
        often = _load("otlp_proto", first, scale.few, interval)
        for way in ("floor", _TO_TOPICS, _TO_LAKE):
            yield Case(way, often)
        if interval == 15:
            yield Case(_TO_INFLUXDB, often, turns=1)
    usual = _load("otlp_proto", first, scale.points)
    turns = {"read": 1, "flow with scoring": 1, "flow with recovery": 2}
    for way in WAYS:
        if not way.startswith(("in memory", "flow to", "storage", _LOGS)):
            yield Case(way, usual, turns.get(way, _ALL_TURNS))
    for way in ("flow", "in memory", "in memory -w 2", "in memory, 2 processes"):
        yield Case(way, _load("otlp_proto", first, scale.few))
    for encoding in ENCODINGS[1:]:
        for way in ("read", "floor", "flow", "flow -w 2"):
            yield Case(way, _load(encoding, first, scale.few), turns=2)
    for series in more:
        load = _load("otlp_proto", series, scale.points)
        turns = 2 if series == more[-1] else 1
        yield Case("floor", load, turns)
        yield Case("flow", load, turns)
        if series == more[-1]:
            yield Case("flow -w 2", load, turns=1)
            yield Case("flow with recovery", load, turns=1)
    yield from _of_logs(scale)


def _of_logs(scale: Scale) -> Iterator[Case]:
    for encoding in ("otlp_proto", "text"):
        load = LogLoad(max(1, scale.few // _POINTS_A_LINE), encoding)
        for way in (way for way in WAYS if way.startswith(_LOGS)):
            yield Case(way, load, turns=2)


def _whole(scale: Scale) -> Iterator[Case]:
    for series in scale.series:
        for encoding in ENCODINGS:
            load = _load(encoding, series, scale.points)
            for way in WAYS:
                if not way.startswith(("in memory", "storage", _LOGS)):
                    yield Case(way, load)
            few = _load(encoding, series, scale.few)
            yield Case("flow", few)
            if encoding == "otlp_proto":
                for way in (way for way in WAYS if way.startswith("in memory")):
                    yield Case(way, few)
    yield from _of_logs(scale)


def _load(encoding: str, series: int, points: int, interval: int = 1) -> Load:
    series = max(1, series // SERIES_A_MESSAGE) * SERIES_A_MESSAGE
    return Load(series, max(1, points // series), encoding=encoding, interval=interval)


def short(number: int) -> str:
    """Write a round number as people say it.

    >>> short(8000), short(16_000_000)
    ('8k', '16M')
    """
    for size, letter in ((1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.4g}{letter}"
    return str(number)
