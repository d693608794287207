"""The Kafka source, read from a real broker as Bytewax reads it."""

import atexit
import logging
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    NewPartitions,
    ResourcePatternType,
    ResourceType,
)
from prometheus_client import REGISTRY

from operators.contracts.watermark import Mark
from operators.kafka import reader as module
from operators.kafka import starting_offsets
from operators.kafka.low_water import LowWater
from operators.kafka.source import ReaderState
from operators.kafka.starting_offsets import SourceError
from operators.kafka.tenant_header import TenantHeader
from operators.logs.decoding import EncodedLogs, LogDecoding
from operators.logs.joining.held_lines import HeldLines
from operators.logs.scrubbing.rules import ScrubbingRules
from tests.backends.kafka import KafkaServer
from tests.conftest import running
from tests.operators.kafka.reading import IDLE, Read, numbers, produce, stood_at


def test_one_poll_brings_many_messages_in_order_with_their_places(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 5000))
    read = reading(name).to_the_end()
    assert read.values() == numbers(0, 5000)
    filled = [item for item in read.items if item.values]
    assert len(filled) < 50
    assert [offset for item in filled for offset in item.offsets] == list(range(5000))
    assert {item.topic for item in filled} == {name}


def test_headers_tell_tenants_apart_in_the_topics_where_that_is_asked_for(kafka, topic, reading):
    name, other = topic(), topic()
    producer = Producer({"bootstrap.servers": kafka, "linger.ms": 20})
    key = "X-Scope-OrgID"
    for headers in (
        [(key, b"a")],
        None,
        [(key, b"a"), (key, b"b")],
        [(key, b"\xff")],
        [(key, b"a")],
    ):
        for each in (name, other):
            producer.produce(each, b"x", headers=headers)
    assert producer.flush(120) == 0
    refused = {"topic": name, "origin": "header"}
    read = reading(name, other, tenant_headers={name: TenantHeader("x-scope-orgid", "ours")})
    read.to_the_end()
    tenants = []
    for item in read.items:
        if item.topic == name:
            assert item.tenants is not None
            assert len(item.tenants) == len(item.values)
            tenants += [item.tenant_names[index] for index in item.tenants]
        else:
            assert (item.tenants, item.tenant_names) == (None, ())
    assert tenants == ["a", "ours", "b", "ours", "a"]
    assert REGISTRY.get_sample_value("headrace_tenants_refused_total", refused) == 1


def test_a_poll_has_no_more_messages_than_asked_for(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 50))
    read = reading(name, poll_messages=7).to_the_end()
    assert read.values() == numbers(0, 50)
    assert max(len(item.values) for item in read.items) <= 7


def test_what_comes_in_drops_is_read_each_poll_time_and_a_backlog_at_once(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 200))
    read = reading(name, until_end=False, poll_messages=10, poll_time="30s")
    came, waits = [], []
    while len(read.values()) < 201:
        before = len(read.values())
        read.until(lambda known=before: len(read.values()) > known)
        came.append(len(read.values()) - before)
        waits.append(read.reader.wake_at() is not None)
        if len(read.values()) == 200:
            produce(kafka, name, *numbers(200, 201))
    assert waits == [few < 5 for few in came]
    assert max(came) == 10
    assert came[-1] == 1
    assert read.reader.wake_at() - datetime.now(UTC) > timedelta(seconds=15)


def test_until_end_stops_at_the_ends_that_were_found_at_the_start(kafka, topic, reading):
    name = topic(2)
    produce(kafka, name, *numbers(0, 100), partition=0)
    produce(kafka, name, *numbers(100, 150), partition=1)
    read = reading(name, poll_messages=10)
    read.poll()
    produce(kafka, name, "later", partition=0)
    produce(kafka, name, "later", partition=1)
    read.to_the_end()
    assert sorted(map(int, read.values())) == list(range(150))
    assert read.marks == {f"{name}/0": Mark.ENDED, f"{name}/1": Mark.ENDED}
    assert read.state()["offsets"] == {name: {0: 100, 1: 50}}


def test_an_empty_topic_ends_at_once(kafka, topic, reading):
    name = topic(2)
    read = reading(name).to_the_end()
    assert read.values() == []
    assert set(read.marks.values()) == {Mark.ENDED}


def test_the_first_item_names_all_partitions_that_the_reader_owns(kafka, topic, reading):
    name = topic(3)
    produce(kafka, name, "a", partition=1)
    read = reading(name, until_end=False)
    read.poll()
    assert read.items[0].marks.keys() == {f"{name}/{number}" for number in range(3)}


def test_no_partition_is_said_to_have_ended_before_all_it_brought_was_given(kafka, topic, reading):
    """A poll of several topics is several items: the mark is in the last at the earliest."""
    names = [topic() for _ in range(3)]
    for name in names:
        produce(kafka, name, *numbers(0, 20))
    read = reading(*names)
    time.sleep(1.0)  # so that one poll has it all
    read.to_the_end()
    ended: set[str] = set()
    for item in read.items:
        assert not (item.values and f"{item.topic}/0" in ended)
        ended |= {name for name, mark in item.marks.items() if mark is Mark.ENDED}
    assert ended == {f"{name}/0" for name in names}


def test_every_partition_belongs_to_one_reader(kafka, topic, reading):
    name = topic(5)
    for partition in range(5):
        produce(kafka, name, str(partition), partition=partition)
    readers = [reading(name, readers=3, reader=index).to_the_end() for index in range(3)]
    assert Counter(value for read in readers for value in read.values()) == Counter(numbers(0, 5))
    assert readers[0].source.readers() == ["reader-0", "reader-1", "reader-2"]


def test_a_reader_goes_on_where_its_snapshot_stood(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    first = reading(name, poll_messages=30)
    first.until(lambda: len(first.values()) >= 30)
    state, seen = first.state(), len(first.values())
    # Recovery wins over what `since` says.
    second = reading(name, state=state, since="latest").to_the_end()
    assert second.values() == numbers(seen, 100)


def test_a_snapshot_keeps_what_it_knows_of_topics_that_are_not_there_now(kafka, topic, reading):
    name = topic()
    state: ReaderState = {"version": 1, "offsets": {"gone": {0: 7}, name: {0: 0}}}
    assert reading(name, state=state).to_the_end().state()["offsets"] == {
        "gone": {0: 7},
        name: {0: 0},
    }


@pytest.mark.parametrize(("since", "first"), [("earliest", 0), ("committed", 4), ("latest", 10)])
def test_since_says_where_a_partition_begins(kafka, topic, reading, since, first):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    group = Consumer({"bootstrap.servers": kafka, "group.id": f"test-{name}.metrics"})
    group.commit(offsets=[TopicPartition(name, 0, 4)], asynchronous=False)
    group.close()
    assert reading(name, since=since).to_the_end().values() == numbers(first, 10)


def test_what_is_not_committed_is_read_from_its_beginning(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    assert reading(name, since="committed").to_the_end().values() == numbers(0, 10)


def test_offsets_are_committed_one_snapshot_later(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    read = reading(name, until_end=False)
    read.until(lambda: len(read.values()) == 10)
    admin = Consumer({"bootstrap.servers": kafka, "group.id": read.group})

    def committed() -> int:
        return admin.committed([TopicPartition(name, 0)], 10)[0].offset

    read.state()
    assert committed() < 0  # what it had may not be through the sinks yet
    read.state()
    read.until(lambda: committed() == 10)
    admin.close()


def test_a_finished_backfill_is_committed_when_the_process_ends(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 10))
    unfinished, finished = reading(name, poll_messages=1), reading(name)
    unfinished.until(unfinished.values)
    finished.to_the_end()
    admin = Consumer({"bootstrap.servers": kafka, "group.id": finished.group})
    place = [TopicPartition(name, 0)]
    atexit.unregister(unfinished.reader._commit_if_all_went_well)
    assert admin.committed(place, 10)[0].offset < 0
    finished.reader._commit_if_all_went_well()
    assert admin.committed(place, 10)[0].offset == 10
    admin.close()


def test_a_quiet_partition_is_idle_after_the_timeout_and_live_when_something_comes(
    kafka, topic, reading
):
    name = topic()
    produce(kafka, name, "a")
    read = reading(name, until_end=False)
    read.until(lambda: read.values() == ["a"])
    place = f"{name}/0"
    assert read.marks[place] is not Mark.IDLE
    deadline = time.monotonic() + 120
    while read.marks[place] is not Mark.IDLE and time.monotonic() < deadline:
        read.clock.advance(IDLE / 2 - 1)  # two of these are less than the timeout
        read.poll()
        time.sleep(0.2)
    assert read.marks[place] is Mark.IDLE
    produce(kafka, name, "b")
    read.until(lambda: read.values() == ["a", "b"])
    assert read.marks[place] is not Mark.IDLE


def test_a_partition_that_is_not_read_to_its_end_is_not_idle(kafka, topic, reading):
    """A flow that was held up finds a backlog: that is no silence."""
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    read = reading(name, until_end=False, poll_messages=10)
    read.until(lambda: len(read.values()) >= 20)
    read.clock.advance(10 * IDLE)
    read.poll()
    assert read.marks == {f"{name}/0": Mark.LIVE}


def test_a_partition_that_is_added_is_read_from_its_beginning(kafka, topic, reading):
    name = topic()
    produce(kafka, name, "old")
    read = reading(name, until_end=False, since="latest")
    read.poll()
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(name, 3)])[name].result(30)
    deadline = time.monotonic() + 120
    while len(admin.list_topics(name, timeout=5).topics[name].partitions) < 3:
        assert time.monotonic() < deadline
    produce(kafka, name, "new", partition=2)

    def looked() -> bool:
        read.clock.advance(module._METADATA_SECONDS + 1)
        return read.values() == ["new"]

    read.until(looked)
    assert read.marks.keys() == {f"{name}/{number}" for number in range(3)}
    assert read.state()["offsets"][name] == {0: 1, 1: 0, 2: 1}


def test_a_backfill_of_a_topic_that_does_not_exist_says_what_to_do(kafka, reading):
    read = reading("no-such-topic")
    with pytest.raises(SourceError) as caught:
        read.poll()
    assert str(caught.value).startswith("no-such-topic: ")
    assert "run `headrace setup`, or correct inputs" in str(caught.value)


def test_a_topic_that_does_not_exist_yet_is_waited_for(kafka, topic, reading):
    read = reading("not-yet-there", until_end=False)
    assert read.poll()
    assert [item.marks for item in read.items] == [{}]


def test_a_broker_that_cannot_be_reached_is_named(reading, monkeypatch):
    monkeypatch.setattr(starting_offsets, "_CONNECT_SECONDS", 0.5)
    read = reading("any", on="127.0.0.1:9")
    with pytest.raises(
        SourceError,
        match=r"Kafka at 127\.0\.0\.1:9 can't be reached .*check kafka\.bootstrap_servers",
    ):
        read.poll()


def test_a_broker_that_restarts_is_read_on_without_loss_or_repetition(kafka_server, topic, reading):
    address = kafka_server.bootstrap_servers
    name = topic(on=address)
    produce(address, name, *numbers(0, 100))
    read = reading(name, on=address, until_end=False)
    read.until(lambda: len(read.values()) == 100)
    kafka_server.stop()
    for _ in range(20):
        assert read.poll()
        time.sleep(0.02)
    kafka_server.start()
    produce(address, name, *numbers(100, 200))
    read.until(lambda: len(read.values()) >= 200, 60)
    assert read.values() == numbers(0, 200)


def test_a_partition_is_not_idle_because_its_broker_is_away(kafka_server, topic, reading):
    """What producers have for it meanwhile comes later; time must not have passed it by then."""
    address = kafka_server.bootstrap_servers
    name = topic(on=address)
    produce(address, name, "a")
    read = reading(name, on=address, until_end=False)
    read.until(lambda: read.marks == {f"{name}/0": Mark.CAUGHT_UP})
    kafka_server.stop()
    for _ in range(2):
        read.clock.advance(2 * IDLE)
        read.poll()
    kafka_server.start()
    read.clock.advance(IDLE / 2)
    read.poll()
    produce(address, name, "b")
    read.until(lambda: read.values() == ["a", "b"], 60)
    assert Mark.IDLE not in {mark for item in read.items for mark in item.marks.values()}


def test_a_partition_is_not_idle_because_the_client_has_forgotten_it(
    kafka, topic, reading, monkeypatch
):
    """librdkafka may call a partition unknown while no broker can be asked, once in ten times."""
    name = topic()
    produce(kafka, name, "a")
    read = reading(name, until_end=False)
    read.until(lambda: read.marks == {f"{name}/0": Mark.CAUGHT_UP})

    def forgotten(*_: object) -> int:
        raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))

    with monkeypatch.context() as patched:
        patched.setattr(starting_offsets.StartingOffsets, "end", forgotten)
        read.clock.advance(2 * IDLE)
        read.poll()
        assert read.marks == {f"{name}/0": Mark.CAUGHT_UP}
    read.clock.advance(IDLE - 1)
    read.poll()
    assert read.marks == {f"{name}/0": Mark.CAUGHT_UP}  # the idle timeout is measured anew
    read.clock.advance(2)
    read.poll()
    assert read.marks == {f"{name}/0": Mark.IDLE}


def test_while_a_broker_is_away_a_reader_says_so_now_and_then(kafka_server, topic, reading, caplog):
    """Reading partitions or not: nobody should be told twenty times a second."""
    address = kafka_server.bootstrap_servers
    name = topic(on=address)
    busy = reading(name, on=address, until_end=False)
    idle = reading(name, on=address, until_end=False, readers=2, reader=1)
    for _ in range(10):
        busy.poll()
        idle.poll()
        time.sleep(0.05)
    kafka_server.stop()
    caplog.clear()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        busy.poll()
        idle.poll()
        time.sleep(0.05)
    said = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert 0 < len(said) < 40
    kafka_server.start()


def test_a_group_that_may_not_commit_is_told_of(tmp_path, topic, caplog):
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
    }
    with running(KafkaServer(tmp_path / "kafka", properties=properties)) as server:
        address = server.bootstrap_servers
        name = topic(on=address)
        produce(address, name, "a")
        denied = AclBinding(
            ResourceType.GROUP, f"test-{name}.metrics", ResourcePatternType.LITERAL,
            "User:ANONYMOUS", "*", AclOperation.ALL, AclPermissionType.DENY,
        )  # fmt: skip
        admin = AdminClient({"bootstrap.servers": address})
        for created in admin.create_acls([denied]).values():
            created.result(30)
        read = Read(address, name, until_end=False)
        deadline = time.monotonic() + 120
        while "Group authorization failed" not in caplog.text:
            assert time.monotonic() < deadline
            read.poll()
            read.state()
            time.sleep(0.1)
        read.until(lambda: read.values() == ["a"])
        read.reader._fetcher.close()  # the other one would wait for its commit


# What open windows need is read again after a restart.


def test_after_a_restart_it_reads_again_from_the_low_water_mark_and_then_goes_on(
    kafka, topic, reading
):
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    state = stood_at({name: {0: 60}}, {name: {0: 20}})
    read = reading(name, state=state, low_water=LowWater(), poll_messages=7).to_the_end()
    assert read.values(replay=True) == numbers(20, 60)
    assert read.values(replay=False) == numbers(60, 100)
    assert read.values() == numbers(20, 100)
    assert read.state()["offsets"] == {name: {0: 100}}


def test_each_partition_is_read_again_from_a_mark_of_its_own(kafka, topic, reading):
    name, other = topic(3), topic()
    for partition in range(3):
        begin = 1000 * partition
        produce(kafka, name, *numbers(begin, begin + 50), partition=partition)
    produce(kafka, other, *numbers(5000, 5050))
    # One was read to its end, one needs nothing again, one was not there before.
    state = stood_at({name: {0: 50, 1: 30}, other: {0: 40}}, {name: {0: 10, 1: 30}, other: {0: 0}})
    read = reading(name, other, state=state, low_water=LowWater(), poll_messages=9).to_the_end()
    again = [*numbers(10, 50), *numbers(5000, 5040)]
    assert sorted(read.values(replay=True), key=int) == again
    onward = [*numbers(1030, 1050), *numbers(2000, 2050), *numbers(5040, 5050)]
    assert sorted(read.values(replay=False), key=int) == onward
    replays = [item for item in read.items if item.replay]
    assert read.items[: len(replays)] == replays
    assert not any(item.marks for item in replays)
    assert read.marks == dict.fromkeys(
        (f"{name}/0", f"{name}/1", f"{name}/2", f"{other}/0"), Mark.ENDED
    )


def test_what_is_written_while_it_reads_again_is_no_replay(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 40))
    state = stood_at({name: {0: 40}}, {name: {0: 0}})
    read = reading(name, state=state, low_water=LowWater(), until_end=False, poll_messages=10)
    read.until(lambda: len(read.values()) >= 10)
    produce(kafka, name, *numbers(40, 60))
    read.until(lambda: len(read.values()) >= 60)
    assert read.values(replay=True) == numbers(0, 40)
    assert read.values(replay=False) == numbers(40, 60)


def test_a_long_replay_does_not_begin_again_when_partitions_are_looked_for(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 40))
    state = stood_at({name: {0: 30}}, {name: {0: 0}})
    read = reading(name, state=state, low_water=LowWater(), until_end=False, poll_messages=5)

    def all_came() -> bool:
        read.clock.advance(module._METADATA_SECONDS + 1)
        return len(read.values()) >= 40

    read.until(all_came)
    assert read.values(replay=True) == numbers(0, 30)
    assert read.values(replay=False) == numbers(30, 40)


def test_a_snapshot_in_the_middle_of_a_replay_is_as_good_as_the_one_before(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 40))
    state = stood_at({name: {0: 30}}, {name: {0: 5}})
    first = reading(name, state=state, low_water=LowWater(), poll_messages=5)
    first.until(lambda: len(first.values()) >= 10)
    assert len(first.values()) < 25
    for part in state:
        assert first.state()[part] == state[part]
    second = reading(name, state=first.state(), low_water=LowWater()).to_the_end()
    assert second.values(replay=True) == numbers(5, 30)
    assert second.values(replay=False) == numbers(30, 40)


def test_of_what_the_broker_has_deleted_nothing_is_read_again(kafka, topic, reading):
    name, emptied = topic(), topic()
    produce(kafka, name, *numbers(0, 100))
    produce(kafka, emptied, *numbers(0, 100))
    admin = AdminClient({"bootstrap.servers": kafka})
    gone = [TopicPartition(name, 0, 40), TopicPartition(emptied, 0, 100)]
    for deleted in admin.delete_records(gone).values():
        deleted.result(30)
    state = stood_at({name: {0: 60}, emptied: {0: 60}}, {name: {0: 20}, emptied: {0: 20}})
    read = reading(name, emptied, state=state, low_water=LowWater()).to_the_end()
    assert read.values(replay=True) == numbers(40, 60)
    assert read.values(replay=False) == numbers(60, 100)


def test_without_low_water_marks_nothing_is_read_again(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 40))
    state = stood_at({name: {0: 30}}, {name: {0: 5}})
    assert reading(name, state=state).to_the_end().values() == numbers(30, 40)
    old: ReaderState = {"version": 1, "offsets": {name: {0: 30}}}
    again = reading(name, state=old, low_water=LowWater()).to_the_end()
    assert again.values() == numbers(30, 40)
    assert not any(item.replay for item in again.items)


def test_what_open_windows_need_is_read_again_after_a_restart(kafka, topic, reading):
    """Event times are the numbers themselves; up to 40 nothing matters any more."""
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    low_water = LowWater()
    read = reading(name, until_end=False, low_water=low_water, poll_messages=10)
    read.until(lambda: len(read.values()) == 100)
    for item in read.items:  # as the decoder does
        if item.values:
            low_water.note(f"{name}/0", int(item.offsets[-1]) + 1, int(item.values[-1]))
    assert read.state()["low_water"] == {name: {0: 0}}
    low_water.freeze(60, 40)
    assert read.state()["low_water"] == {name: {0: 0}}, "not all shards were told"
    produce(kafka, name, "100")
    read.until(lambda: len(read.values()) == 101)
    assert [item.passed for item in read.items if item.values][-1] == 60
    state = read.state()
    mark = state["low_water"][name][0]
    assert state["offsets"] == {name: {0: 101}}
    assert 40 - 10 < mark <= 40

    produce(kafka, name, "101")
    again = reading(name, until_end=False, state=state, low_water=LowWater())
    again.until(lambda: len(again.values()) == 102 - mark)
    assert again.values() == numbers(mark, 102)
    assert again.values(replay=True) == numbers(mark, 101)
    first = next(item for item in again.items if not item.replay)
    assert list(first.marks) == [f"{name}/0"]
    assert not any(item.marks for item in again.items if item.replay)


def test_a_partition_that_is_added_during_a_replay_is_read_after_it(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 300))
    state = stood_at({name: {0: 300}}, {name: {0: 0}})
    read = reading(name, until_end=False, state=state, low_water=LowWater(), poll_messages=20)
    read.until(lambda: len(read.values()) > 0)
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_partitions([NewPartitions(name, 2)])[name].result(30)
    produce(kafka, name, "new", partition=1)

    def a_minute_later() -> bool:
        read.clock.advance(60)
        return "new" in read.values()

    read.until(a_minute_later, 90)
    assert read.values(replay=True) == numbers(0, 300)
    assert read.values() == [*numbers(0, 300), "new"]
    assert {f"{name}/0", f"{name}/1"} <= set(read.marks)


def test_a_snapshot_during_a_replay_replays_the_same_again(kafka, topic, reading):
    name = topic()
    produce(kafka, name, *numbers(0, 300))
    state = stood_at({name: {0: 200}}, {name: {0: 50}})
    read = reading(name, until_end=False, state=state, low_water=LowWater(), poll_messages=20)
    read.until(lambda: len(read.values()) > 0)
    assert read.state()["offsets"] == state["offsets"]
    assert read.state()["low_water"] == state["low_water"]


def test_a_message_larger_than_a_client_takes_is_read_and_does_not_stop_the_rest(
    kafka, topic, reading
):
    """Else its partition, and what its broker sends along, would be asked for again and again."""
    name, other = topic(), topic()
    produce(kafka, name, "a", "b" * 900_000, "c")
    produce(kafka, other, "d")
    options = {
        "receive.message.max.bytes": 200_000,
        "fetch.max.bytes": 100_000,
        "fetch.message.max.bytes": 50_000,
        "message.max.bytes": 100_000,
    }
    read = reading(name, other, options=options).to_the_end()
    assert sorted(map(len, read.values())) == [1, 1, 1, 900_000]


def test_a_topic_that_is_missing_does_not_keep_the_others_waiting(kafka, topic, reading, caplog):
    name = topic()
    produce(kafka, name, "a")
    read = reading("not-there-yet", name, until_end=False)
    began = time.monotonic()
    read.until(lambda: read.values() == ["a"])
    assert time.monotonic() - began < 10
    assert "not-there-yet: " in caplog.text
    assert "waiting for it" in caplog.text


def test_what_waits_in_a_partition_is_read_again_from_where_it_began(kafka, topic, reading):
    """The reader keeps what its low-water mark has of a partition, as lines of logs that wait."""
    name = topic()
    produce(kafka, name, "INFO a", "ERROR b", "\tat c", "\tat d", "INFO e")
    rules = {"": ScrubbingRules()}
    encoded = {name: EncodedLogs("text", "t", multiline="auto")}

    def bodies(read, step):
        batches = [batch for item in read.items for batch in step(item)]
        return [body for batch in batches for body in batch.records["body"]]

    held = HeldLines()
    first = reading(name, low_water=held, poll_messages=3)
    first.until(lambda: len(first.values()) == 3)
    step = LogDecoding(encoded, rules, shards=1, timeout=10**10, held=held)
    assert bodies(first, step) == ["a"]
    state = first.state()
    assert state["low_water"] == {name: {0: 1}}
    assert "at c" not in str(state)

    held = HeldLines()
    second = reading(name, low_water=held, state=state).to_the_end()
    assert second.values(replay=True) == ["ERROR b", "\tat c"]
    step = LogDecoding(encoded, rules, shards=1, timeout=10**10, held=held)
    assert bodies(second, step) == ["b\n\tat c\n\tat d", "e"]
