"""One harness a sink: how to make it, what to write, how to read it back, how to take it away."""

from __future__ import annotations

import os
import uuid
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, ClassVar

import httpx
import orjson
import polars as pl
from confluent_kafka import Consumer, TopicPartition

from flows.settings import ClickHouseSection as ClickHouseSettings
from flows.settings import ElasticsearchSection as ElasticsearchSettings
from flows.settings import InfluxDBSection as InfluxDBSettings
from flows.settings import Kafka as KafkaSettings
from flows.settings import LakeSection as LakeSettings
from operators.contracts.frames import DOCUMENTS, MESSAGES, REJECTS, SERVICE_CALLS
from sinks import clickhouse_setup, elasticsearch_setup, influxdb_setup
from sinks.base import Destination
from sinks.clickhouse_logs import ClickHouseLogs
from sinks.dead_letter import DeadLetter
from sinks.dead_letter_reader import read_dead_letters
from sinks.elasticsearch import Elasticsearch
from sinks.influxdb import InfluxDB, bucket_name
from sinks.jaeger_calls import JaegerCalls
from sinks.kafka import KafkaDestination
from sinks.lake import Lake, read_rollups
from sinks.log_lake import LogLake, read_logs
from tests.backends.clickhouse import ClickHouseServer
from tests.backends.elasticsearch import ElasticsearchServer
from tests.backends.influxdb import InfluxdbServer
from tests.backends.kafka import KafkaServer
from tests.backends.process import Server
from tests.backends.proxy import Mode, Proxy
from tests.sinks.log_records import records
from tests.sinks.samples import DAY, MIDNIGHT, SECOND, points, scores

SECRET = "a-secret-that-nobody-may-see"


class Harness(ABC):
    """A sink under test, with its backend; a row is known by its number."""

    fixture: ClassVar[str | None] = None
    """The fixture with the sink's own server, which is what the harness is made of."""

    @property
    @abstractmethod
    def place(self) -> str:
        """What a message must name: the address or path of the backend."""

    @abstractmethod
    def make(self) -> Destination:
        """Connect the sink."""

    @abstractmethod
    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        """Return good rows."""

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        """Return a row that the backend refuses for good and a word of why; None if it can't.

        Rows of different numbers have different identities.
        """
        return None

    @abstractmethod
    def found(self) -> Counter[int]:
        """Return how often each row is there for those who read the backend."""

    @abstractmethod
    def take_away(self) -> None:
        """Make the backend unavailable."""

    @abstractmethod
    def bring_back(self) -> None:
        """Make it available again."""


class WithServer(Harness):
    def __init__(self, server: Server) -> None:
        self.server = server

    def take_away(self) -> None:
        self.server.stop()

    def bring_back(self) -> None:
        self.server.start()


class InfluxDBHarness(WithServer):
    fixture = "influxdb_server"

    def __init__(self, server: InfluxdbServer) -> None:
        super().__init__(server)
        access = server.access
        bucket = f"{uuid.uuid4().hex[:12]}_{{window}}"
        url = access.url.replace("http://", f"http://user:{SECRET}@")
        self.settings = InfluxDBSettings(
            url=url, org=access.org, token=access.token, bucket=bucket, batch_lines=3
        )
        influxdb_setup.ensure(self.settings, [10 * SECOND])
        self.read = (access.url, access.token, bucket_name(self.settings, 10 * SECOND))

    @property
    def place(self) -> str:
        return self.read[0]

    def make(self) -> Destination:
        return InfluxDB(self.settings)

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return scores(*({"series": n, "labels": {"n": str(n)}} for n in numbers))

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        return scores({"series": 2**63 + number, "name": ""}), "missing measurement"

    def found(self) -> Counter[int]:
        return Counter(int(point["tags"]["n"]) for point in points(*self.read))


class ElasticsearchHarness(WithServer):
    fixture = "elasticsearch_server"

    def __init__(self, server: ElasticsearchServer) -> None:
        super().__init__(server)
        self.url = server.url
        self.settings = ElasticsearchSettings(
            hosts=(server.url,), namespace=uuid.uuid4().hex[:12], batch_bytes=200,
            username="headrace", password=SECRET,
        )  # fmt: skip
        self.stream = f"anomalies-headrace-{self.settings.namespace}"
        elasticsearch_setup.ensure(self.settings)

    @property
    def place(self) -> str:
        return self.url

    def make(self) -> Destination:
        return Elasticsearch(self.settings)

    def document(self, number: int, **fields: Any) -> tuple[str, str, str]:
        document = {"@timestamp": "2026-11-23T00:00:00Z", "count": number} | fields
        return self.stream, f"document-{number}", orjson.dumps(document).decode()

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return pl.DataFrame([self.document(n) for n in numbers], schema=DOCUMENTS, orient="row")

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        row = self.document(-1 - number, value="no number")
        return pl.DataFrame([row], schema=DOCUMENTS, orient="row"), "document_parsing_exception"

    def found(self) -> Counter[int]:
        httpx.post(f"{self.url}/{self.stream}/_refresh")
        answer = httpx.get(f"{self.url}/{self.stream}/_search", params={"size": 1000})
        return Counter(hit["_source"]["count"] for hit in answer.json()["hits"]["hits"])


class JaegerCallsHarness(Harness):
    """Calls of one hour; those of the day after have an index that takes nothing.

    The node is that of all tests, so a proxy stands for one that is away.
    """

    fixture = "elasticsearch"

    def __init__(self, url: str) -> None:
        self.url = url
        self.proxy = Proxy(url).__enter__()
        self.away = ExitStack()
        self.settings = ElasticsearchSettings(
            hosts=(self.proxy.url,), username="headrace", password=SECRET, timeout="1m"
        )
        self.prefix = f"{uuid.uuid4().hex[:12]}-"
        index = f"{url}/{self.prefix}jaeger-dependencies-2026-11-24"
        mapping = {"mappings": {"dynamic": "strict"}}
        httpx.put(index, json=mapping, timeout=60).raise_for_status()

    @property
    def place(self) -> str:
        return self.proxy.url

    def make(self) -> Destination:
        return JaegerCalls(self.settings, self.prefix, 10 * SECOND)

    def take_away(self) -> None:
        self.away.enter_context(self.proxy.misbehaving(Mode("answer", 503)))

    def bring_back(self) -> None:
        self.away.close()

    def rows(self, numbers: Sequence[int], start: int) -> pl.DataFrame:
        rows = [(n, f"{n}", "server", start, 1, 1.0) for n in numbers]
        return pl.DataFrame(rows, schema=SERVICE_CALLS, orient="row")

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return self.rows(numbers, MIDNIGHT)

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        return self.rows([1_000 + number], MIDNIGHT + DAY), "strict_dynamic_mapping_exception"

    def found(self) -> Counter[int]:
        index = f"{self.url}/{self.prefix}jaeger-dependencies-2026-11-23"
        httpx.post(f"{index}/_refresh", timeout=60)
        answer = httpx.post(
            f"{index}/_search", json={"query": {"exists": {"field": "timestamp"}}}, timeout=60
        )
        (hit,) = answer.json()["hits"]["hits"]
        links = hit["_source"]["dependencies"]
        return Counter({int(link["parent"]): link["callCount"] for link in links})


class ClickHouseHarness(WithServer):
    fixture = "clickhouse_server"

    def __init__(self, server: ClickHouseServer) -> None:
        super().__init__(server)
        self.access = server.access
        self.settings = ClickHouseSettings(
            url=server.url, user=self.access.user, password=self.access.password,
            database=f"d{uuid.uuid4().hex[:12]}", ttl="9000d", batch_rows=3,
        )  # fmt: skip
        clickhouse_setup.ensure(self.settings, logs=True, spans=False)
        self.access.tell(
            f"ALTER TABLE {self.settings.database}.otel_logs ADD CONSTRAINT c CHECK Body != 'bad'"
        )

    @property
    def place(self) -> str:
        return self.access.url

    def make(self) -> Destination:
        return ClickHouseLogs(self.settings)

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return records(*({"offset": n} for n in numbers))

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        return records({"offset": 1000 + number, "body": "bad"}), "469"

    def found(self) -> Counter[int]:
        rows = self.access.rows(f"SELECT Offset FROM {self.settings.database}.otel_logs")
        return Counter(row["Offset"] for row in rows)


class KafkaHarness(WithServer):
    fixture = "kafka_server"

    def __init__(self, server: KafkaServer) -> None:
        super().__init__(server)
        self.topic = f"test-{uuid.uuid4().hex[:12]}"
        self.settings = KafkaSettings(
            bootstrap_servers=server.bootstrap_servers,
            options={"message.timeout.ms": 3000, "sasl.username": "me", "sasl.password": SECRET},
        )

    @property
    def place(self) -> str:
        return self.settings.bootstrap_servers

    def make(self) -> Destination:
        return KafkaDestination(self.settings)

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        rows = [(self.topic, b"key", str(n).encode()) for n in numbers]
        return pl.DataFrame(rows, schema=MESSAGES, orient="row")

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        row = (self.topic, b"key", os.urandom(2_000_000))
        return pl.DataFrame([row], schema=MESSAGES, orient="row"), "MSG_SIZE_TOO_LARGE"

    def found(self) -> Counter[int]:
        """Count as who reads a topic does: a message that came twice counts once."""
        consumer = Consumer(
            {"bootstrap.servers": self.place, "group.id": "t", "enable.partition.eof": True}
        )
        consumer.assign([TopicPartition(self.topic, 0, 0)])
        values: set[int] = set()
        while (message := consumer.poll(15)) is not None and not message.error():
            values.add(int(message.value() or b""))
        consumer.close()
        return Counter(values)


class DeadLetterHarness(KafkaHarness):
    def make(self) -> Destination:
        return DeadLetter(self.settings, self.topic)

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        rows = [("input", "source", 0, n, "broken", b"\xff\x00") for n in numbers]
        return pl.DataFrame(rows, schema=REJECTS, orient="row")

    def bad(self, number: int = 0) -> tuple[pl.DataFrame, str] | None:
        return None

    def found(self) -> Counter[int]:
        letters = {letter.id: letter for letter in read_dead_letters(self.settings, self.topic)}
        return Counter(letter.offset for letter in letters.values())


class LakeHarness(Harness):
    """Its backend is a disk; it goes away by a file standing where its directory should be."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "mounted"
        self.away = directory / "away"
        self.directory.mkdir()

    @property
    def place(self) -> str:
        return str(self.directory / "lake")

    def make(self) -> Destination:
        return Lake(LakeSettings(path=self.directory / "lake", compact_files=2))

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return scores(*({"series": n} for n in numbers))

    def found(self) -> Counter[int]:
        return Counter(read_rollups(Path(self.place)).collect()["series"])

    def take_away(self) -> None:
        self.directory.rename(self.away)
        self.directory.touch()

    def bring_back(self) -> None:
        self.directory.unlink()
        self.away.rename(self.directory)


class LogLakeHarness(LakeHarness):
    def make(self) -> Destination:
        return LogLake(LakeSettings(path=self.directory / "lake", compact_files=2))

    def frame(self, numbers: Sequence[int]) -> pl.DataFrame:
        return records(*({"offset": n} for n in numbers))

    def found(self) -> Counter[int]:
        return Counter(read_logs(Path(self.place)).collect()["offset"])


HARNESSES: dict[str, type[WithServer] | type[LakeHarness] | type[JaegerCallsHarness]] = {
    "influxdb": InfluxDBHarness,
    "elasticsearch": ElasticsearchHarness,
    "elasticsearch-jaeger-calls": JaegerCallsHarness,
    "clickhouse-logs": ClickHouseHarness,
    "kafka": KafkaHarness,
    "dead-letter": DeadLetterHarness,
    "lake": LakeHarness,
    "lake-logs": LogLakeHarness,
}
"""Every sink. Adding one is writing its harness, and a line here."""
