"""Where groups of rules stand is the same in all processes, and after a restart."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import KafkaException, TopicPartition

from flows.rule_places import AgreedPlaces
from flows.settings import Kafka
from operators.kafka.clients import consumer
from operators.rules.loading import PlacesUnknown
from operators.rules.placement import Places
from tests.backends.process import free_port
from tests.conftest import TopicFactory


def at(shard: int, *names: str) -> Places:
    return {("rules.yml", name): shard for name in names}


def ready(settings: Kafka, name: str) -> None:
    """Wait until the brokers have a leader for a topic that was made a moment ago."""
    client, deadline = consumer(settings, "ready"), time.monotonic() + 120
    while True:
        try:
            client.get_watermark_offsets(TopicPartition(name, 0), timeout=5)
        except KafkaException:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        else:
            client.close()
            return


def test_processes_that_propose_other_places_agree_and_a_restart_remembers(
    kafka: str, topic: TopicFactory
) -> None:
    settings, name = Kafka(bootstrap_servers=kafka), topic(2)
    ready(settings, name)

    def process() -> AgreedPlaces:
        return AgreedPlaces(settings, name, 4)

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda n: process()("one", lambda _: at(n, "a", "b")), range(4)))
    assert all(one == told[0] for one in told)
    stood: list[Places] = []

    def wanted(before: Places) -> Places:
        stood.append(before)
        return {**at(3, "c"), **{key: before[key] for key in at(0, "b")}}

    restarted = process()
    assert restarted("one", wanted) == told[0]
    assert not stood  # These are the groups that are known.
    later = restarted("two", wanted)
    assert stood == [told[0]]
    # What is gone is remembered: it may come back.
    assert later == {**told[0], **at(3, "c")}
    assert process()("one", wanted)[("rules.yml", "c")] == 3
    # Places among another number of shards say nothing.
    assert AgreedPlaces(settings, name, 2)("two", lambda before: before or at(1, "a")) == at(1, "a")


def test_without_the_topic_places_are_remembered_by_the_process_alone(
    kafka: str, caplog: pytest.LogCaptureFixture
) -> None:
    places = AgreedPlaces(Kafka(bootstrap_servers=kafka), "no-places-here", 4)
    assert places("one", lambda _: at(1, "a")) == at(1, "a")
    assert places("two", lambda before: {**at(2, "b"), **before}) == {**at(1, "a"), **at(2, "b")}
    assert "headrace setup" in caplog.text


def test_brokers_that_do_not_answer_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.rule_places._SECONDS", 0.5)
    places = AgreedPlaces(Kafka(bootstrap_servers=f"127.0.0.1:{free_port()}"), "places", 4)
    with pytest.raises(PlacesUnknown, match="places: "):
        places("one", lambda before: before)
