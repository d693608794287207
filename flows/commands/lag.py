"""How much of its input each flow has not committed yet."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from flows.commands.broker import Broker

__all__ = ["lag_by_topic"]


def lag_by_topic(broker: Broker, group: str, topics: Collection[str]) -> dict[str, int]:
    """Return for each topic the messages between what a group has committed, and the end.

    A partition that the group never committed counts from its first message. What was polled a
    moment ago counts too, until the flow's next snapshot but one.

    Args:
        broker: to ask.
        group: consumer group of the flow.
        topics: that the flow reads; one that does not exist is left out.

    Raises:
        CommandFailed: the brokers do not answer.
    """
    described = broker.describe(topics)
    partitions = [
        (topic, partition.id)
        for topic, description in described.items()
        if description is not None
        for partition in description.partitions
    ]
    ends = broker.ends(partitions)
    committed = broker.committed(group, partitions)
    begins = broker.begins(partitions)
    return _sums(partitions, ends, {key: committed.get(key, 0) for key in partitions}, begins)


def _sums(
    partitions: Collection[tuple[str, int]],
    ends: Mapping[tuple[str, int], int],
    committed: Mapping[tuple[str, int], int],
    begins: Mapping[tuple[str, int], int],
) -> dict[str, int]:
    lag: dict[str, int] = {}
    for key in partitions:
        # What retention has removed can't be read any more.
        reached = max(committed[key], begins[key])
        lag[key[0]] = lag.get(key[0], 0) + max(0, ends[key] - reached)
    return lag
