"""Messages in columns, from a real broker: what was written is what comes, however it is cut."""

import gc
import logging
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import psutil
import pytest
from confluent_kafka import KafkaError, KafkaException, Producer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from flows.settings import Kafka
from operators.columns.messages import PADDING, Messages
from operators.columns.scanning import joined
from operators.kafka.clients import fetcher
from operators.kafka.fetching import Fetched, Fetcher, last_offsets

MOST, MOST_BYTES = 1000, 1 << 20


@pytest.fixture
def fetching(kafka: str) -> Iterator[Callable[..., Fetcher]]:
    made: list[Fetcher] = []

    def make(on: str = kafka, **options: object) -> Fetcher:
        errors: list[KafkaError] = []
        made.append(fetcher(Kafka(bootstrap_servers=on, options=options), errors.append))
        made[-1].errors = errors
        return made[-1]

    yield make
    for each in made:
        each.close()


def write(bootstrap: str, topic: str, *values: bytes | None, partition: int = 0, **more: object):
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": 16 << 20})
    for value in values:
        producer.produce(topic, value, partition=partition, **more)
    assert producer.flush(120) == 0


def read(
    client: Fetcher, topic: str, ends: int = 1, *, most: int = MOST, most_bytes: int = MOST_BYTES,
    header: str | None = None,
) -> list[Fetched]:  # fmt: skip
    """Poll until so many ends of partitions were told; return the polls that brought anything."""
    found, reached = [], set()
    deadline = time.monotonic() + 120
    while len(reached) < ends:
        assert time.monotonic() < deadline, f"only {found} came"
        client.serve()
        fetched = client.poll(topic, most, most_bytes, header)
        assert not fetched.errors
        reached |= set(fetched.ends)
        if fetched.values:
            found.append(fetched)
        else:
            time.sleep(0.005)
    return found


def values_of(polls: list[Fetched]) -> list[bytes]:
    return [value for fetched in polls for value in fetched.values]


def offsets_of(polls: list[Fetched]) -> list[int]:
    return [offset for fetched in polls for offset in fetched.offsets.tolist()]


@pytest.mark.parametrize("most_bytes", [1, 50, 1000, MOST_BYTES])
@pytest.mark.parametrize("most", [1, 7, MOST])
def test_what_was_written_comes_in_order_however_small_a_poll_may_be(
    kafka, topic, fetching, most, most_bytes
):
    name = topic()
    random = np.random.default_rng(most)
    sent = [random.bytes(size) for size in random.integers(0, 200, 400)]
    write(kafka, name, *sent)
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name, most=most, most_bytes=most_bytes)
    assert values_of(polls) == sent
    assert offsets_of(polls) == list(range(400))
    for fetched in polls:
        size = len(fetched.values.buffer) - PADDING
        assert len(fetched.values) <= most
        assert size <= most_bytes or len([value for value in fetched.values if value]) == 1
        assert not fetched.values.buffer[size:].any()


def test_messages_have_the_timestamps_that_kafka_has_of_them(kafka, topic, fetching):
    name = topic()
    written = [1_700_000_000_123, 1_600_000_000_456, 1]
    for milliseconds in written:
        write(kafka, name, b"x", timestamp=milliseconds)
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name)
    times = [at for fetched in polls for at in fetched.times.tolist()]
    assert times == [milliseconds * 1_000_000 for milliseconds in written]


def test_a_message_without_a_value_is_empty(kafka, topic, fetching):
    name = topic()
    write(kafka, name, b"a", None, b"", b"b")
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    assert values_of(read(client, name)) == [b"a", b"", b"", b"b"]


def test_a_message_larger_than_a_poll_and_a_fetch_comes_alone(kafka, topic, fetching):
    name = topic()
    large = b"x" * 900_000
    write(kafka, name, b"before", large, b"after")
    client = fetching(**{"fetch.message.max.bytes": 10_000})
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name, most_bytes=1000)
    assert values_of(polls) == [b"before", large, b"after"]
    assert [len(fetched.values) for fetched in polls] == [1, 1, 1]


def test_partitions_begin_where_they_are_told_and_say_where_they_end(kafka, topic, fetching):
    name = topic(3)
    for partition in range(3):
        values = [f"{partition}-{n}".encode() for n in range(100)]
        write(kafka, name, *values, partition=partition)
    client = fetching()
    client.start([TopicPartition(name, 0, 90), TopicPartition(name, 2, 95)])
    polls = read(client, name, ends=2)
    assert sorted(values_of(polls)) == [b"0-%d" % n for n in range(90, 100)] + [
        b"2-%d" % n for n in range(95, 100)
    ]
    last = {
        number: o
        for fetched in polls
        for number, o in last_offsets(fetched.partitions, fetched.offsets).items()
    }
    assert last == {0: 99, 2: 99}
    assert client.high_watermark(name, 0) == 100
    assert client.high_watermark(name, 1) < 0


def test_after_a_stop_it_may_begin_anew_elsewhere(kafka, topic, fetching):
    name = topic()
    write(kafka, name, *(b"%d" % n for n in range(500)))
    client = fetching()
    for begin in (100, 400, 0):
        client.start([TopicPartition(name, 0, begin)])
        # The first two are stopped in the middle, with messages that nobody took.
        deadline = time.monotonic() + 120
        while not (some := client.poll(name, 10, 25)).values:
            assert time.monotonic() < deadline
        assert some.offsets[0] == begin
        client.stop_all()
        assert not client.poll(name, MOST, MOST_BYTES).values
    client.start([TopicPartition(name, 0, 450)])
    assert offsets_of(read(client, name)) == list(range(450, 500))


def test_an_offset_that_the_broker_does_not_have_is_told_and_not_passed_over(
    kafka, topic, fetching
):
    name = topic()
    write(kafka, name, b"a", b"b")
    client = fetching()
    client.start([TopicPartition(name, 0, 7)])  # past the end, as what retention removed is before
    missing, deadline = [], time.monotonic() + 120
    while not missing:
        assert time.monotonic() < deadline
        client.serve()
        fetched = client.poll(name, MOST, MOST_BYTES)
        assert not fetched.values
        missing += fetched.missing
    assert missing == [0]
    client.start([TopicPartition(name, 0, 0)])  # who reads says where to go on
    assert values_of(read(client, name)) == [b"a", b"b"]


@pytest.mark.parametrize("wanted", ["X-Scope-OrgID", "x-scope-orgid"])
def test_of_a_header_the_last_counts_whatever_its_case(kafka, topic, fetching, wanted):
    name = topic()
    key = "X-Scope-OrgID"
    cases = [
        ([(key, b"a")], b"a"),
        (None, None),
        ([("other", b"x")], None),
        ([(key, b"a"), ("X-SCOPE-ORGID", b"b"), ("x", b"c")], b"b"),
        ([(key, None)], b""),
        ([(key, b"")], b""),
        ([(key + "s", b"x"), (key[:-1], b"x")], None),
        ([(key, b"y" * 5000)], b"y" * 1024),
    ]
    for headers, _ in cases:
        write(kafka, name, b"v", headers=headers)
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name, header=wanted, most=3)
    found = [value for fetched in polls for value in fetched.header.to_pylist()]
    assert found == [value for _, value in cases]
    assert polls[0].only(np.array([True, False, True])).header.to_pylist() == [b"a", None]


def test_a_poll_ends_where_there_is_no_room_for_more_headers(kafka, topic, fetching, monkeypatch):
    monkeypatch.setattr("operators.kafka.fetching._HEADER_ROOM", 3000)
    name = topic()
    for number in range(40):
        write(kafka, name, b"%d" % number, headers=[("h", b"%0900d" % number)])
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name, header="h")
    assert values_of(polls) == [b"%d" % number for number in range(40)]
    assert [int(v) for f in polls for v in f.header.to_pylist()] == list(range(40))
    assert len(polls) > 10


def test_a_topic_that_is_not_read_gives_nothing(fetching):
    assert not fetching().poll("any", MOST, MOST_BYTES).values


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"no.such.option": "1"}, '"no.such.option"'),
        ({"socket.timeout.ms": "soon"}, "socket.timeout.ms"),
    ],
)
def test_an_option_that_librdkafka_does_not_take_is_named(fetching, options, named):
    with pytest.raises(KafkaException) as caught:
        fetching(**options).start([TopicPartition("any", 0, 0)])
    assert named in caught.value.args[0].str()


def test_options_may_be_numbers_and_truths_and_those_of_a_group_are_not_for_it(
    kafka, topic, fetching
):
    name = topic()
    write(kafka, name, b"a")
    client = fetching(
        **{"socket.keepalive.enable": True, "fetch.min.bytes": 1, "group.instance.id": "x"}
    )
    client.start([TopicPartition(name, 0, 0)])
    assert values_of(read(client, name)) == [b"a"]


def test_it_has_no_thread_before_it_reads_and_is_of_no_harm_once_closed(kafka, topic, fetching):
    name = topic()
    write(kafka, name, b"a")
    before = psutil.Process().num_threads()
    client = fetching()
    client.serve()
    assert client.high_watermark(name, 0) < 0
    assert psutil.Process().num_threads() <= before
    client.start([TopicPartition(name, 0, 0)])
    assert values_of(read(client, name)) == [b"a"]
    client.close()
    client.serve()
    client.stop(name, 0)
    client.stop_all()
    assert not client.poll(name, MOST, MOST_BYTES).values
    assert client.high_watermark(name, 0) < 0
    client.start([TopicPartition(name, 0, 0)])  # as if it were new
    assert values_of(read(client, name)) == [b"a"]


def test_it_tells_what_is_wrong_with_brokers_and_logs_what_librdkafka_says(fetching, caplog):
    caplog.set_level(logging.INFO)
    client = fetching("127.0.0.1:9")
    client.start([TopicPartition("any", 0, 0)])
    deadline = time.monotonic() + 120
    codes: set[int] = set()
    while KafkaError._ALL_BROKERS_DOWN not in codes:
        assert time.monotonic() < deadline, codes
        client.serve()
        codes = {error.code() for error in client.errors}
        time.sleep(0.01)
    assert KafkaError._TRANSPORT in codes
    assert not any(error.fatal() for error in client.errors)
    assert any("127.0.0.1:9" in error.str() for error in client.errors)
    client.poll("any", MOST, MOST_BYTES)


def test_it_leaves_no_thread_behind_whether_closed_or_forgotten(kafka, topic, fetching):
    name = topic()
    write(kafka, name, *[b"x"] * 300)
    before = psutil.Process().num_threads()
    for number in range(4):
        client = fetcher(Kafka(bootstrap_servers=kafka), lambda _: None)
        client.start([TopicPartition(name, 0, 0)])
        deadline = time.monotonic() + 120
        while not client.poll(name, 10, 5).values:
            assert time.monotonic() < deadline
        if number % 2:
            client.close()
            client.close()
        del client
        gc.collect()
    assert psutil.Process().num_threads() <= before + 1


def test_it_reads_without_the_gil(kafka, topic, fetching):
    """While one thread polls, another one may run Python: neither waits for ever."""
    name = topic()
    write(kafka, name, *(b"%d" % n for n in range(20_000)))
    counted = [0]
    done = threading.Event()

    def count() -> None:
        while not done.is_set():
            counted[0] += 1

    thread = threading.Thread(target=count)
    thread.start()
    client = fetching()
    client.start([TopicPartition(name, 0, 0)])
    polls = read(client, name)
    done.set()
    thread.join()
    assert offsets_of(polls) == list(range(20_000))
    assert counted[0] > 0


lists = st.lists(st.binary(max_size=30), max_size=20)


@given(lists, st.sampled_from([b"", b"\n", b"ab"]))
def test_a_column_is_the_list_that_it_was_made_of(values, separator):
    column = Messages.of(values)
    assert list(column) == values
    assert [column[number] for number in range(-len(values), len(values))] == values * 2
    assert column[1:-1] == values[1:-1]
    assert len(column) == len(values)
    assert bool(column) == bool(values)
    with pytest.raises(IndexError):
        column[len(values)]
    for given_as in (values, column):
        buffer, bounds = joined(given_as, separator)
        assert buffer.tobytes() == b"".join(v + separator for v in values) + bytes(PADDING)
        assert np.diff(bounds).tolist() == [len(value) + len(separator) for value in values]
        assert not buffer.flags.writeable


@given(st.lists(st.tuples(st.integers(0, 9), st.binary(max_size=5)), max_size=20), st.data())
def test_only_keeps_what_a_mask_says(messages, data):
    numbers = np.array([number for number, _ in messages], np.int32)
    offsets = np.arange(len(messages)) * 3
    kept = data.draw(st.lists(st.booleans(), min_size=len(messages), max_size=len(messages)))
    whole = Fetched(Messages.of([value for _, value in messages]), numbers, offsets, offsets + 7)
    part = whole.only(np.array(kept, np.bool_))
    chosen = [number for number, keep in enumerate(kept) if keep]
    assert list(part.values) == [messages[number][1] for number in chosen]
    assert part.offsets.tolist() == [3 * number for number in chosen]
    assert part.times.tolist() == [3 * number + 7 for number in chosen]
    assert last_offsets(numbers, offsets) == {n: 3 * k for k, (n, _) in enumerate(messages)}
