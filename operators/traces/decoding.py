"""Decode, name operations, spread: from a poll of messages to what the shard of each trace gets of it.

Every shard gets an item of every poll, as in ``operators.series.step``: event time travels with it.
"""

from __future__ import annotations

import copyreg
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.alert import alert_event
from operators.contracts.events import event_frame
from operators.contracts.frames import DEFAULT_TENANT, OPERATIONS, empty
from operators.contracts.items import Events, Polled, Rejected, SpanBatch
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    SPANS_DECODED,
    SPANS_LEFT_OUT,
)
from operators.contracts.span_decoder import DecodedSpans
from operators.contracts.watermark import UNKNOWN
from operators.decoders import SPAN_DECODERS
from operators.kafka.fetching import last_offsets
from operators.kafka.low_water import LowWater
from operators.series.times import judge_times, limits_of, reasons_of, skipped_of
from operators.traces.operations import Operations
from operators.traces.rows import NO_ROWS, SpanContent, own, spread

__all__ = ["EncodedSpans", "TraceDecoding"]

_NO_OPERATIONS: Final = empty(OPERATIONS)
_NOTHING: Final = SpanContent(NO_ROWS, np.empty(0, np.uint8))
_LONGEST: Final = 500
_NO_IDS: Final = "a span has no trace id of 16 bytes or no span id of 8; the others went on"


@dataclass(frozen=True, slots=True)
class EncodedSpans:
    """How a topic's messages are encoded, and whose they are."""

    encoding: str
    tenant: str
    tenant_attribute: str | None = None


class TraceDecoding:
    """Callable for ``flat_map``: one ``Polled`` becomes a ``SpanBatch`` a shard, and ``Rejected``.

    Args:
        topics: the encoding and tenant of each topic.
        new_operations: makes what names operations of a topic; each worker thread has its own,
            since a shard must get their names from every worker that sends it spans.
        shards: number of shards. All spans of a trace are of one.
        future: nanoseconds that a span may end ahead of the timestamp that Kafka has of its message.
        content: whether shards get the bytes of spans too.
        severity: label of the alert about names of spans with ids.
        low_water: told which event times were met up to which offset.
    """

    def __init__(
        self,
        topics: Mapping[str, EncodedSpans],
        new_operations: Callable[[EncodedSpans], Operations],
        *,
        shards: int,
        future: int,
        content: bool,
        low_water: LowWater | None = None,
        severity: str = "warning",
    ) -> None:
        self._severity = severity
        self._topics = topics
        self._new_operations = new_operations
        self._shards = shards
        self._future = future
        self._content = content
        self._low_water = low_water or LowWater()
        self._operations: dict[tuple[int, str], Operations] = {}

    def __call__(self, polled: Polled) -> Sequence[SpanBatch | Rejected | Events]:
        """Decode a poll."""
        if not polled.values:
            return self._to_all(polled, {}, [_NOTHING] * self._shards, _NO_OPERATIONS)
        started = perf_counter()
        encoding = self._topics[polled.topic].encoding
        operations = self._of_topic(polled.topic)
        decoded = SPAN_DECODERS[encoding].decode(polled.values, operations.identifying)
        ids, new = operations.resolve(decoded, polled.tenants, polled.tenant_names)
        kept, largest, latest, faults = self._judge(polled, decoded)
        out: list[SpanBatch | Rejected | Events] = []
        if not (polled.replay or polled.known):
            SPANS_DECODED.labels(polled.topic).inc(len(decoded.rows))
            if named := operations.take_ids():
                out.append(self._events(named, max(largest.values(), default=0)))
            rejected = {**reasons_of(faults, encoding), **_without_ids(decoded), **decoded.rejected}
            if rejected:
                DEAD_LETTERS.labels("input").inc(len(rejected))
                out.append(Rejected(polled.refused(rejected)))
            for reason, count in skipped_of(faults, encoding).items():
                SPANS_LEFT_OUT.labels(reason).inc(count)
        for number, offset in last_offsets(polled.partitions, polled.offsets).items():
            place = f"{polled.topic}/{number}"
            self._low_water.note(place, offset + 1, latest.get(place, UNKNOWN))
        parts = spread(decoded, ids, kept, self._shards, content=self._content)
        out += self._to_all(polled, largest, parts, new)
        BATCH_SECONDS.labels("decode").observe(perf_counter() - started)
        return out

    def _events(self, named: Sequence[tuple[str, str, str]], at: int) -> Events:
        """Return alerts about services whose spans have ids in their names."""
        events = []
        for tenant, service, example in named:
            labels = {
                "alertname": "SpanNamesWithIds",
                "severity": self._severity,
                "service": service,
                "tenant": "" if tenant == DEFAULT_TENANT else tenant,
            }
            summary = (
                f"{service}: names of spans hold ids, and are counted without them: put ids into "
                "attributes"
            )
            event = alert_event(
                status="firing",
                kind="traces",
                labels={key: value for key, value in labels.items() if value},
                annotations={"summary": summary},
                starts_at=at,
                ends_at=None,
                value=None,
                evidence={"example": example[:_LONGEST]},
            )
            events.append((event, at))
        return Events(event_frame(events))

    def _of_topic(self, topic: str) -> Operations:
        # By the thread's number, see ``operators.series.step``.
        key = (threading.get_ident(), topic)
        operations = self._operations.get(key)
        if operations is None:
            operations = self._operations[key] = self._new_operations(self._topics[topic])
        return operations

    def _judge(
        self, polled: Polled, decoded: DecodedSpans
    ) -> tuple[NDArray[np.bool_], dict[str, int], dict[str, int], NDArray[np.int64]]:
        """Return which spans go on, how far event time is by partition, and what is wrong by message."""
        numbers, places = np.unique(polled.partitions, return_inverse=True)
        times = polled.times if polled.times is not None else np.zeros(len(places), np.int64)
        caps, limits = limits_of(times, self._future)
        judged = judge_times(
            np.ascontiguousarray(decoded.rows["ended"]),
            np.ascontiguousarray(decoded.rows["message"]),
            places.astype(np.int64), len(numbers), caps, limits, 0,
        )  # fmt: skip
        names = [f"{polled.topic}/{number}" for number in numbers.tolist()]
        invalid = ~decoded.rows["valid"]
        if invalid.any():
            SPANS_LEFT_OUT.labels("invalid").inc(int(invalid.sum()))
        found = [
            {name: time for name, time in zip(names, times.tolist(), strict=True) if time > UNKNOWN}
            for times in (judged.largest, judged.latest)
        ]
        return judged.kept & ~invalid, found[0], found[1], judged.faults

    def _to_all(
        self,
        polled: Polled,
        largest: Mapping[str, int],
        parts: Sequence[SpanContent],
        operations: pl.DataFrame,
    ) -> list[SpanBatch]:
        return [
            SpanBatch(
                shard,
                polled.reader,
                part.rows,
                part.content,
                operations,
                largest,
                polled.marks,
                polled.replay,
                polled.passed,
                polled.known,
                polled.final,
            )
            for shard, part in enumerate(parts)
        ]


def _as_sent(batch: SpanBatch) -> tuple[type[SpanBatch], tuple[Any, ...]]:
    """Return how a batch is pickled: what goes to another process takes its own bytes along alone."""
    told = {name: getattr(batch, name) for name in SpanBatch.__dataclass_fields__}
    if len(batch.content):
        told |= own(batch.rows, batch.content)._asdict()
    return SpanBatch, tuple(told.values())


copyreg.pickle(SpanBatch, _as_sent)


def _without_ids(decoded: DecodedSpans) -> dict[int, str]:
    messages = np.unique(decoded.rows["message"][~decoded.rows["valid"]])
    return dict.fromkeys(messages.tolist(), _NO_IDS)
