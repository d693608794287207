"""The flow ``logs`` from end to end: what is on the input topics is parsed and grouped on its own."""

import os
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
import yaml
from confluent_kafka import Producer
from opentelemetry.proto.logs.v1.logs_pb2 import LogsData
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from operators.columns.batches import decode_batches
from operators.contracts.alert import decode_event
from operators.contracts.batch_form import LOG_BATCHES
from sinks.log_documents import log_stream
from sinks.log_lake import read_logs
from tests.flows.telemetry import values_of
from tests.operators.logs.test_exceptions import JAVA

ROOT = Path(__file__).parents[2]


ROLES = (
    "logs", "templates", "log_counts", "exceptions", "audit", "alerts", "dead_letter", "status",
    "commands",
)  # fmt: skip


def otlp(*bodies: str) -> bytes:
    data = LogsData()
    group = data.resource_logs.add()
    group.resource.attributes.add(key="service.name").value.string_value = "shop"
    scoped = group.scope_logs.add()
    for number, body in enumerate(bodies):
        record = scoped.log_records.add(time_unix_nano=1_767_225_600_000_000_000 + number)
        record.body.string_value = body
    return data.SerializeToString()


@pytest.fixture
def run(kafka: str, elasticsearch: str, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Return what runs the flow over messages by encoding to their end, and names its topics."""

    def go(messages: dict[str, list[bytes]], *arguments: str) -> dict[str, str]:
        name = f"t{uuid.uuid4().hex[:8]}"
        topics = {role: f"{name}-{role.replace('_', '-')}" for role in ROLES}
        producer = Producer({"bootstrap.servers": kafka})
        for encoding, values in messages.items():
            for value in values:
                producer.produce(f"{name}-{encoding}", value, timestamp=1_767_225_603_000)
        for topic in topics.values():
            producer.list_topics(topic, 30)
        assert producer.flush(120) == 0
        settings = {
            "kafka": {"bootstrap_servers": kafka, "group": name},
            "inputs": [
                {"topic": f"{name}-{encoding}", "signal": "logs", "encoding": encoding}
                for encoding in messages
            ],
            "topics": topics,
            "run": {"until": "end"},
            "sinks": {
                "lake": {"path": str(tmp_path / "lake")},
                "elasticsearch": {"hosts": [elasticsearch], "namespace": name},
            },
        }
        file = tmp_path / "headrace.yaml"
        file.write_text(yaml.safe_dump(settings))
        environment = {
            k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE", "BYTEWAX"))
        }
        for command in (
            ("flows.cli", "setup"),
            ("bytewax.run", "flows.logs", *arguments),
            ("bytewax.run", "flows.storage"),
        ):
            ended = subprocess.run(
                [sys.executable, "-m", *command], check=False, cwd=ROOT, capture_output=True,
                env=environment | {"HEADRACE_CONFIG": str(file)}, text=True, timeout=240,
            )  # fmt: skip
            assert ended.returncode == 0, ended.stderr[-3000:]
            assert "hunter2" not in ended.stderr
        return topics | {"namespace": name, "settings": str(file)}

    return go


def stored(url: str, namespace: str) -> list[dict[str, Any]]:
    stream = f"{url}/{log_stream(namespace)}"
    httpx.post(f"{stream}/_refresh", timeout=60).raise_for_status()
    answer = httpx.get(f"{stream}/_search", params={"size": 100}, timeout=60).json()
    return [hit["_source"] for hit in answer["hits"]["hits"]]


def test_logs_of_several_encodings_come_out_parsed_scrubbed_grouped_and_stored(
    kafka, elasticsearch, run, tmp_path
):
    messages = {
        "otlp_proto": [
            otlp("Took 5 ms", "login password=hunter2 ok", "ERROR it broke"),
            otlp("Took 77 ms", JAVA),
            b"\x0a\xff",
        ],
        "syslog": [b"<34>Dec 31 23:59:59 sw1 %SYS-5-CONFIG: x"],
        "fluent_bit_json": [
            b'{"@timestamp":1767225600.5,"log":"{\\"msg\\":\\"Took 9 ms\\",\\"level\\":\\"warn\\"}\\n"}'
        ],
    }
    topics = run(messages, "-w", "2")
    records = decode_batches(values_of(kafka, topics["logs"]), LOG_BATCHES)
    assert records.height == 7
    assert records.select("topic", "partition", "offset", "index").is_unique().all()
    by_body = {row["body"]: row for row in records.rows(named=True)}
    assert by_body["login password=*** ok"]["service"] == "shop"
    assert by_body["it broke"]["severity"] == 17
    assert by_body["%SYS-5-CONFIG: x"]["ts"] == 1_767_225_599_000_000_000
    assert by_body["Took 9 ms"]["severity"] == 13
    assert by_body["Took 5 ms"]["template"] == by_body["Took 77 ms"]["template"]
    in_lake = read_logs(tmp_path / "lake").collect().sort("topic", "partition", "offset", "index")
    assert in_lake.equals(records.sort("topic", "partition", "offset", "index"))
    documents = stored(elasticsearch, topics["namespace"])
    assert sorted(each["body"]["text"] for each in documents) == sorted(records["body"])
    assert "hunter2" not in str(documents)
    (exception,) = {row["exception"] for row in records.rows(named=True)} - {""}

    lines = [
        orjson.loads(line)
        for value in values_of(kafka, topics["templates"])
        for line in value.splitlines()
    ]
    ids = {line["new"]: line["text"] for line in lines}
    assert ids[f"{by_body['Took 5 ms']['template']:016x}"] == "Took *"
    assert all(line["old"] is None for line in lines)

    counted: dict[str, int] = {}
    for value in values_of(kafka, topics["log_counts"]):
        for group in MetricsData.FromString(value).resource_metrics:
            service = {pair.key: pair.value.string_value for pair in group.resource.attributes}.get(
                "service.name", ""
            )
            for scoped in group.scope_metrics:
                for metric in scoped.metrics:
                    assert metric.name == "log.records"
                    for point in metric.sum.data_points:
                        counted[service] = counted.get(service, 0) + point.as_int
    assert counted == {"shop": 5, "": 2}

    events = [decode_event(value) for value in values_of(kafka, topics["alerts"])]
    assert {(each["labels"]["alertname"], each["labels"].get("exception", "")) for each in events} >= {
        ("NewException", exception), ("NewErrorTemplate", ""),
    }  # fmt: skip
    assert len(values_of(kafka, topics["dead_letter"])) == 1

    headrace = [sys.executable, "-m", "flows.cli", "-c", topics["settings"]]

    def say(*arguments: str) -> str:
        ended = subprocess.run(
            [*headrace, *arguments], check=False, cwd=ROOT, capture_output=True, text=True, timeout=60
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    (group,) = orjson.loads(say("exceptions", "list", "--service", "shop", "--json"))
    assert (group["fingerprint"], group["count"], group["state"]) == (exception, 1, "new")
    shown = say("exceptions", "show", exception[:6])
    assert "IllegalStateException" in shown
    assert "shop.Order.check" in shown
    found = orjson.loads(say("logs", "templates", "search", "TOOK", "--since", "100000h", "--json"))
    assert {(each["service"], each["text"], each["count"]) for each in found} == {
        ("shop", "Took *", 2), ("", "Took *", 1),
    }  # fmt: skip
    shown = say("logs", "templates", "show", found[0]["id"], "--since", "100000h")
    assert "Took 77 ms" in shown
    outcomes = orjson.loads(say("erase", "--subject", "77 ms", "--yes", "--json"))["outcomes"]
    assert (
        sorted(each["thing"].split(",")[0] for each in outcomes)
        == ["0 records"] + ["1 records"] * 2
    )
    assert read_logs(tmp_path / "lake").collect().height == 6
    assert "Took 77 ms" not in str(stored(elasticsearch, topics["namespace"]))
    (record,) = (orjson.loads(value) for value in values_of(kafka, topics["audit"]))
    assert sum(record["erased"].values()) == 2
    assert "77 ms" not in record["subjects"]
