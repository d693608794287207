"""One measured process: ``python -m bench.case JOB``, where JOB is a ``Job`` as JSON.

It prints ``ready`` when it has made all that it needs, waits for a line, works, and prints one
line of JSON. The settings come from the environment, as for a flow.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Self

from bytewax.dataflow import Dataflow
from bytewax.recovery import RecoveryConfig
from bytewax.testing import cluster_main
from confluent_kafka import KafkaError, KafkaException, TopicPartition

import flows.logs
import flows.metrics
import flows.storage
import flows.traces
from bench.load import SERIES_A_MESSAGE, Load
from bench.memory_source import MemorySource
from bench.outputs import NoOutputs
from bench.snapshots import SnapshotTimes
from bench.stopwatch import Stopwatch
from flows.outputs import Outputs
from flows.process.readings import total
from flows.settings import Settings, load_settings
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    LATE_POINTS,
    LOG_RECORDS,
    POINTS_DECODED,
    ROLLUPS_EMITTED,
    SINK_ROWS,
    SPANS_DECODED,
    SPANS_LEFT_OUT,
)
from operators.decoders import DECODERS
from operators.kafka.clients import consumer, fetcher

__all__ = ["Job"]


@dataclass(frozen=True, slots=True)
class Job:
    """What a process is to do.

    Attributes:
        work: only read; read and decode; run the flow ``metrics``, ``traces`` or ``logs``; or carry with
            ``storage``.
        outputs: of the flow: none, or the topics in the settings.
        workers: threads.
        addresses, process: of the cluster, and the place in it.
        memory: series and seconds of a load that is read from memory instead of the topic.
        recovery: directory of the recovery store.
        epoch: seconds of an epoch, that is between two snapshots.
        lines: how many a process that runs ``logs`` has to read.
    """

    work: Literal["read", "decode", "flow", "traces", "logs", "storage"]
    outputs: Literal["nothing", "settings"] = "nothing"
    workers: int = 1
    addresses: tuple[str, ...] = field(default=())
    process: int = 0
    memory: tuple[int, int] | None = None
    recovery: str | None = None
    epoch: float = 5.0
    lines: int = 0

    def to_json(self) -> str:
        """Return it for a command line."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what ``to_json`` gave."""
        return cls(**json.loads(text))


class Reading:
    """The floor: reads the first input to its end, as the flow's source does."""

    def __init__(self, job: Job, settings: Settings, watch: Stopwatch) -> None:
        entry = settings.inputs[0]
        self._settings = settings
        self._watch = watch
        self._work: Callable[[Sequence[bytes]], Any] = len
        if job.work == "decode":
            self._work = DECODERS[entry.encoding].decode
            # What is compiled is loaded on its first use; the floor is what comes after that.
            sample = Load(SERIES_A_MESSAGE, 1, encoding=entry.encoding)
            self._work(list(sample.messages())[:1])
        self._topic = entry.topic
        client = consumer(settings.kafka, "bench")
        numbers = sorted(client.list_topics(self._topic, 10).topics[self._topic].partitions)
        self._places = [TopicPartition(self._topic, number, 0) for number in numbers]
        self._left = sum(client.get_watermark_offsets(at, 10)[1] for at in self._places)
        client.close()
        self._client = fetcher(settings.kafka, _fail)

    def run(self) -> None:
        """Read polls as large as the flow's."""
        kafka = self._settings.kafka
        self._client.start(self._places)
        done = 0
        while self._left > 0:
            self._client.serve()
            found = self._client.poll(self._topic, kafka.poll_messages, kafka.poll_bytes).values
            if not found:
                time.sleep(0.001)
                continue
            self._watch.start()
            self._left -= len(found)
            self._work(found)
            done += len(found)
            self._watch.done(done, done + self._left)


def _fail(error: KafkaError) -> None:
    raise KafkaException(error)


class Flow:
    """The flow ``metrics``, on the runner that ``python -m bytewax.run`` uses."""

    def __init__(self, job: Job, settings: Settings, watch: Stopwatch) -> None:
        self._job = job
        self._snapshots = SnapshotTimes()
        if job.memory is None:
            watch.start_at_first_message()
        else:
            source = MemorySource(
                Load(*job.memory),
                settings.inputs[0].topic,
                settings.kafka.poll_bytes,
                watch.start,
            )
            setattr(flows.metrics, "kafka_source", lambda *_, **__: source)  # noqa: B010
        outputs = (NoOutputs if job.outputs == "nothing" else Outputs)(settings, "metrics")
        self._flow: Dataflow = flows.metrics.build(settings, outputs)

    def run(self) -> None:
        """Run it to the end."""
        job = self._job
        recovery = None
        if job.recovery is not None:
            self._snapshots.watch()
            recovery = RecoveryConfig(Path(job.recovery))
        cluster_main(
            self._flow,
            list(job.addresses),
            job.process,
            epoch_interval=timedelta(seconds=job.epoch) if recovery else None,
            recovery_config=recovery,
            worker_count_per_proc=job.workers,
        )

    def report(self) -> dict[str, Any]:
        """Return what the flow counted."""
        return {
            "decoded": total(POINTS_DECODED),
            "late": total(LATE_POINTS),
            "rollups": total(ROLLUPS_EMITTED),
            "steps": {
                sample.labels["step"]: sample.value
                for family in BATCH_SECONDS.collect()
                for sample in family.samples
                if sample.name.endswith("_sum")
            },
            "snapshots": self._snapshots.report(),
        }


class Traces(Flow):
    """The flow ``traces``, with outputs to nothing."""

    def __init__(self, job: Job, settings: Settings, watch: Stopwatch) -> None:
        self._job = job
        self._snapshots = SnapshotTimes()
        watch.start_at_first_message()
        self._flow = flows.traces.build(settings, NoOutputs(settings, "traces"))

    def report(self) -> dict[str, Any]:
        """Return what the flow counted; what is decoded are spans."""
        counted = {"decoded": total(SPANS_DECODED), "late": total(SPANS_LEFT_OUT)}
        return super().report() | counted


class Logs(Flow):
    """The flow ``logs``."""

    def __init__(self, job: Job, settings: Settings, watch: Stopwatch) -> None:
        self._job = job
        self._snapshots = SnapshotTimes()
        watch.start_at_first_message()
        watch.warm_at_a_quarter(lambda: total(LOG_RECORDS), job.lines)
        outputs = (NoOutputs if job.outputs == "nothing" else Outputs)(settings, "logs")
        self._flow = flows.logs.build(settings, outputs)

    def report(self) -> dict[str, Any]:
        """Return what the flow counted; what is decoded are lines, what is late was refused."""
        counted = {"decoded": total(LOG_RECORDS), "late": total(DEAD_LETTERS)}
        return super().report() | counted


class Storage:
    """The flow ``storage``, from the beginning of the rollups topic to its end."""

    def __init__(self, _job: Job, settings: Settings, watch: Stopwatch) -> None:
        watch.start_at_first_message()
        self._flow = flows.storage.build(settings)

    def run(self) -> None:
        """Run it to the end."""
        cluster_main(self._flow, [], 0)

    def report(self) -> dict[str, Any]:
        """Return how many rows the destinations confirmed."""
        return {"stored": total(SINK_ROWS)}


def main(job: Job) -> None:
    """Do the job, and tell."""
    settings = load_settings()
    watch = Stopwatch()
    kinds = {"flow": Flow, "traces": Traces, "logs": Logs, "storage": Storage}
    task = kinds.get(job.work, Reading)(job, settings, watch)
    print("ready", flush=True)
    sys.stdin.readline()
    watch.ready()
    task.run()
    report = watch.report()
    more = {} if isinstance(task, Reading) else task.report()
    print(json.dumps({**report, **more}), flush=True)
    os._exit(0)  # nothing of what a process does at its end belongs to the measurement


if __name__ == "__main__":
    main(Job.from_json(sys.argv[1]))
