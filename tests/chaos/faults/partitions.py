"""An input topic that grows."""

from __future__ import annotations

import random

from confluent_kafka import Consumer, TopicPartition

from operators.kafka.clients import committed
from tests.chaos.chapter import Chapter


def add(chapter: Chapter, _variant: None, _choice: random.Random) -> str:
    """Add a partition to the input topic, write to it at once, and wait until it is read.

    It is found within 10 s. What was written by then came late, which is what lateness is for.
    """
    flow = chapter.flow
    number = chapter.feed.add_partition()
    place = TopicPartition(flow.topic, number)
    group = Consumer({"bootstrap.servers": flow.kafka, "group.id": f"{flow.name}.metrics"})
    try:
        chapter.wait_for(
            f"offsets of partition {number}",
            lambda: committed(group, [place], 30)[0].offset > 0,
            within=60,
        )
    finally:
        group.close()
    return f"partition {number}"
