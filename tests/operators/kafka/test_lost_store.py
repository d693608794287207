"""A reader whose recovery store was lost goes on by what the group has committed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from confluent_kafka import Consumer, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from operators.contracts.watermark import UNKNOWN
from operators.kafka.commits import Committed, committed_text, read_committed_text
from operators.kafka.low_water import LowWater
from operators.kafka.starting_offsets import SourceError
from tests.operators.kafka.reading import Read, numbers, produce

Reading = Callable[..., Read]


def test_without_a_store_it_reads_from_the_first_mark_and_says_what_is_known(
    kafka, topic, reading: Reading
):
    """Event times are the numbers; windows are 10 long, and a counter needs 20 before them."""
    name = topic()
    produce(kafka, name, *numbers(0, 100))
    low_water = LowWater(coarsest=10, history=20)
    first = reading(name, until_end=False, low_water=low_water, poll_messages=1)
    first.until(lambda: len(first.values()) == 100)
    for item in first.items:
        if item.values:
            low_water.note(f"{name}/0", int(item.offsets[-1]) + 1, int(item.values[-1]))
    low_water.freeze(97, 75)
    produce(kafka, name, "100")
    first.until(lambda: len(first.values()) == 101)
    first.state()
    first.state()  # commits what the one before had
    group = Consumer({"bootstrap.servers": kafka, "group.id": first.group})

    def committed() -> TopicPartition:
        return group.committed([TopicPartition(name, 0)], 10)[0]

    first.until(lambda: committed().offset == 101)
    said = read_committed_text(committed().offset, committed().metadata)
    group.close()
    # The window of 75 begins at 70, and 20 before that is 50. All polls within a second are one.
    assert (said.first, said.final) == (0, 75)
    assert said.topic

    produce(kafka, name, *numbers(101, 110))
    again = reading(name, since="committed", low_water=LowWater(10, 20)).to_the_end()
    assert again.known() == numbers(0, 101)
    assert again.values() == numbers(0, 110)
    assert not again.values(replay=True)
    assert {item.final for item in again.items} == {75}
    assert "1" not in [v.decode() for i in again.items if not i.known for v in i.values]


def test_what_is_committed_stands_until_it_has_caught_up(kafka, topic, reading: Reading):
    name = topic()
    produce(kafka, name, *numbers(0, 40))
    group = Consumer({"bootstrap.servers": kafka, "group.id": f"test-{name}.metrics"})
    text = committed_text(5, 1000, None)
    group.commit(offsets=[TopicPartition(name, 0, 30, text)], asynchronous=False)
    read = reading(name, until_end=False, since="committed", low_water=LowWater(), poll_messages=5)
    read.until(lambda: len(read.values()) >= 10)
    assert read.state()["known"] == {name: {0: 30}}
    read.state()
    read.poll()
    assert group.committed([TopicPartition(name, 0)], 10)[0].metadata == text
    # A crash now, with the new store: the same goes on.
    state = read.state()
    resumed = reading(name, state=state, low_water=LowWater()).to_the_end()
    reached = state["offsets"][name][0]
    assert resumed.values(replay=True) == numbers(5, reached)
    assert resumed.known() == numbers(reached, 30)
    assert resumed.values() == numbers(5, 40)
    assert {item.final for item in resumed.items if not item.replay} == {1000}
    group.close()


def test_a_store_of_another_number_of_readers_is_refused_in_one_line(kafka, topic, reading):
    name = topic()
    state = reading(name, readers=2).to_the_end().state()
    with pytest.raises(SourceError, match=r"^kafka\.readers: 3, but .* made with 2, .*recovery"):
        reading(name, readers=3, state=state)


@given(st.integers(0, 2**62), st.integers(0, 2**40), st.text(max_size=30))
def test_what_is_committed_is_read_back(offset, behind, topic):
    first = max(0, offset - behind)
    text = committed_text(first, UNKNOWN, topic or None)
    assert read_committed_text(offset, text) == Committed(offset, first, UNKNOWN, topic or None)


@pytest.mark.parametrize(
    "text", [None, "", "{", "[]", "7", '{"headrace": 2}', '{"headrace": 1, "first": 9, "final": 0}']
)
def test_a_text_that_is_not_ours_says_nothing(text):
    assert read_committed_text(7, text) == Committed(7, 7)
