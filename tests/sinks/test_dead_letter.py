"""Dead letters arrive whole whatever their size, and are re-driven once."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourceType,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.settings import Kafka as Settings
from operators.contracts.frames import MESSAGES, REJECTS
from sinks.base import Destination, Unavailable, rejects
from sinks.dead_letter import DeadLetter
from sinks.dead_letter_reader import Letter, read_dead_letters, redriven_until
from sinks.kafka import KafkaDestination
from sinks.redrive import UnknownOrigin, redrive
from tests.conftest import TopicFactory
from tests.sinks.test_kafka import limited_topic, read

MEGABYTE = 1_000_000


@pytest.fixture
def brokers(kafka: str) -> Settings:
    return Settings(
        bootstrap_servers=kafka,
        group=f"test-{uuid.uuid4().hex[:8]}",
        options={"message.timeout.ms": 5000},
    )


@pytest.fixture
def letters(topic: TopicFactory) -> str:
    return topic(name="dead-letter")


def inputs(source: str, *payloads: bytes) -> pl.DataFrame:
    rows = [
        ("input", source, 3, number, f"reason {number}", p) for number, p in enumerate(payloads)
    ]
    return pl.DataFrame(rows, schema=REJECTS, orient="row")


def payloads(found: Iterator[Letter]) -> list[bytes]:
    return [letter.payload for letter in found]


def values(brokers: Settings, topic: str) -> list[bytes]:
    return [message.value() or b"" for message in read(brokers.bootstrap_servers, topic)]


def test_a_letter_is_the_payload_with_its_story_in_the_headers(
    brokers: Settings, letters: str
) -> None:
    DeadLetter(brokers, letters, "metrics").write(inputs("otlp", b"\x00\xffraw"))
    (message,) = read(brokers.bootstrap_servers, letters)
    assert message.value() == b"\x00\xffraw"
    headers = dict(message.headers() or [])
    assert len(headers.pop("headrace.letter")) == 32
    assert headers == {
        "headrace.origin": b"input", "headrace.topic": b"otlp", "headrace.partition": b"3",
        "headrace.offset": b"0", "headrace.reason": b"reason 0", "headrace.flow": b"metrics",
        "headrace.encoding": b"", "headrace.piece": b"0/1",
    }  # fmt: skip
    (letter,) = read_dead_letters(brokers, letters)
    assert letter.payload == b"\x00\xffraw"
    assert (letter.place, letter.resume) == ((0, 0), 1)
    assert (letter.topic, letter.partition, letter.offset) == ("otlp", 3, 0)
    assert (letter.origin, letter.reason, letter.flow) == ("input", "reason 0", "metrics")
    assert letter.written > 1_600_000_000_000


def test_letters_of_any_size_come_back_whole(brokers: Settings, letters: str) -> None:
    sent = [
        b"", b"small", os.urandom(5 * MEGABYTE), b"compressible" * MEGABYTE,
        os.urandom(900_000), os.urandom(900_001), b"after",
    ]  # fmt: skip
    DeadLetter(brokers, letters).write(inputs("otlp", *sent))
    assert payloads(read_dead_letters(brokers, letters)) == sent
    assert len(read(brokers.bootstrap_servers, letters)) == len(sent) + 5 + 1


def test_a_topic_with_a_lower_limit_gets_smaller_pieces(brokers: Settings) -> None:
    topic = limited_topic(brokers.bootstrap_servers, {"max.message.bytes": "50000"})
    sent = [b"small", os.urandom(300_000), b"x" * 60_000, os.urandom(49_900)]
    destination = DeadLetter(brokers, topic)
    destination.write(inputs("otlp", *sent))
    assert sorted(payloads(read_dead_letters(brokers, topic))) == sorted(sent)


def test_a_topic_for_less_than_the_headers_is_waited_for(brokers: Settings) -> None:
    topic = limited_topic(brokers.bootstrap_servers, {"max.message.bytes": "100"})
    with pytest.raises(Unavailable, match=rf"topic {topic}: .*[Tt]oo large"):
        DeadLetter(brokers, topic).write(inputs("otlp", b"small"))


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=12), st.randoms(use_true_random=False))
def test_letters_that_several_writers_send_at_once_do_not_mix(
    brokers: Settings, topic: TopicFactory, sizes: list[int], random: Any
) -> None:
    """Pieces of different letters interleave; those of one stay in order. Some tries break off."""
    name = topic()
    sent = [os.urandom(size * 100) for size in sizes]
    writer = DeadLetter(brokers, name)
    writer._piece_bytes = 150
    queues = []
    for row in inputs("otlp", *sent).iter_rows(named=True):
        whole = list(writer._messages(row))
        broken_off = whole[: random.randrange(len(whole))]
        queues.append(broken_off + whole)
    producer = Producer({"bootstrap.servers": brokers.bootstrap_servers})
    while queues:
        queue = random.choice(queues)
        message = queue.pop(0)
        producer.produce(name, message.value, message.key, headers=dict(message.headers or {}))
        queues = [queue for queue in queues if queue]
    producer.flush()
    found = list(read_dead_letters(brokers, name))
    assert sorted(letter.payload for letter in found) == sorted(sent)
    # Whoever goes on from any letter finds all that come after it.
    for position, letter in enumerate(found):
        begin = Settings(**brokers.model_dump() | {"group": f"g-{uuid.uuid4().hex}"})
        commit(begin, name, letter.resume)
        rest = {each.id for each in read_dead_letters(begin, name, pending=True)}
        assert {each.id for each in found[position + 1 :]} <= rest
        if position >= 1:
            break


def commit(brokers: Settings, topic: str, offset: int) -> None:
    group = f"{brokers.group}.dead-letter"
    consumer = Consumer({"bootstrap.servers": brokers.bootstrap_servers, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def test_a_message_that_is_no_letter_is_passed_over(brokers: Settings, letters: str) -> None:
    producer = Producer({"bootstrap.servers": brokers.bootstrap_servers})
    for headers in ({}, {"headrace.piece": b"x"}, {"headrace.piece": b"0/1"}):
        producer.produce(letters, b"foreign", headers=headers)
    producer.flush()
    DeadLetter(brokers, letters).write(inputs("otlp", b"ours"))
    assert payloads(read_dead_letters(brokers, letters)) == [b"ours"]


def test_inputs_return_to_their_topic_once(
    brokers: Settings, letters: str, topic: TopicFactory
) -> None:
    source = topic(name="source")
    DeadLetter(brokers, letters).write(inputs(source, b"a", os.urandom(2000), b"c"))
    done = redrive(brokers, letters, {})
    assert (dict(done.sent), done.returned, done.skipped) == ({source: 3}, 0, 0)
    assert values(brokers, source)[::2] == [b"a", b"c"]
    again = redrive(brokers, letters, {})
    assert dict(again.sent) == {}
    DeadLetter(brokers, letters).write(inputs(source, b"a", b"new"))
    assert payloads(read_dead_letters(brokers, letters, pending=True)) == [b"a", b"new"]
    assert redrive(brokers, letters, {}).sent[source] == 2
    assert redriven_until(brokers, letters) == {0: 5}
    assert len(list(read_dead_letters(brokers, letters))) == 5


def test_letters_can_be_chosen_by_their_place(
    brokers: Settings, letters: str, topic: TopicFactory
) -> None:
    source = topic(name="source")
    big = os.urandom(2 * MEGABYTE)
    DeadLetter(brokers, letters).write(inputs(source, b"zero", big, b"four"))
    assert [letter.place for letter in read_dead_letters(brokers, letters)] == [
        (0, 0),
        (0, 1),
        (0, 4),
    ]
    assert payloads(read_dead_letters(brokers, letters, only=[(0, 1)])) == [big]
    for _ in range(2):
        assert redrive(brokers, letters, {}, only=[(0, 4), (0, 0), (7, 7)]).sent[source] == 2
    assert values(brokers, source) == [b"zero", b"four"] * 2
    assert redriven_until(brokers, letters) == {}


def test_what_a_sink_refused_is_written_to_it_again(brokers: Settings, letters: str) -> None:
    target = limited_topic(brokers.bootstrap_servers, {"max.message.bytes": "1000"})
    sink = KafkaDestination(brokers)
    frame = pl.DataFrame(
        [(target, b"k", b"1"), (target, b"k", os.urandom(2000))], schema=MESSAGES, orient="row"
    )
    refused = sink.write(frame)
    assert refused is not None
    DeadLetter(brokers, letters).write(refused)

    done = redrive(brokers, letters, {"kafka": lambda: KafkaDestination(brokers)})
    assert (done.sent.total(), done.returned) == (0, 1)
    waiting = list(read_dead_letters(brokers, letters, pending=True))
    assert [letter.origin for letter in waiting] == ["kafka"]
    assert "too large" in waiting[0].reason

    allow(brokers.bootstrap_servers, target, "100000")
    assert (
        redrive(brokers, letters, {"kafka": lambda: KafkaDestination(brokers)}).sent["kafka"] == 1
    )
    assert values(brokers, target) == frame["value"].to_list()
    assert list(read_dead_letters(brokers, letters, pending=True)) == []


def allow(address: str, topic: str, size: str) -> None:
    entry = ConfigEntry("max.message.bytes", size, incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
    admin = AdminClient({"bootstrap.servers": address})
    admin.incremental_alter_configs([resource])[resource].result(30)


def test_a_letter_that_its_sink_does_not_understand_goes_back_and_stops_no_other(
    brokers: Settings, letters: str, topic: TopicFactory
) -> None:
    target = topic(name="target")
    good = b'{"topic":"%s","key":null,"value":"v"}' % target.encode()
    DeadLetter(brokers, letters).write(rejects("kafka", ["r"] * 2, [b"garbage", good]))
    done = redrive(brokers, letters, {"kafka": lambda: KafkaDestination(brokers)})
    assert (done.sent["kafka"], done.returned) == (1, 1)
    assert values(brokers, target) == [b"v"]
    (waiting,) = read_dead_letters(brokers, letters, pending=True)
    assert waiting.payload == b"garbage"
    assert "not a message that kafka refused" in waiting.reason


def test_a_sink_that_is_not_configured_is_named_and_can_be_skipped(
    brokers: Settings, letters: str, topic: TopicFactory
) -> None:
    source = topic(name="source")
    DeadLetter(brokers, letters).write(
        pl.concat([rejects("influxdb", ["r"], [b"row"]), inputs(source, b"a")])
    )
    with pytest.raises(UnknownOrigin, match='dead letter 0:0 is of the sink "influxdb", which is'):
        redrive(brokers, letters, {})
    assert values(brokers, source) == []
    done = redrive(brokers, letters, {}, skip=["influxdb"])
    assert (dict(done.sent), done.skipped) == ({source: 1}, 1)
    assert list(read_dead_letters(brokers, letters, pending=True)) == []


def test_when_a_sink_is_down_the_letters_before_are_done_and_the_others_wait(
    brokers: Settings, letters: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.redrive._BATCH_LETTERS", 2)

    class Tired(Destination):
        name = "tired"

        def __init__(self) -> None:
            self.written: list[int] = []

        def restore(self, payloads: Any) -> pl.DataFrame:
            return pl.DataFrame({"n": [int(payload) for payload in payloads]})

        def write(self, frame: pl.DataFrame) -> None:
            if len(self.written) >= 4:
                raise Unavailable("tired: asleep")
            self.written += frame["n"].to_list()

    DeadLetter(brokers, letters).write(rejects("tired", ["r"] * 7, [b"%d" % n for n in range(7)]))
    sink = Tired()
    with pytest.raises(Unavailable, match="tired: asleep"):
        redrive(brokers, letters, {"tired": lambda: sink})
    assert sink.written == [0, 1, 2, 3]
    awake = Tired()
    awake.written = []
    with pytest.raises(Unavailable):
        redrive(brokers, letters, {"tired": lambda: sink})
    assert redrive(brokers, letters, {"tired": lambda: awake}).sent["tired"] == 3
    assert awake.written == [4, 5, 6]


def test_a_topic_that_is_not_there_says_how_to_make_it(brokers: Settings) -> None:
    with pytest.raises(Unavailable, match=r"topic nowhere: .*; run `headrace setup` to create"):
        list(read_dead_letters(brokers, "nowhere"))
