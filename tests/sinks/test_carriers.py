"""Each destination at its own pace: one that is down holds back no other, and nothing is lost."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from prometheus_client import REGISTRY

from flows.settings import Kafka
from operators.columns.batches import decode_batch, encode_batches
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.engine import EndOfInput
from operators.kafka.clients import committed
from sinks.base import Destination, Unavailable
from sinks.carriers import Carriers, Intake
from tests.conftest import TopicFactory
from tests.sinks.samples import scores


class Kept(Destination):
    """Keeps what is written; is away while it is told to be."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.frames: list[pl.DataFrame] = []
        self.away = False

    def write(self, frame: pl.DataFrame) -> None:
        if self.away:
            raise Unavailable(f"{self.name}: away")
        self.frames.append(frame)

    @property
    def values(self) -> list[float]:
        """What was written, in order; a REJECTS frame has none."""
        return [v for frame in self.frames if "sum" in frame.columns for v in frame["sum"]]


def batch(*values: float) -> bytes:
    (value,) = encode_batches(scores(*({"sum": value} for value in values)), ROLLUP_BATCHES)
    return value


class Bench:
    """A topic, and destinations that take it in."""

    def __init__(self, kafka: str, topic: str, *names: str) -> None:
        self.kafka, self.topic = kafka, topic
        self.settings = Kafka(bootstrap_servers=kafka, group=f"g-{topic}")
        self.kept = {name: Kept(name) for name in names}
        self.letters = Kept("letters")

    def produce(self, *values: bytes) -> None:
        producer = Producer({"bootstrap.servers": self.kafka})
        for value in values:
            producer.produce(self.topic, value, partition=0)
        assert producer.flush(120) == 0

    def carriers(self, *, until_end: bool = False) -> Carriers:
        intakes = [
            Intake(
                name,
                {self.topic: lambda value: decode_batch(value, ROLLUP_BATCHES)},
                lambda name=name: self.kept[name],  # type: ignore[misc]
                linger=0.05,
            )
            for name in self.kept
        ]
        return Carriers(
            self.settings, intakes, lambda: self.letters,
            flow="storage", readers=1, until_end=until_end, since="committed",
        )  # fmt: skip

    def committed(self, name: str) -> int:
        group = f"{self.settings.group}.storage.{name}"
        with closing(Consumer({"bootstrap.servers": self.kafka, "group.id": group})) as client:
            return max(0, committed(client, [TopicPartition(self.topic, 0)], 60)[0].offset)


@pytest.fixture
def bench(kafka: str, topic: TopicFactory) -> Bench:
    return Bench(kafka, topic(1), "one", "two")


class Run:
    """The engine's part: asks the readers in turn."""

    def __init__(self, carriers: Carriers) -> None:
        self.readers: dict[str, Any] = {
            name: carriers.reader(name, None) for name in carriers.readers()
        }

    def until(self, condition: Callable[[], bool], within: float = 60) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline
            for name, reader in list(self.readers.items()):
                try:
                    assert reader.next_batch() == []
                except EndOfInput:
                    del self.readers[name]
            time.sleep(0.02)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, *_: object) -> None:
        for reader in self.readers.values():
            reader.close()


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + 120
    while [t for t in threading.enumerate() if t.name.startswith("carry-")]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def blocked(name: str) -> float:
    return REGISTRY.get_sample_value("headrace_sink_blocked", {"sink": name}) or 0.0


def lag(name: str, topic: str) -> float:
    labels = {"destination": name, "topic": topic, "partition": "0"}
    return REGISTRY.get_sample_value("headrace_destination_lag_messages", labels) or 0.0


def test_one_that_is_away_holds_back_no_other_and_gets_all_when_it_is_back(bench: Bench) -> None:
    one, two = bench.kept["one"], bench.kept["two"]
    bench.produce(batch(1.0))
    with Run(bench.carriers()) as run:
        run.until(lambda: one.values == two.values == [1.0])
        one.away = True
        bench.produce(batch(2.0, 3.0))
        run.until(lambda: blocked("one") == 1)
        bench.produce(batch(4.0))
        run.until(lambda: two.values == [1.0, 2.0, 3.0, 4.0])
        # Its lag is told while it waits, too.
        run.until(lambda: lag("one", bench.topic) >= 1 and lag("two", bench.topic) == 0)
        run.until(lambda: bench.committed("two") == 3)
        assert (one.values, blocked("two"), bench.committed("one")) == ([1.0], 0, 1)
        one.away = False
        run.until(lambda: one.values == two.values)
        run.until(lambda: bench.committed("one") == 3)
        assert blocked("one") == 0


def test_what_was_not_confirmed_before_an_end_is_written_after_the_next_start(
    bench: Bench,
) -> None:
    one, two = bench.kept["one"], bench.kept["two"]
    one.away = True
    bench.produce(batch(1.0), batch(2.0))
    with Run(bench.carriers()) as run:
        run.until(lambda: two.values == [1.0, 2.0] and blocked("one") == 1)
        run.until(lambda: bench.committed("two") == 2)
    assert (bench.committed("one"), blocked("one")) == (0, 0)
    one.away = False
    with Run(bench.carriers()) as run:
        run.until(lambda: one.values == [1.0, 2.0])
    assert two.values == [1.0, 2.0]


def test_a_bounded_run_ends_when_every_destination_has_all(bench: Bench) -> None:
    one, two = bench.kept["one"], bench.kept["two"]
    bench.produce(*(batch(float(number)) for number in range(50)))
    one.away = True
    with Run(bench.carriers(until_end=True)) as run:
        run.until(lambda: list(run.readers) == ["one/0"])
        assert two.values == [float(number) for number in range(50)]
        one.away = False
        run.until(lambda: not run.readers)
    assert one.values == two.values


def test_what_can_not_be_read_is_kept_with_its_place_and_the_rest_goes_on(bench: Bench) -> None:
    bench.produce(batch(1.0), b'{"not": "a batch"}', batch(2.0))
    with Run(bench.carriers(until_end=True)) as run:
        run.until(lambda: not run.readers)
    assert bench.kept["one"].values == [1.0, 2.0]
    letters = pl.concat(bench.letters.frames)
    assert letters.height == 2  # one of each destination
    row = letters.row(0, named=True)
    assert (row["topic"], row["partition"], row["offset"]) == (bench.topic, 0, 1)
    assert row["payload"] == b'{"not": "a batch"}'
    assert "rollups/2" in row["reason"]


def test_a_fault_of_a_thread_ends_the_flow(bench: Bench) -> None:
    def fail(_frame: pl.DataFrame) -> None:
        raise ZeroDivisionError("a fault")

    bench.kept["one"].write = fail  # type: ignore[method-assign]
    bench.produce(batch(1.0))
    with Run(bench.carriers()) as run, pytest.raises(ZeroDivisionError, match="a fault"):
        run.until(lambda: False, within=30)
    assert bench.committed("one") == 0
