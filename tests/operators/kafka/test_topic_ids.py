"""The ids of topics, which several workers ask for at the same time."""

from __future__ import annotations

import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from confluent_kafka import TopicCollection
from confluent_kafka.admin import AdminClient

from flows.settings import Kafka
from operators.kafka import topic_ids
from operators.kafka.topic_ids import TopicIds
from tests.conftest import TopicFactory


def test_all_questions_go_through_one_client(
    kafka: str, topic: TopicFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that is replaced takes the questions with it that others wait for."""
    made: list[AdminClient] = []

    def make(settings: Kafka) -> AdminClient:
        made.append(client := real(settings))
        return client

    real = topic_ids.admin_client
    monkeypatch.setattr(topic_ids, "admin_client", make)
    names = [topic(), topic()]
    ids = TopicIds(Kafka(bootstrap_servers=kafka))
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(ids.of, [names] * 20))

    asker = AdminClient({"bootstrap.servers": kafka})
    described = asker.describe_topics(TopicCollection(names))
    expected = {name: str(future.result(60).topic_id) for name, future in described.items()}
    assert answers == [expected] * 20
    assert len(made) == 1


def test_a_broker_that_does_not_answer_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topic_ids, "_SECONDS", 0.3)
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        ids = TopicIds(Kafka(bootstrap_servers=f"127.0.0.1:{nobody.getsockname()[1]}"))
        began = time.monotonic()
        assert ids.of([f"topic-{number}" for number in range(200)]) == {}
        assert time.monotonic() - began < 30  # a minute if each topic had its own time
