"""Making topics that can be used at once."""

import time
from collections.abc import Iterable, Mapping

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

__all__ = ["make_topics"]


def make_topics(
    bootstrap_servers: str,
    names: Iterable[str],
    partitions: int = 1,
    *,
    config: Mapping[str, str] | None = None,
    within: float = 60,
) -> None:
    """Make topics, and wait until each partition's leader answers.

    The controller says that a topic is made before its leader knows of it. Who produces at that
    moment is told "not the leader" and tries again; then messages of a producer that is not
    idempotent may change places, and a flow calls itself blocked.

    Raises:
        KafkaException: the broker refused, or a leader did not answer for so many seconds.
    """
    names = list(names)
    admin = AdminClient({"bootstrap.servers": bootstrap_servers})
    new = [NewTopic(name, partitions, config=dict(config or {})) for name in names]
    for future in admin.create_topics(new).values():
        future.result(within)
    asked = {
        TopicPartition(name, p): OffsetSpec.latest() for name in names for p in range(partitions)
    }
    deadline = time.monotonic() + within
    while asked:
        for partition, future in admin.list_offsets(dict(asked)).items():
            try:
                future.result(within)
            except KafkaException:  # not the leader, no leaders found, a leader epoch, …
                if time.monotonic() > deadline:
                    raise
            else:
                asked.pop(partition)
        if asked:
            time.sleep(0.05)
