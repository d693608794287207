"""What a span costs Headrace and OpenTelemetry's collector, from the same topic and in one run.

Both read all spans from Kafka and do the same with them: calls, errors and durations, the service graph,
and sampling by traces as a whole; what comes of it goes to nothing. CPU time is that of the process, from
when it was ready to when it was through: the flow ends by itself, the collector has committed the topic's
end and its last traces are decided. The collector gets room for all traces and edges, without which it
drops most of them.

Live, a feed writes the spans as they happen, so many a second, and CPU time is what the process takes
meanwhile: there what counts is how little it does while little comes.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil
from confluent_kafka import TopicPartition

from bench.case import Job
from bench.load import Load
from bench.run import Child, environment, run_all
from bench.topic import PARTITIONS, PREFIX, create, producer, remove_all, write
from flows.settings import Kafka
from operators.kafka.clients import bounds, committed, consumer
from tests.backends.kafka import KafkaServer
from tests.backends.process import ServerError
from tests.backends.span_collector.server import SpanCollector

__all__ = ["Turn", "compare", "report"]

_ENCODING: Final = "otlp_proto"
_A_BATCH: Final = 100
_LIMIT_SECONDS: Final = 300
_DECISION_SECONDS: Final = 10
_AFTER_SECONDS: Final = 5
_ROOM: Final = 10_000_000
_PACE_SECONDS: Final = 0.02
_NEW: Final = 0.2
"""Part of a live feed that does not count: in it all series are new."""


@dataclass(frozen=True, slots=True)
class Turn:
    """CPU of one run of each, in microseconds a span."""

    headrace: float
    collector: float

    @property
    def ratio(self) -> float:
        """How many times less Headrace takes."""
        return self.collector / self.headrace


def compare(
    values: Sequence[bytes],
    spans: int,
    sampling: Mapping[str, Any] | None,
    turns: int,
    say: Callable[[str], None],
    *,
    live: int | None = None,
) -> list[Turn]:
    """Run both so many times, one after the other.

    Args:
        values: messages, OTLP in protobuf.
        spans: how many are in them.
        sampling: Headrace's settings of ``traces.sampling``.
        turns: how often.
        say: is told what takes long.
        live: how many spans a second come, as they happen; without it all are there.

    Raises:
        ServerError: the broker or the collector can't be had, or does not get through.
    """
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka", progress=say, fast=True) as kafka,
    ):
        bootstrap = kafka.bootstrap_servers
        topic = f"{PREFIX}spans"
        if live is None:
            create(bootstrap, topic)
            _Feed(bootstrap, topic, values).all_at_once()
        for turn in range(turns):
            place = Path(folder) / f"collector-{turn}"
            if live is not None:
                theirs, ours = (f"{topic}.{turn}.{who}" for who in ("theirs", "ours"))
                create(bootstrap, theirs, ours)
                feed = _Feed(bootstrap, theirs, values, spans / live)
                of_theirs = _collector(place, bootstrap, theirs, say, feed)
                feed = _Feed(bootstrap, ours, values, spans / live)
                of_ours = _headrace_live(bootstrap, ours, spans, sampling, feed)
            else:
                of_theirs = _collector(place, bootstrap, topic, say)
                of_ours = _headrace(bootstrap, topic, spans, sampling)
            found.append(Turn(of_ours / spans * 1e6, of_theirs / spans * 1e6))
        remove_all(bootstrap)
    return found


class _Feed:
    """Writes messages to a topic, at once or in so many seconds."""

    def __init__(
        self, bootstrap: str, topic: str, values: Sequence[bytes], seconds: float = 0
    ) -> None:
        self._client = producer(bootstrap, _ENCODING)
        self._topic, self._values, self._seconds = topic, values, seconds

    def all_at_once(self) -> None:
        for first in range(0, len(self._values), _A_BATCH):
            self._write(first, first + _A_BATCH)
        self._client.flush()

    def live(self, pid: int) -> float:
        """Write them evenly; return the CPU seconds that a process takes for them, the first of them left out."""
        process = psutil.Process(pid)
        started = time.monotonic()
        written = 0
        before: tuple[float, int] | None = None
        while written < len(self._values):
            gone = (time.monotonic() - started) / self._seconds
            due = min(int(gone * len(self._values)) + 1, len(self._values))
            self._write(written, due)
            written = due
            if before is None and gone > _NEW:
                before = _cpu(process), written
            time.sleep(_PACE_SECONDS)
        self._client.flush()
        assert before is not None, "all was written at once"
        return (_cpu(process) - before[0]) * len(self._values) / (written - before[1])

    def _write(self, first: int, last: int) -> None:
        write(self._client, self._topic, list(self._values[first:last]), _ENCODING)


def _cpu(process: psutil.Process) -> float:
    used = process.cpu_times()
    return float(used.user + used.system)


def _environment(
    bootstrap: str, topic: str, spans: int, sampling: Mapping[str, Any] | None, **more: str
) -> dict[str, str]:
    load = Load(1, spans, encoding=_ENCODING)
    inputs = [{"topic": topic, "signal": "traces", "encoding": _ENCODING}]
    return environment(
        bootstrap,
        topic,
        load,
        HEADRACE__INPUTS=json.dumps(inputs),
        HEADRACE__TRACES__SAMPLING=json.dumps(sampling),
        HEADRACE__SCORING__ENABLED="true",
        **more,
    )


def _headrace(bootstrap: str, topic: str, spans: int, sampling: Mapping[str, Any] | None) -> float:
    """Return the CPU seconds of the flow ``traces``."""
    return run_all([Job("traces")], _environment(bootstrap, topic, spans, sampling), spans).cpu


def _headrace_live(
    bootstrap: str, topic: str, spans: int, sampling: Mapping[str, Any] | None, feed: _Feed
) -> float:
    """Return the CPU seconds of the flow ``traces`` while the spans come as they happen."""
    env = _environment(bootstrap, topic, spans, sampling, HEADRACE__RUN__UNTIL="forever")
    child = Child(Job("traces"), env)
    try:
        child.wait_until_ready()
        child.go()
        used = feed.live(child.pid)
        if child.done(0):
            raise child.failure()
    finally:
        child.kill()
    return used


def _collector(
    place: Path,
    bootstrap: str,
    topic: str,
    say: Callable[[str], None],
    feed: _Feed | None = None,
) -> float:
    """Return the CPU seconds of the collector, which reads what is there, or what a feed writes."""
    group = f"{PREFIX}{place.name}"
    policies = (
        {"name": "errors", "type": "status_code", "status_code": {"status_codes": ["ERROR"]}},
        {"name": "slow", "type": "latency", "latency": {"threshold_ms": 890}},
        {"name": "wanted", "type": "string_attribute",
         "string_attribute": {"key": "http.request.method", "values": ["DELETE"]}},
        {"name": "rest", "type": "rate_limiting", "rate_limiting": {"spans_per_second": 2000}},
    )  # fmt: skip
    sampling = {
        "decision_wait": f"{_DECISION_SECONDS}s",
        "num_traces": _ROOM,
        "policies": policies,
    }
    server = SpanCollector(place, bootstrap, topic, group, sampling=sampling, progress=say)
    with server:
        assert server.pid is not None
        if feed is not None:
            return feed.live(server.pid)
        process = psutil.Process(server.pid)
        _wait_until_read(server, bootstrap, topic, group)
        time.sleep(_DECISION_SECONDS + _AFTER_SECONDS)
        return _cpu(process)


def _wait_until_read(server: SpanCollector, bootstrap: str, topic: str, group: str) -> None:
    asking = consumer(Kafka(bootstrap_servers=bootstrap), group)
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    try:
        ends = [bounds(asking, place, 30)[1] for place in places]
        limit = time.monotonic() + _LIMIT_SECONDS
        while [place.offset for place in committed(asking, places, 30)] != ends:
            if time.monotonic() > limit or not server.running:
                raise ServerError(f"{server.name} did not get through:\n{server.log.read_text()}")
            time.sleep(0.2)
    finally:
        asking.close()


def report(found: Sequence[Turn]) -> dict[str, float]:
    """Return medians, and the ratio of each turn's two."""
    return {
        "headrace": statistics.median(turn.headrace for turn in found),
        "collector": statistics.median(turn.collector for turn in found),
        "ratio": statistics.median(turn.ratio for turn in found),
    }
