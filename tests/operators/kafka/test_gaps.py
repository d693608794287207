"""What is gone before it was read is told, and what there is, is read."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client import REGISTRY

from operators.contracts.alert import decode_event
from operators.contracts.watermark import Mark
from operators.kafka import reader as module
from operators.kafka.gaps import EMPTIED, MADE_ANEW, REMOVED, lost_events
from operators.kafka.low_water import LowWater
from tests.backends.topics import make_topics
from tests.operators.kafka.reading import IDLE, Read, numbers, produce, stood_at

Reading = Callable[..., Read]


def remove(kafka: str, name: str, before: int, partition: int = 0) -> None:
    """Do what retention does."""
    admin = AdminClient({"bootstrap.servers": kafka})
    for deleted in admin.delete_records([TopicPartition(name, partition, before)]).values():
        deleted.result(30)


def make_anew(kafka: str, name: str, partitions: int = 1) -> None:
    """Delete a topic, and make another of the same name."""
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([name])[name].result(30)
    deadline = time.monotonic() + 120
    while True:
        try:
            return make_topics(kafka, [name], partitions)
        except KafkaException as failure:
            # The old one may not be gone yet.
            exists = failure.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS
            if not exists or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def commit(kafka: str, name: str, offset: int) -> None:
    group = Consumer({"bootstrap.servers": kafka, "group.id": f"test-{name}.metrics"})
    group.commit(offsets=[TopicPartition(name, 0, offset)], asynchronous=False)
    group.close()


def idle(read: Read, name: str) -> bool:
    read.clock.advance(IDLE / 4)
    time.sleep(0.05)
    return read.marks.get(name) is Mark.IDLE


@pytest.mark.parametrize("outcome", ["commit", "abort"])
def test_a_partition_that_ends_with_the_mark_of_a_transaction_becomes_idle(
    kafka, topic, reading: Reading, outcome
):
    name = topic()
    produce(kafka, name, "a")
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"{name}-{outcome}"})
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(name, b"b")
    producer.flush(120)
    getattr(producer, f"{outcome}_transaction")(30)
    read = reading(name, until_end=False)
    read.until(lambda: idle(read, f"{name}/0"))
    assert read.values() == ["a", "b"] if outcome == "commit" else ["a"]
    assert read.state()["offsets"] == {name: {0: 3}}, "lag tools would show a message for ever"


def test_a_partition_whose_records_were_all_removed_becomes_idle(kafka, topic, reading: Reading):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    remove(kafka, name, 10)
    read = reading(name, until_end=False, state=stood_at({name: {0: 4}}, {}))
    read.until(lambda: idle(read, f"{name}/0"))
    assert [(lost.reason, lost.messages) for lost in read.lost()] == [(REMOVED, 6)]


def test_a_topic_that_was_deleted_holds_nothing_back(kafka, topic, reading: Reading):
    name, other = topic(), topic()
    produce(kafka, name, "a")
    read = reading(name, other, until_end=False)
    read.until(lambda: read.values() == ["a"])
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.delete_topics([name])[name].result(30)
    read.until(lambda: idle(read, f"{name}/0") and idle(read, f"{other}/0"), 60)


@pytest.mark.parametrize("how", ["snapshot", "commit"])
def test_messages_that_were_removed_before_they_were_read_are_counted_and_told(
    kafka, topic, reading: Reading, caplog, how
):
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    remove(kafka, name, 40)
    state = None
    if how == "snapshot":
        state = stood_at({name: {0: 15}}, {})
    else:
        commit(kafka, name, 15)
    read = reading(name, state=state, since="committed").to_the_end()
    assert read.values() == numbers(40, 100)
    (lost,) = read.lost()
    assert (lost.reason, lost.position, lost.next, lost.messages) == (REMOVED, 15, 40, 25)
    assert "25 messages were removed before they were read; going on at offset 40" in caplog.text
    counted = {"topic": name, "reason": REMOVED}
    assert REGISTRY.get_sample_value("headrace_input_lost_messages_total", counted) == 25


def test_a_gap_raises_an_alert_that_is_over_by_itself(kafka, topic, reading: Reading):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    remove(kafka, name, 7)
    read = reading(name, state=stood_at({name: {0: 2}}, {})).to_the_end()
    frames = [events.frame for item in read.items if (events := lost_events(item)) is not None]
    (event,) = [decode_event(text) for frame in frames for text in frame["event"]]
    assert event["labels"]["alertname"] == "InputLost"
    assert (event["labels"]["topic"], event["labels"]["partition"]) == (name, "0")
    assert (event["kind"], event["status"], event["value"]) == ("input", "firing", 5.0)
    assert event["endsAt"] is not None
    assert event["endsAt"] > event["startsAt"]


def test_what_open_windows_need_and_is_removed_is_told(kafka, topic, reading: Reading):
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    remove(kafka, name, 40)
    state = stood_at({name: {0: 60}}, {name: {0: 20}})
    read = reading(name, state=state, low_water=LowWater()).to_the_end()
    assert read.values(replay=True) == numbers(40, 60)
    assert read.values(replay=False) == numbers(60, 100)
    assert [(lost.reason, lost.messages) for lost in read.lost()] == [(EMPTIED, 20)]


@pytest.mark.parametrize("messages", [5, 50])
def test_a_topic_made_anew_while_the_flow_was_away_is_read_from_its_beginning(
    kafka, topic, reading: Reading, messages
):
    """Also one that has more messages than the old one had, which only its id tells."""
    name = topic()
    produce(kafka, name, *numbers(0, 20))
    before = reading(name, low_water=LowWater()).to_the_end()
    state = before.state()
    make_anew(kafka, name)
    produce(kafka, name, *numbers(100, 100 + messages))
    after = reading(name, state=state, low_water=LowWater()).to_the_end()
    assert after.values() == numbers(100, 100 + messages)
    assert [lost.reason for lost in after.lost()] == [MADE_ANEW]
    assert not after.values(replay=True)


def test_an_end_before_the_committed_offset_does_not_make_a_backfill_read_nothing(
    kafka, topic, reading: Reading
):
    name = topic()
    produce(kafka, name, *numbers(0, 5))
    commit(kafka, name, 20)
    read = reading(name, since="committed").to_the_end()
    assert read.values() == numbers(0, 5)
    assert [lost.reason for lost in read.lost()] == [MADE_ANEW]


def test_a_topic_made_anew_while_it_is_read_is_read_from_its_beginning(
    kafka, topic, reading: Reading
):
    name = topic(2)
    produce(kafka, name, *numbers(0, 20))
    read = reading(name, until_end=False, low_water=LowWater())
    read.until(lambda: len(read.values()) == 20)
    make_anew(kafka, name)
    produce(kafka, name, *numbers(100, 130))

    def came() -> bool:
        read.clock.advance(module._METADATA_SECONDS)
        return set(numbers(100, 130)) <= set(read.values())

    read.until(came, 60)
    assert MADE_ANEW in {lost.reason for lost in read.lost()}
    state = read.state()
    assert state["offsets"][name][0] == 30
    assert state["low_water"][name][0] == 0, "the open window is not lost if it is killed now"
    assert read.marks[f"{name}/1"] is Mark.ENDED


def test_retention_that_is_faster_than_the_flow_is_told_while_it_runs(
    kafka, topic, reading: Reading
):
    name = topic()
    produce(kafka, name, *[text * 10_000 for text in numbers(0, 400)])
    options = {"queued.max.messages.kbytes": 64, "fetch.message.max.bytes": 10_000}
    read = reading(name, until_end=False, poll_messages=10, options=options)
    read.until(lambda: len(read.values()) >= 10)
    remove(kafka, name, 399)
    read.until(lambda: "399" * 10_000 in read.values())
    lost = read.lost()
    assert {each.reason for each in lost} == {REMOVED}
    assert len(read.values()) + sum(each.messages for each in lost) == 400
