"""One measured run, in a process of its own: ``python -m bench.case NAME WORKERS POINTS``.

Prints one line of JSON: points, seconds from the first message read to the end of the run, CPU
seconds of the process in that time, and its peak memory in MB. The settings come from the
environment, as for a flow.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import bytewax.operators as op
from bytewax.dataflow import Stream
from bytewax.outputs import DynamicSink, StatelessSinkPartition
from bytewax.testing import cluster_main
from confluent_kafka import TopicPartition

from flows.metrics import build
from flows.outputs import Outputs
from flows.settings import Settings, load_settings
from operators.decoders import DECODERS
from operators.kafka import consumer
from operators.monitoring import MESSAGES

POLL_MESSAGES = 100


class _Nowhere(StatelessSinkPartition[Any]):
    def write_batch(self, items: list[Any]) -> None:
        pass


class Nothing(DynamicSink[Any]):
    """A sink that forgets."""

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Nowhere:
        return _Nowhere()


class NoOutputs(Outputs):
    """A flow's outputs, all to nothing."""

    def rollups(self, scored: Stream[Any]) -> None:
        op.output("no_rollups", scored, Nothing())

    def alerts(self, events: Stream[Any]) -> None:
        op.output("no_alerts", events, Nothing())

    def late(self, late: Stream[Any]) -> None:
        op.output("no_late", late, Nothing())

    def dead_letters(self, rejected: Stream[Any]) -> None:
        op.output("no_dead_letters", rejected, Nothing())


class Stopwatch:
    """Begins at the first message."""

    def __init__(self) -> None:
        self.began: tuple[float, float] | None = None

    def start(self) -> None:
        if self.began is None:
            self.began = (time.perf_counter(), time.process_time())

    def start_at_first_message(self, topic: str) -> None:
        counter = MESSAGES.labels(topic)

        def watch() -> None:
            while not counter._value.get():
                time.sleep(0.0005)
            self.start()

        threading.Thread(target=watch, daemon=True).start()

    def report(self, points: int) -> dict[str, float]:
        if self.began is None:
            raise RuntimeError("no message came: is the topic empty?")
        wall, cpu = self.began
        return {
            "points": points,
            "seconds": time.perf_counter() - wall,
            "cpu": time.process_time() - cpu,
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }


def read_all(settings: Settings, work: Callable[[list[bytes]], Any], watch: Stopwatch) -> None:
    """Read the first input to its end by one plain consumer, and do ``work`` on each poll."""
    topic = settings.inputs[0].topic
    client = consumer(settings.kafka, "bench")
    numbers = sorted(client.list_topics(topic, 10).topics[topic].partitions)
    places = [TopicPartition(topic, number, 0) for number in numbers]
    left = sum(client.get_watermark_offsets(place, 10)[1] for place in places)
    client.assign(places)
    while left > 0:
        messages = [m for m in client.consume(POLL_MESSAGES, 0.2) if m.error() is None]
        if messages:
            watch.start()
            left -= len(messages)
            work([message.value() or b"" for message in messages])
    client.close()


def main(name: str, workers: int, points: int) -> None:
    settings = load_settings()
    watch = Stopwatch()
    if name == "consume":
        read_all(settings, len, watch)
    elif name == "floor":
        decoder = DECODERS[settings.inputs[0].encoding]
        read_all(settings, decoder.decode, watch)
    else:
        outputs = (Outputs if name == "flow_to_sinks" else NoOutputs)(settings, "metrics")
        flow = build(settings, outputs)
        watch.start_at_first_message(settings.inputs[0].topic)
        cluster_main(flow, [], 0, worker_count_per_proc=workers)
    print(json.dumps(watch.report(points)), flush=True)
    os._exit(0)  # nothing of what a process does at its end belongs to the measurement


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
