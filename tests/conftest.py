"""Fixtures with real servers: an address in the environment wins over starting one.

| fixture | what a test gets | how long it lives |
|---|---|---|
| `kafka` | a broker's address | the session |
| `topic` | a factory of topics on that broker | the test |
| `rotel` | a factory of OTLP collectors that write to that broker | the test |
| `elasticsearch` | a node's URL | the session |
| `influxdb` | a server's `url`, `org` and `token` | the session |
| `clickhouse` | a server's `url`, `user` and `password` | the session |
| `s3` | what speaks S3 over a directory | the module |
| `kafka_server`, `elasticsearch_server`, `influxdb_server`, `clickhouse_server` | one to stop and kill | the module |

What cannot be had skips the test on a laptop and fails it in CI (`CI` is set).
"""

import gc
import os
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal, Protocol, TypeVar

import pytest
from confluent_kafka.admin import AdminClient
from hypothesis import settings

from tests.backends import in_ci
from tests.backends.clickhouse import PASSWORD, USER, ClickHouseAccess, ClickHouseServer
from tests.backends.collector import LOGS_TOPIC, METRICS_TOPIC, SPANS_TOPIC, RotelCollector
from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbAccess, InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import Server, UnavailableError
from tests.backends.rclone import RcloneServer
from tests.backends.topics import make_topics

# Loops are compiled on their first call, which takes longer than Hypothesis allows an example.
# Sixty examples, and others in each run: what one run does not draw the next one may.
settings.register_profile("headrace", deadline=None, max_examples=60)
settings.load_profile("headrace")

S = TypeVar("S", bound=Server)
_KAFKA = "HEADRACE__KAFKA__BOOTSTRAP_SERVERS"
_SHARED_KAFKA = "HEADRACE_TEST_KAFKA"
_CLICKHOUSE = "HEADRACE_TEST_CLICKHOUSE_URL"
_SHARED: ExitStack = ExitStack()
"""Servers that several test processes share."""

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


@contextmanager
def running(server: S) -> Iterator[S]:
    """Start a server and stop it at the end; skip, or in CI fail, if it cannot be had."""
    try:
        try:
            server.start()
        except UnavailableError as error:
            if in_ci():
                pytest.fail(str(error), pytrace=False)
            pytest.skip(str(error).splitlines()[0])
        yield server
    finally:
        server.stop()


def pytest_configure(config: pytest.Config) -> None:
    """With `-n`, start the servers that all tests share once, for all test processes together.

    They are told by the environment, as somebody's own servers would be. One that can't be had is
    left to the fixture, which says so.
    """
    if not config.getoption("numprocesses", None) or hasattr(config, "workerinput"):
        gc.disable()  # until all tests are collected
        return
    for start in (
        _kafka,
        _elasticsearch,
        _influxdb,
        _clickhouse,
    ):  # by this thread: they end when it does
        os.environ.update(start())


def pytest_collection_finish() -> None:
    """Look for garbage from now on, but not among all that was imported, which stays."""
    gc.freeze()
    gc.enable()


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop the shared servers."""
    if not hasattr(config, "workerinput"):
        _SHARED.close()


def _share(server: S, name: str) -> S | None:
    if name in os.environ:
        return None
    _SHARED.callback(server.stop)
    try:
        server.start()
    except UnavailableError:
        return None
    return server


def _directory() -> Path:
    return Path(_SHARED.enter_context(TemporaryDirectory(prefix="headrace-tests-")))


def _kafka() -> dict[str, str]:
    if _KAFKA in os.environ:
        return {}
    # Not by the variable of the setting, which all settings that tests make would go by.
    server = _share(KafkaServer(_directory()), _SHARED_KAFKA)
    return {_SHARED_KAFKA: server.bootstrap_servers} if server else {}


def _elasticsearch() -> dict[str, str]:
    name = "HEADRACE_TEST_ELASTICSEARCH_URL"
    server = _share(ElasticsearchServer(_directory()), name)
    return {name: server.url} if server else {}


def _influxdb() -> dict[str, str]:
    name = "HEADRACE_TEST_INFLUXDB_URL"
    server = _share(InfluxdbServer(_directory()), name)
    if server is None:
        return {}
    access = server.access
    return {
        name: access.url,
        "HEADRACE_TEST_INFLUXDB_ORG": access.org,
        "HEADRACE_TEST_INFLUXDB_TOKEN": access.token,
    }


def _clickhouse() -> dict[str, str]:
    server = _share(ClickHouseServer(_directory()), _CLICKHOUSE)
    return {_CLICKHOUSE: server.url} if server else {}


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a broker that all tests share; topics have unique names (`topic`)."""
    if address := os.environ.get(_KAFKA) or os.environ.get(_SHARED_KAFKA):
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


@pytest.fixture(scope="session")
def elasticsearch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a node that all tests share; each writes to indices of its own."""
    if url := os.environ.get("HEADRACE_TEST_ELASTICSEARCH_URL"):
        yield url
        return
    with running(ElasticsearchServer(tmp_path_factory.mktemp("elasticsearch"))) as server:
        yield server.url


@pytest.fixture(scope="module")
def _elasticsearch_of_module(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[ElasticsearchServer]:
    with running(ElasticsearchServer(tmp_path_factory.mktemp("elasticsearch"))) as server:
        yield server


@pytest.fixture
def elasticsearch_server(_elasticsearch_of_module: ElasticsearchServer) -> ElasticsearchServer:
    """A node for fault tests, running when the test begins, whatever the last one did."""
    return _elasticsearch_of_module.start()


@pytest.fixture(scope="session")
def influxdb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxdbAccess]:
    """Address, organisation and token of a server that all tests share."""
    if url := os.environ.get("HEADRACE_TEST_INFLUXDB_URL"):
        org = os.environ["HEADRACE_TEST_INFLUXDB_ORG"]
        yield InfluxdbAccess(url, org, os.environ["HEADRACE_TEST_INFLUXDB_TOKEN"])
        return
    with running(InfluxdbServer(tmp_path_factory.mktemp("influxdb"))) as server:
        yield server.access


@pytest.fixture(scope="module")
def _influxdb_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[InfluxdbServer]:
    with running(InfluxdbServer(tmp_path_factory.mktemp("influxdb"))) as server:
        yield server


@pytest.fixture
def influxdb_server(_influxdb_of_module: InfluxdbServer) -> InfluxdbServer:
    """A server for fault tests, running when the test begins, whatever the last one did."""
    return _influxdb_of_module.start()


@pytest.fixture(scope="session")
def clickhouse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseAccess]:
    """A server that all tests share; each makes a database of its own."""
    if url := os.environ.get(_CLICKHOUSE):
        user = os.environ.get("HEADRACE_TEST_CLICKHOUSE_USER", USER)
        password = os.environ.get("HEADRACE_TEST_CLICKHOUSE_PASSWORD", PASSWORD)
        yield ClickHouseAccess(url, user, password)
        return
    with running(ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))) as server:
        yield server.access


@pytest.fixture(scope="module")
def _clickhouse_of_module(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ClickHouseServer]:
    with running(ClickHouseServer(tmp_path_factory.mktemp("clickhouse"))) as server:
        yield server


@pytest.fixture
def clickhouse_server(_clickhouse_of_module: ClickHouseServer) -> ClickHouseServer:
    """A server for fault tests, running when the test begins, whatever the last one did."""
    return _clickhouse_of_module.start()


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RcloneServer]:
    with running(RcloneServer(tmp_path_factory.mktemp("s3"))) as server:
        yield server


@pytest.fixture
def topic(request: pytest.FixtureRequest) -> Iterator[TopicFactory]:
    """A factory of topics on the shared broker; they are deleted after the test."""
    made: dict[str, list[str]] = {}

    def make(partitions: int = 1, *, name: str = "test", on: str | None = None) -> str:
        address = on or request.getfixturevalue("kafka")
        unique = f"{name}-{uuid.uuid4().hex[:12]}"
        make_topics(address, [unique], partitions)
        made.setdefault(address, []).append(unique)
        return unique

    yield make
    # A broker of our own goes away with its topics; somebody else's is left as it was.
    for address, names in made.items():
        if address == os.environ.get(_KAFKA):
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
