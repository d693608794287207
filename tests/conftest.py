"""Fixtures with real servers: an address in the environment wins over starting one.

| fixture | what a test gets | how long it lives |
|---|---|---|
| `kafka` | a broker's address | the session |
| `topic` | a factory of topics on that broker | the test |
| `rotel` | a factory of OTLP collectors that write to that broker | the test |
| `kafka_server` | a broker of the module's own, to stop and kill | the module |

What cannot be had skips the test on a laptop and fails it in CI (`CI` is set).
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import pytest
from confluent_kafka.admin import AdminClient, NewTopic

from flows.demo.collector import LOGS_TOPIC, METRICS_TOPIC, SPANS_TOPIC, RotelCollector
from flows.demo.kafka import KafkaServer
from flows.demo.process import Server, Unavailable

DEFAULT_TOPICS = (METRICS_TOPIC, LOGS_TOPIC, SPANS_TOPIC)


class TopicFactory(Protocol):
    def __call__(self, partitions: int = 1, *, name: str = "test", on: str | None = None) -> str:
        """Make a topic and return its unique name; `on` is another broker's address."""


class RotelFactory(Protocol):
    def __call__(
        self,
        *,
        encoding: Literal["protobuf", "json"] = "protobuf",
        topics: tuple[str, str, str] = DEFAULT_TOPICS,
        bootstrap_servers: str | None = None,
    ) -> RotelCollector:
        """Start a collector that writes metrics, logs and spans to `topics`."""


S = TypeVar("S", bound=Server)


@contextmanager
def running(server: S) -> Iterator[S]:
    """Start a server and stop it at the end; skip, or in CI fail, if it cannot be had."""
    try:
        try:
            server.start()
        except Unavailable as error:
            reason = str(error).splitlines()[0]
            if os.environ.get("CI", "").lower() not in {"", "0", "false"}:
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that all tests share; topics have unique names (`topic`)."""
    if address := os.environ.get("HEADRACE__KAFKA__BOOTSTRAP_SERVERS"):
        yield address
        return
    with running(KafkaServer(tmp_path_factory.mktemp("kafka"))) as server:
        yield server.bootstrap_servers


@pytest.fixture(scope="module")
def _kafka_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    with running(KafkaServer(tmp_path_factory.mktemp("kafka"))) as server:
        yield server


@pytest.fixture
def kafka_server(_kafka_of_module: KafkaServer) -> KafkaServer:
    """A broker for fault tests, running when the test begins, whatever the last one did."""
    return _kafka_of_module.start()


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> Iterator[TopicFactory]:
    """A factory of topics on the shared broker; they are deleted after the test."""
    made: dict[str, list[str]] = {}

    def make(partitions: int = 1, *, name: str = "test", on: str | None = None) -> str:
        address = on or request.getfixturevalue("kafka")
        unique = f"{name}-{uuid.uuid4().hex[:12]}"
        admin = AdminClient({"bootstrap.servers": address})
        new = NewTopic(unique, num_partitions=partitions, replication_factor=1)
        admin.create_topics([new])[unique].result(timeout=30)
        made.setdefault(address, []).append(unique)
        return unique

    yield make
    for address, names in made.items():
        if address == os.environ.get("HEADRACE__KAFKA__BOOTSTRAP_SERVERS"):
            AdminClient({"bootstrap.servers": address}).delete_topics(names)


@pytest.fixture
def rotel(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[RotelFactory]:
    """A factory of OTLP collectors that write to the shared broker."""
    with ExitStack() as collectors:

        def start(
            *,
            encoding: Literal["protobuf", "json"] = "protobuf",
            topics: tuple[str, str, str] = DEFAULT_TOPICS,
            bootstrap_servers: str | None = None,
        ) -> RotelCollector:
            address = bootstrap_servers or request.getfixturevalue("kafka")
            directory = tmp_path / f"rotel-{uuid.uuid4().hex[:6]}"
            collector = RotelCollector(directory, address, encoding=encoding, topics=topics)
            return collectors.enter_context(running(collector))

        yield start
