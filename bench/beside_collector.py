"""What a span costs Headrace and OpenTelemetry's collector, from the same topic and in one run.

Both read all spans from Kafka and do the same with them: calls, errors and durations, the service graph,
and sampling by traces as a whole; what comes of it goes to nothing. CPU time is that of the process, from
when it was ready to when it was through: the flow ends by itself, the collector has committed the topic's
end and its last traces are decided. The collector gets room for all traces and edges, without which it
drops most of them.
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
from bench.run import environment, run_all
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
) -> list[Turn]:
    """Run both so many times, one after the other.

    Args:
        values: messages, OTLP in protobuf.
        spans: how many are in them.
        sampling: Headrace's settings of ``traces.sampling``.
        turns: how often.
        say: is told what takes long.

    Raises:
        ServerError: the broker or the collector can't be had, or does not get through.
    """
    found = []
    with (
        tempfile.TemporaryDirectory() as folder,
        KafkaServer(Path(folder) / "kafka", progress=say, fast=True) as kafka,
    ):
        topic = f"{PREFIX}spans"
        create(kafka.bootstrap_servers, topic)
        client = producer(kafka.bootstrap_servers, _ENCODING)
        for first in range(0, len(values), _A_BATCH):
            write(client, topic, list(values[first : first + _A_BATCH]), _ENCODING)
        client.flush()
        for turn in range(turns):
            place = Path(folder) / f"collector-{turn}"
            theirs = _collector(place, kafka.bootstrap_servers, topic, say)
            ours = _headrace(kafka.bootstrap_servers, topic, spans, sampling)
            found.append(Turn(ours / spans * 1e6, theirs / spans * 1e6))
        remove_all(kafka.bootstrap_servers)
    return found


def _headrace(bootstrap: str, topic: str, spans: int, sampling: Mapping[str, Any] | None) -> float:
    """Return the CPU seconds of the flow ``traces``."""
    load = Load(1, spans, encoding=_ENCODING)
    inputs = [{"topic": topic, "signal": "traces", "encoding": _ENCODING}]
    env = environment(
        bootstrap,
        topic,
        load,
        HEADRACE__INPUTS=json.dumps(inputs),
        HEADRACE__TRACES__SAMPLING=json.dumps(sampling),
        HEADRACE__SCORING__ENABLED="true",
    )
    return run_all([Job("traces")], env, spans).cpu


def _collector(place: Path, bootstrap: str, topic: str, say: Callable[[str], None]) -> float:
    """Return the CPU seconds of the collector."""
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
        process = psutil.Process(server.pid)
        _wait_until_read(server, bootstrap, topic, group)
        time.sleep(_DECISION_SECONDS + _AFTER_SECONDS)
        used = process.cpu_times()
    return float(used.user + used.system)


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
