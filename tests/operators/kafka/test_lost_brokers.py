"""Clients whose brokers have said that there are none, as some do that shut down."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from flows.settings import Kafka
from operators.kafka import clients, lost_brokers
from tests.backends.forgetful_kafka import ForgetfulKafka
from tests.conftest import TopicFactory


def until(condition: Callable[[], object], within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def values(consumer: Consumer) -> list[bytes]:
    return [each.value() for each in consumer.consume(1, 0.1) if not each.error()]


def test_clients_that_know_no_broker_any_more_find_them_again(
    kafka: str, topic: TopicFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lost_brokers, "_EVERY", 0.5)
    errors: list[KafkaError] = []
    name = topic()
    with ForgetfulKafka(kafka) as way:
        # Librdkafka's own remedy comes in time by chance; here it must not hide what ours does.
        settings = Kafka(
            bootstrap_servers=way.bootstrap_servers,
            options={"metadata.recovery.strategy": "none"},
        )
        fetcher = clients.fetcher(settings, errors.append)
        consumer = clients.consumer(settings, "lost-brokers")
        producer = clients.producer(settings)
        fetcher.start([TopicPartition(name, 0, 0)])
        consumer.assign([TopicPartition(name, 0, 0)])

        def send(number: int) -> None:
            sent: list[object] = []
            producer.produce(name, str(number), on_delivery=lambda error, _: sent.append(error))
            until(lambda: (producer.poll(0.1), sent)[1])
            assert sent == [None]

        def receive(number: int) -> None:
            fetched: list[bytes] = []
            consumed: list[bytes] = []
            until(lambda: fetched.extend(fetcher.poll(name, 10, 1000).values) or fetched)
            until(lambda: consumed.extend(values(consumer)) or consumed)
            assert (fetched, consumed) == ([str(number).encode()],) * 2

        send(1)
        receive(1)
        way.forgets = True
        way.refuse()
        way.accept()
        with suppress(KafkaException):
            producer.list_topics(name, timeout=5)
        until(lambda: way.answers >= 3)  # those that read ask once they are connected again
        way.refuse()
        way.forgets = False
        way.accept()
        send(2)
        receive(2)
        fetcher.close()
        consumer.close()
