"""The benchmark itself, small, against a real broker."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from bench.load import Load
from bench.topic import PARTITIONS, fill

ROOT = Path(__file__).parents[2]


def read(bootstrap: str, topic: str) -> dict[int, list[bytes]]:
    """Return the messages of each partition, in order."""
    client = Consumer(
        {"bootstrap.servers": bootstrap, "group.id": "bench-test", "enable.partition.eof": True}
    )
    client.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: dict[int, list[bytes]] = {number: [] for number in range(PARTITIONS)}
    ended = 0
    while ended < PARTITIONS:
        for message in client.consume(1000, 1):
            if message.error() is None:
                found[message.partition()].append(message.value())
            else:
                ended += 1
    client.close()
    return found


@pytest.mark.parametrize("encoding", ["otlp_proto", "influx", "prometheus_json"])
def test_a_topic_holds_each_message_once_and_each_partition_is_in_order_of_time(kafka, encoding):
    load = Load(4_000, 3, encoding=encoding)
    topic = f"bench-test-{encoding}"
    fill(kafka, topic, load)
    found = read(kafka, topic)
    expected = list(load.messages())
    assert Counter(m for part in found.values() for m in part) == Counter(expected)
    place = {message: number for number, message in enumerate(expected)}
    for part in found.values():
        assert len(part) > 0
        places = [place[message] for message in part]
        assert places == sorted(places)


def test_text_of_a_series_is_always_in_the_same_partition(kafka):
    topic = "bench-test-series"
    fill(kafka, topic, Load(4_000, 3, encoding="influx"))
    for part in read(kafka, topic).values():
        counts = Counter(message.rpartition(b"=")[0] for message in part)
        assert set(counts.values()) == {3}


def test_the_floor_and_the_flow_are_measured_and_compared(kafka, tmp_path):
    file = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--only", "otlp_proto .*: (floor|flow|flow with recovery|logs: flow)$",
         "--series", "800", "--points", "40000", "--runs", "1", "--json", str(file)],
        cwd=ROOT,
        env={"PATH": "", "HOME": str(Path.home()), "HEADRACE__KAFKA__BOOTSTRAP_SERVERS": kafka},
        check=False, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    cases = json.loads(file.read_text(encoding="utf-8"))["cases"]
    flow = cases["otlp_proto 800 series 40k: flow"]
    assert flow["points"] == 40_000
    (run,) = flow["runs"]
    assert 0 < run["seconds"] < run["whole"]
    assert 0 < run["cpu"] < run["cpu_whole"]
    assert run["ready"] < run["first"]
    assert cases["otlp_proto 800 series 40k: floor"]["of_the_floor"] == 1
    assert flow["cpu_of_the_floor"] > 1, "the flow does what the floor does, and more"
    assert cases["otlp_proto 20k lines: logs: flow"]["points"] == 20_000
    store = cases["otlp_proto 800 series 40k: flow with recovery"]["runs"][0]["store"]
    assert store["epochs"] >= 1
    assert store["largest_bytes"] > 800 * 8, "it holds at least a number for each series"
    assert "Goals" in done.stdout
    names = AdminClient({"bootstrap.servers": kafka}).list_topics(timeout=10).topics
    assert not [name for name in names if name.startswith("bench.")], "it leaves nothing behind"
