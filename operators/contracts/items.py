"""What travels between the steps of a flow: every kind of item is declared here.

So a step imports a contract for what it takes and gives, never another step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.frames import REJECTS
from operators.contracts.watermark import UNKNOWN, Mark

__all__ = [
    "NO_SAMPLES",
    "Admitted",
    "CallsSeen",
    "Candidates",
    "Closed",
    "Events",
    "ExceptionCommand",
    "Explanations",
    "Grouped",
    "Kept",
    "KeptExamples",
    "Late",
    "LogBatch",
    "Lost",
    "Named",
    "Observed",
    "Passed",
    "Polled",
    "Recorded",
    "Refused",
    "Rejected",
    "SampleBatch",
    "Samples",
    "Scored",
    "ShadowEvents",
    "ShardBatch",
    "SpanBatch",
    "SpanLines",
    "Tapped",
    "Timed",
    "VectorParts",
]


class Lost(NamedTuple):
    """Input that is gone before it was read, or before it was read again.

    Attributes:
        topic, partition: where.
        reason: see ``operators.kafka.gaps``.
        position: the offset that was to be read.
        next: the offset that is read instead.
        messages: how many are lost; 0 where nobody can say.
        at: when it was found, in nanoseconds since the Unix epoch.
    """

    topic: str
    partition: int
    reason: str
    position: int
    next: int
    messages: int
    at: int


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll of one topic gave.

    ``values``, ``partitions`` and ``offsets`` have one element a message. ``marks`` tells of
    partitions, named ``topic/partition``, whose state changed; the first item of each reader
    that is no ``replay`` names all that it owns. A replay is of what was read before a restart,
    and is read again because windows that are still open need it. Where a header says whose a
    message is, ``tenants`` has for each the index of its tenant in ``tenant_names``; elsewhere it
    is None. ``passed`` is the watermark by which the reader frees what it would read again. ``times``
    are the timestamps that Kafka has of the messages, in nanoseconds, 0 where it has none.

    Where a recovery store was lost, messages before the committed offset are read once more:
    ``known`` says that all of an item were, so nothing is said again of what could not be used.
    Windows that end by ``final`` came out whole before, and must not come out again. ``lost`` tells
    of input that is gone.
    """

    reader: int
    topic: str
    values: Sequence[bytes]
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    marks: Mapping[str, Mark] = field(default_factory=dict)
    replay: bool = False
    tenants: NDArray[np.int32] | None = None
    tenant_names: tuple[str, ...] = ()
    passed: int = UNKNOWN
    known: bool = False
    final: int = UNKNOWN
    lost: tuple[Lost, ...] = ()
    times: NDArray[np.int64] | None = None

    def refused(self, reasons: Mapping[int, str]) -> pl.DataFrame:
        """Return a REJECTS frame of messages, given by their index, each with its reason."""
        indexes = sorted(reasons)
        return pl.DataFrame(
            {
                "origin": ["input"] * len(indexes),
                "topic": [self.topic] * len(indexes),
                "partition": self.partitions[indexes],
                "offset": self.offsets[indexes],
                "reason": [reasons[index] for index in indexes],
                "payload": [self.values[index] for index in indexes],
            },
            schema=REJECTS,
        )


class Samples(NamedTuple):
    """Number points on their way to a shard: one element a point in every array."""

    identity: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]


class Observed(NamedTuple):
    """Histograms and summaries on their way to a shard; see ``Distributions``."""

    identity: NDArray[np.uint64]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    count: NDArray[np.int64]  # type: ignore[assignment]  # hides tuple.count, which nobody calls
    sum: NDArray[np.float64]
    min: NDArray[np.float64]
    max: NDArray[np.float64]
    exponential: NDArray[np.bool_]
    offsets: NDArray[np.int64]
    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    weight: NDArray[np.int64]


NO_SAMPLES = Samples(
    np.empty(0, np.uint64), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
)


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """What one poll holds for one shard.

    ``largest`` is the largest event time that the poll brought, by partition (``topic/number``);
    ``marks``, ``replay``, ``passed``, ``known`` and ``final`` are the reader's.

    ``behind`` are points that stand in their partition after points by which time was past the end
    of their window. They are not among ``samples`` and ``observed``: which windows come out without
    them is decided by the partition alone, and not by how much of it was read at once. They are by
    the time that their partition had passed before them, in nanoseconds: windows that end by then
    are without them, until they are revised.
    """

    shard: int
    reader: int
    largest: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    replay: bool = False
    samples: Samples = NO_SAMPLES
    observed: Observed | None = None
    passed: int = UNKNOWN
    known: bool = False
    final: int = UNKNOWN
    behind: Mapping[int, tuple[Samples, Observed | None]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Rejected:
    """Messages that are not of their topic's format: a REJECTS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Timed:
    """What the times in a partition say of the clocks of those who write to it.

    Attributes:
        place: topic and number of the partition, ``topic/number``.
        at: the time of the report, as the timestamps of messages have it, in nanoseconds.
        since: the timestamp of the first message with a fault; 0 if there is none.
        ahead: how many points were ahead of their message's own timestamp.
        furthest: by how many nanoseconds the worst of them was.
        refused: how many were left out, by reason.
        example: name and labels of a series that was wrong.
    """

    place: str
    at: int
    since: int = 0
    ahead: int = 0
    furthest: int = 0
    refused: Mapping[str, int] = field(default_factory=dict)
    example: tuple[str, str] = ("", "")


@dataclass(frozen=True, slots=True)
class Named:
    """Series of one tenant that a worker met for the first time, or names again.

    A worker names every series that it has points of at least twice within ``evict_after`` of event
    time: that is what keeps them active. One without rows tells that event time goes on.

    Attributes:
        series: a SERIES frame.
        seen: event time in nanoseconds, the largest of the poll.
        reader: the reader whose poll it was.
        shards: number of shards.
    """

    tenant: str
    series: pl.DataFrame
    seen: int
    reader: int
    shards: int


@dataclass(frozen=True, slots=True)
class Admitted:
    """Series whose points may come in, for the shard that has them: a SERIES frame."""

    shard: int
    tenant: str
    series: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Refused:
    """Streams whose points are to be dropped, until the same identity is admitted.

    ``identities`` are those of a SERIES frame.
    """

    shard: int
    tenant: str
    identities: NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Closed:
    """Windows of one resolution that closed, or changed since: a ROLLUPS frame, and WHOLE."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Passed:
    """The watermark of a shard went on, though it may have nothing to say: timers run on it."""

    watermark: int


def rollups_and_watermark(items: Iterable[Closed | Passed]) -> tuple[list[pl.DataFrame], int]:
    """Return the frames of what a shard told, without empty ones, and how far its time is.

    The latter is ``UNKNOWN`` if it did not say.
    """
    frames, passed = [], UNKNOWN
    for item in items:
        if isinstance(item, Passed):
            passed = max(passed, item.watermark)
        elif item.frame.height:
            frames.append(item.frame)
    return frames, passed


@dataclass(frozen=True, slots=True)
class Present:
    """Which services and hosts a shard saw, and how far its time is.

    Attributes:
        services: a frame of ``operators.scoring.presence.PRESENCE``.
        passed: the shard's watermark, or ``UNKNOWN`` if it did not say.
    """

    services: pl.DataFrame
    passed: int


@dataclass(frozen=True, slots=True)
class VectorParts:
    """What the rollups of a shard add to vectors of signals, and how far its time is.

    Attributes:
        frame: of ``operators.scoring.vector_parts.VECTOR_PARTS``.
        passed: the shard's watermark, or ``UNKNOWN`` if it did not say.
    """

    frame: pl.DataFrame
    passed: int


@dataclass(frozen=True, slots=True)
class CallsSeen:
    """Calls that the rollups of a shard are of, and how far its time is.

    Attributes:
        frame: of ``operators.traces.calls_seen.CALLS_SEEN``.
        passed: the shard's watermark, or ``UNKNOWN`` if it did not say.
    """

    frame: pl.DataFrame
    passed: int


@dataclass(frozen=True, slots=True)
class KeptExamples:
    """Some of the traces that are kept: a frame of ``operators.traces.examples.EXAMPLES``."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Late:
    """Points refused for their time, see ``operators.windows.late``."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Scored:
    """Rollups with what a detector says of them: a SCORES frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class LogBatch:
    """The records of a poll for one shard, parsed and scrubbed.

    Attributes:
        shard: its number.
        records: a GROUPED_LOGS frame with columns ``stack`` and ``origin`` (a number of tenant and
            service, the same everywhere), whose templates and exceptions are not known yet.
        texts: the masked text of each shape that the worker met for the first time: ``tenant``,
            ``service``, ``shape``, ``text``.
    """

    shard: int
    records: pl.DataFrame
    texts: pl.DataFrame


@dataclass(frozen=True, slots=True)
class SpanLines:
    """What the log lines of a poll that are of a span say, for one shard, and how far event time is.

    Attributes:
        shard: its number.
        reader, largest, marks, replay: as of a ``ShardBatch``.
        rows: an array of ``operators.logs.courses.span_lines.SPAN_LINE``.
        names: tenant and service of each ``origin`` in it.
        texts: the masked text of shapes that the worker met for the first time: origin, shape, text.
        levels: of which services and times the worker left spans out, and how many, as
            ``operators.logs.courses.span_sampling.SpanSampler.levels`` says it; None if of none.
    """

    shard: int
    reader: int
    largest: Mapping[str, int]
    marks: Mapping[str, Mark]
    replay: bool
    rows: NDArray[Any]
    names: Mapping[int, tuple[str, str]] = field(default_factory=dict)
    texts: Sequence[tuple[int, int, str]] = ()
    levels: tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]] | None = None


@dataclass(frozen=True, slots=True)
class ExceptionCommand:
    """What somebody asks of one exception of a service.

    Attributes:
        shard: the number of the shard that the service is of.
        at: when it was asked, nanoseconds since the Unix epoch.
        by: who asked.
        release: resolved in it, or ignored until one as new is seen; "" for none.
        times: ignored until it is seen so often; 0 for ever.
        within: the period in which it has to be, nanoseconds; 0 for any.
    """

    shard: int
    tenant: str
    service: str
    fingerprint: str
    do: Literal["resolve", "ignore", "reopen"]
    at: int
    by: str
    release: str = ""
    times: int = 0
    within: int = 0


@dataclass(frozen=True, slots=True)
class Grouped:
    """Records with their groups, and what is new about the groups.

    Attributes:
        shard: the number of the shard that they are of.
        records: a GROUPED_LOGS frame.
        templates: a TEMPLATES frame.
        counts: a LOG_COUNTS frame.
        exceptions: an EXCEPTIONS frame of those that have changed.
    """

    shard: int
    records: pl.DataFrame
    templates: pl.DataFrame
    counts: pl.DataFrame
    exceptions: pl.DataFrame


@dataclass(frozen=True, slots=True)
class SpanBatch:
    """What one poll holds for the shard of some traces.

    Attributes:
        shard: its number.
        reader, largest, marks, replay, passed, known, final: as of a ``ShardBatch``; event time is that
            of the ends of spans.
        rows: see ``operators.traces.rows``.
        content: the bytes that the rows point into; none where nobody wants them.
        operations: an OPERATIONS frame of those that the worker met for the first time.
    """

    shard: int
    reader: int
    rows: NDArray[Any]
    content: NDArray[np.uint8]
    operations: pl.DataFrame
    largest: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    replay: bool = False
    passed: int = UNKNOWN
    known: bool = False
    final: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class Candidates:
    """Traces of some root operations of which only a number is kept, as one shard of traces has them.

    Attributes:
        shard: the shard of the root operations.
        source: the shard of the traces.
        decided: slots that begin before this event time are complete as far as the source goes.
        spans: a SPANS frame with ``slot``, ``group`` (the root operation) and ``randomness``.
        late: the same of traces whose slot was complete before.
    """

    shard: int
    source: int
    decided: int
    spans: pl.DataFrame
    late: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Kept:
    """Spans that are kept, of a shard: a SPANS frame."""

    shard: int
    spans: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Tapped:
    """What one poll holds for rules, of one partition: a SAMPLES frame.

    ``spread`` is the same number for all of a partition, so that they stay in one, in their order.
    """

    spread: int
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """What one poll of the samples topic holds for one shard of the rules.

    Attributes:
        shard: its number.
        samples: a SAMPLES frame of what the shard's rules select, and of rows that tell of
            partitions.
        place: partition of the samples topic that it is of, empty if it is of marks alone.
        marks: what the reader knows of partitions of the samples topic.
        replay: it was read before a restart, and is read again.
    """

    shard: int
    samples: pl.DataFrame
    place: str = ""
    marks: Mapping[str, Mark] = field(default_factory=dict)
    replay: bool = False


@dataclass(frozen=True, slots=True)
class Recorded:
    """What recording rules gave, by the shard of their series: a SCORES frame."""

    shard: int
    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Events:
    """Alert events: an ALERT_EVENTS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Explanations:
    """What is known of causes.

    Attributes:
        rankings: what is behind services that are worse, as ``operators.traces.causes`` ranks it.
        changes, calls: how far services changed, and whom they call, see
            ``operators.contracts.service_changes``.
    """

    rankings: Sequence[Any] = ()
    changes: Sequence[Any] = ()
    calls: Sequence[Any] = ()


@dataclass(frozen=True, slots=True)
class ShadowEvents:
    """What a candidate model would have told: an ALERT_EVENTS frame. Nobody is alerted by it."""

    frame: pl.DataFrame
