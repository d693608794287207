"""`headrace setup` makes what is not there, leaves what is, and says which."""

from __future__ import annotations

import time
import uuid
from pathlib import Path

import httpx
from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import AdminClient, ConfigResource

from tests.backends.influxdb import InfluxdbAccess
from tests.backends.topics import make_topics
from tests.flows.command_line import ROLES, CommandLine, lines

TOPICS = len(ROLES) + 1
"""Lines that say of a topic: those that Headrace writes, and the input."""


def partitions(kafka: str, topics: list[str]) -> dict[str, int]:
    """The number of partitions of each topic. The controller makes a topic, and the broker that
    answers here may hear of it a moment later."""
    admin = AdminClient({"bootstrap.servers": kafka})
    patience = time.monotonic() + 120
    while True:
        try:
            found = admin.describe_topics(TopicCollection(topics))
            return {topic: len(future.result(10).partitions) for topic, future in found.items()}
        except KafkaException as error:
            unknown = error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART
            if not unknown or time.monotonic() > patience:
                raise
            time.sleep(0.2)


def configuration(kafka: str, topic: str) -> dict[str, str]:
    resource = ConfigResource(ConfigResource.Type.TOPIC, topic)
    admin = AdminClient({"bootstrap.servers": kafka})
    (future,) = admin.describe_configs([resource]).values()
    return {name: entry.value for name, entry in future.result(10).items()}


def test_setup_makes_every_topic_and_says_so(tmp_path: Path, kafka: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    done = headrace("setup")
    assert (done.returncode, done.stderr) == (0, "")
    assert lines(done.stdout) == [
        f"created        topic {headrace.name}-input (input), 2 partitions",
        f"created        topic {headrace.name}-rollups (rollups), 2 partitions",
        f"created        topic {headrace.name}-anomalies (anomalies), 2 partitions",
        f"created        topic {headrace.name}-alerts (alerts), 2 partitions",
        f"created        topic {headrace.name}-commands (commands), 1 partition",
        f"created        topic {headrace.name}-notifications (notifications), 2 partitions",
        f"created        topic {headrace.name}-incidents (incidents), 1 partition",
        f"created        topic {headrace.name}-models (models), 1 partition",
        f"created        topic {headrace.name}-shadow (shadow alerts), 1 partition",
        f"created        topic {headrace.name}-dead_letter (dead letters), 2 partitions",
        f"created        topic {headrace.name}-late (late points), 2 partitions",
        f"created        topic {headrace.name}-status (status), 1 partition",
    ]
    names = [f"{headrace.name}-input", *headrace.topics.values()]
    single = ("-status", "-commands", "-incidents", "-models", "-shadow")
    assert partitions(kafka, names) == {name: 1 if name.endswith(single) else 2 for name in names}
    assert configuration(kafka, headrace.topics["status"])["cleanup.policy"] == "compact,delete"
    assert configuration(kafka, headrace.topics["models"])["cleanup.policy"] == "compact"


def test_setup_again_changes_nothing(tmp_path: Path, kafka: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    headrace("setup")
    done = headrace("setup")
    assert done.returncode == 0
    assert len(lines(done.stdout)) == TOPICS
    assert all(line.startswith("already there  topic ") for line in lines(done.stdout))
    assert "better" not in done.stdout


def test_a_topic_that_is_otherwise_is_left_as_it_is(tmp_path: Path, kafka: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    alerts, status = headrace.topics["alerts"], headrace.topics["status"]
    make_topics(kafka, [alerts], 3)
    make_topics(kafka, [status])
    said = lines(headrace("setup").stdout)
    assert (
        f"already there  topic {alerts} (alerts), 3 partitions (topics.partitions says 2)" in said
    )
    assert (
        f"already there  topic {status} (status), 1 partition; cleanup.policy=delete, "
        "better compact,delete" in said
    )
    assert partitions(kafka, [alerts]) == {alerts: 3}
    assert configuration(kafka, status)["cleanup.policy"] == "delete"


def test_setup_makes_buckets_with_their_retention(
    tmp_path: Path, kafka: str, influxdb: InfluxdbAccess
) -> None:
    headrace = CommandLine(tmp_path, kafka)
    sink = {"url": influxdb.url, "org": influxdb.org, "token": influxdb.token}
    sink |= {"bucket": f"{headrace.name}_{{window}}"}
    headrace.settings["sinks"] = {"influxdb": {**sink, "retention": {"10s": "7d"}}}
    assert lines(headrace("setup").stdout)[TOPICS:] == [
        f"created        influxdb: bucket {headrace.name}_10s, kept 1w",
        f"created        influxdb: bucket {headrace.name}_1m, kept for ever",
    ]
    headrace.settings["sinks"] = {"influxdb": {**sink, "retention": {"10s": "7d", "1m": "30d"}}}
    assert lines(headrace("setup").stdout)[TOPICS:] == [
        f"already there  influxdb: bucket {headrace.name}_10s",
        f"changed        influxdb: bucket {headrace.name}_1m is now kept 30d",
    ]
    answer = httpx.get(
        f"{influxdb.url}/api/v2/buckets",
        params={"limit": 100, "org": influxdb.org},
        headers={"Authorization": f"Token {influxdb.token}"},
    )
    kept = {
        bucket["name"]: [rule["everySeconds"] for rule in bucket["retentionRules"]]
        for bucket in answer.json()["buckets"]
        if bucket["name"].startswith(headrace.name)
    }
    assert kept == {f"{headrace.name}_10s": [7 * 86_400], f"{headrace.name}_1m": [30 * 86_400]}


def test_setup_installs_index_templates(tmp_path: Path, kafka: str, elasticsearch: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    namespace = uuid.uuid4().hex[:10]
    headrace.settings["sinks"] = {
        "elasticsearch": {"hosts": [elasticsearch], "namespace": namespace}
    }
    said = lines(headrace("setup").stdout)[TOPICS:]
    assert [line.partition(",")[0] for line in said] == [
        f"created        elasticsearch: index template headrace-{kind}-{namespace}"
        for kind in ("anomalies", "alerts", "notifications", "incidents", "spans")
    ]
    installed = httpx.get(f"{elasticsearch}/_index_template/headrace-*-{namespace}").json()
    assert len(installed["index_templates"]) == 5
    assert lines(headrace("setup").stdout)[TOPICS:] == [
        f"already there  elasticsearch: index templates of namespace {namespace}"
    ]


def test_what_can_be_made_is_made_when_something_else_cannot(tmp_path: Path, kafka: str) -> None:
    headrace = CommandLine(tmp_path, kafka)
    headrace.settings["sinks"] = {
        "influxdb": {"url": "http://127.0.0.1:9", "org": "o", "token": "tell-nobody"},
        "elasticsearch": {
            "hosts": ["http://127.0.0.1:9"], "username": "u", "password": "nor-this",
        },
    }  # fmt: skip
    done = headrace("setup")
    assert done.returncode == 1
    said = lines(done.stdout)
    assert [line.split()[0] for line in said] == ["created"] * TOPICS + ["failed"] * 2
    assert said[TOPICS] == "failed         influxdb: http://127.0.0.1:9: Connection refused"
    assert "elasticsearch: http://127.0.0.1:9" in said[TOPICS + 1]
    assert done.stderr == (
        "headrace: not everything is there: see the lines that say failed, then run this again\n"
    )
    assert "tell-nobody" not in done.stdout
    assert "nor-this" not in done.stdout
