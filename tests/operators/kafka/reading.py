"""One reader of the Kafka source, and what it gave."""

from __future__ import annotations

import time
from collections.abc import Callable

from confluent_kafka import Producer

from flows.settings import Kafka
from operators.contracts.clock import ManualClock
from operators.contracts.engine import EndOfInput
from operators.contracts.items import Lost, Polled
from operators.contracts.watermark import Mark
from operators.kafka.low_water import LowWater
from operators.kafka.source import KafkaSource, ReaderState
from operators.kafka.tenant_header import TenantHeader

IDLE = 30


class Read:
    """One reader, and what it gave."""

    def __init__(
        self, bootstrap: str, *topics: str, until_end: bool = True, since: str = "earliest",
        state: ReaderState | None = None, reader: int = 0, low_water: LowWater | None = None,
        tenant_headers: dict[str, TenantHeader] | None = None, **kafka: object,
    ) -> None:  # fmt: skip
        self.clock = ManualClock()
        settings = {
            "bootstrap_servers": bootstrap,
            "readers": 1,
            "group": f"test-{topics[0]}",
        } | kafka
        self.source = KafkaSource(
            Kafka(**settings), topics, flow="metrics", until_end=until_end, since=since,
            idle_timeout=IDLE * 10**9, low_water=low_water, tenant_headers=tenant_headers,
            clock=self.clock,
        )  # fmt: skip
        self.group = f"{settings['group']}.metrics"
        self.reader = self.source.reader(f"reader-{reader}", state)
        self.items: list[Polled] = []
        self.marks: dict[str, Mark] = {}

    def poll(self) -> bool:
        """Poll once; return whether there may be more."""
        try:
            items = self.reader.next_batch()
        except EndOfInput:
            return False
        for item in items:
            self.items.append(item)
            self.marks |= item.marks
            assert len(item.values) == len(item.partitions) == len(item.offsets)
        return True

    def to_the_end(self, seconds: float = 120) -> Read:
        return self.until(lambda: False, seconds, ends=True)

    def until(self, done: Callable[[], bool], seconds: float = 120, *, ends: bool = False) -> Read:
        deadline = time.monotonic() + seconds
        while not done():
            assert time.monotonic() < deadline, f"only {self.values()} and {self.marks} came"
            if not self.poll():
                assert ends, "the reader ended by itself"
                break
            time.sleep(0.005)
        return self

    def values(self, *, replay: bool | None = None) -> list[str]:
        """What came; if asked for, only what is or is not a replay."""
        wanted = [item for item in self.items if replay in (None, item.replay)]
        return [value.decode() for item in wanted for value in item.values]

    def lost(self) -> list[Lost]:
        return [lost for item in self.items for lost in item.lost]

    def known(self) -> list[str]:
        """What a run whose recovery store is lost had dealt with."""
        return [value.decode() for item in self.items if item.known for value in item.values]

    def state(self) -> ReaderState:
        return self.reader.snapshot()


def produce(bootstrap: str, topic: str, *values: str, partition: int = 0) -> None:
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for value in values:
        producer.produce(topic, value.encode(), partition=partition)
    assert producer.flush(120) == 0


def numbers(begin: int, end: int) -> list[str]:
    return [str(number) for number in range(begin, end)]


def stood_at(
    offsets: dict[str, dict[int, int]], low_water: dict[str, dict[int, int]]
) -> ReaderState:
    return {"version": 1, "offsets": offsets, "low_water": low_water}
