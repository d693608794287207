"""What is committed beside an offset: enough to begin anew, should the recovery store be lost.

A consumer group keeps a text with each offset. Headrace's is JSON::

    {"headrace": 1, "first": 1200, "final": 1700000000000000000, "topic": "W5kmiHsfTZe8ybXp61LhhQ"}

``first`` is the offset from which a start without a recovery store has to read (see
``operators.kafka.low_water``), ``final`` the event time in nanoseconds up to which all windows have
come out and can't change any more, ``topic`` the id of the topic that the offsets are of.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import orjson

from operators.contracts.watermark import UNKNOWN

__all__ = ["Committed", "committed_text", "read_committed_text"]

_VERSION: Final = 1


class Committed(NamedTuple):
    """What a group has committed of a partition.

    Attributes:
        offset: the next to read.
        first: where a start without a recovery store reads from; ``offset`` if that is not known.
        final: windows that end by this event time have come out and can't change.
        topic: id of the topic; None if it is not known.
    """

    offset: int
    first: int
    final: int = UNKNOWN
    topic: str | None = None


def committed_text(first: int, final: int, topic: str | None) -> str:
    """Return the text to commit with an offset."""
    return orjson.dumps(
        {"headrace": _VERSION, "first": first, "final": final, "topic": topic}
    ).decode()


def read_committed_text(offset: int, text: str | None) -> Committed:
    """Return what was committed; of a text that is not ours only the offset counts.

    >>> read_committed_text(7, "somebody else's")
    Committed(offset=7, first=7, final=-4611686018427387904, topic=None)
    """
    nothing = Committed(offset, offset)
    try:
        found: Any = orjson.loads(text or "")
    except orjson.JSONDecodeError:
        return nothing
    if not isinstance(found, dict) or found.get("headrace") != _VERSION:
        return nothing
    first, final, topic = found.get("first"), found.get("final"), found.get("topic")
    if type(first) is not int or type(final) is not int or not 0 <= first <= offset:
        return nothing
    return Committed(offset, first, final, topic if isinstance(topic, str) else None)
