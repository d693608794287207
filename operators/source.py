"""The Kafka source: one item is one poll of many messages of one topic.

The partitions of all input topics are spread over a fixed number of *readers*, which are what
Bytewax distributes over its workers and snapshots. A reader owns a partition by a rule that does
not depend on how many partitions there are, so a partition added later is simply picked up.

Each reader also says how its partitions are doing (``Mark``): windows need to know which
partition may still hold back time, and only the reader can tell an idle producer from a flow that
was itself held up. A partition is idle when it was *polled at its end* for the idle timeout, and
its broker confirms that it ends there: one that is down holds back what producers have for it.
"""

from __future__ import annotations

import atexit
import logging
import sys
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicPartition,
)
from numpy.typing import NDArray

from operators.clock import Clock, SystemClock
from operators.fetching import NOTHING, Fetched, last_offsets
from operators.kafka import KafkaSettings, consumer, fetcher
from operators.low_water import LowWater
from operators.monitoring import (
    LAST_POLL,
    MESSAGES,
    SOURCE_ERRORS,
    SOURCE_LAG,
    TENANTS_REFUSED,
)
from operators.starting_offsets import SourceError, StartingOffsets
from operators.tenants import TenantHeader, tenants_of_headers
from operators.watermark import UNKNOWN, Mark

__all__ = ["KafkaSource", "Mark", "Polled", "ReaderState"]

_log = logging.getLogger(__name__)

_METADATA_SECONDS: Final = 10.0
_LAG_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class Polled:
    """What one poll of one topic gave.

    ``values``, ``partitions`` and ``offsets`` have one element a message. ``marks`` tells of
    partitions, named ``topic/partition``, whose state changed; the first item of each reader
    that is no ``replay`` names all that it owns. A replay is of what was read before a restart,
    and is read again because windows that are still open need it. Where a header says whose a
    message is, ``tenants`` has for each the index of its tenant in ``tenant_names``; elsewhere it
    is None. ``passed`` is the watermark by which the reader frees what it would read again.
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


class ReaderState(TypedDict):
    """Snapshot of a reader: by topic and partition, the next offset to read, and the low-water
    mark (see ``operators.low_water``); without one, nothing is read again.
    """

    version: int
    offsets: dict[str, dict[int, int]]
    low_water: NotRequired[dict[str, dict[int, int]]]


class KafkaSource(FixedPartitionedSource[Polled, ReaderState]):
    """Reads topics from where recovery, the consumer group or ``since`` says.

    Args:
        settings: the ``kafka`` section; ``group`` is the consumer group that offsets are
            committed to, so that ordinary lag tools see progress.
        topics: topics to read.
        flow: name of the flow, the last part of the group's name.
        until_end: stop at the end offsets that are found at the start.
        since: where to begin a partition that recovery knows nothing of: ``committed`` (what is
            not committed is read from its beginning), ``earliest`` or ``latest``.
        idle_timeout: nanoseconds at the end of a partition after which it is idle.
        low_water: tells from where on partitions have to be read again after a restart; without
            it they never are.
        tenant_headers: by topic, where headers tell tenants apart.
        clock: tells the time that the idle timeout is measured by.

    Raises:
        SourceError: by its readers, if the broker can't be reached for a minute at the start, or
            a topic that is to be read to its end does not exist.
    """

    def __init__(
        self,
        settings: Any,
        topics: Sequence[str],
        *,
        flow: str,
        until_end: bool,
        since: str,
        idle_timeout: int,
        low_water: LowWater | None = None,
        tenant_headers: Mapping[str, TenantHeader] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._low_water = low_water
        self._settings = settings
        self._topics = tuple(topics)
        self._group = f"{settings.group}.{flow}"
        self._until_end = until_end
        self._since = since
        self._idle_seconds = idle_timeout / 1e9
        self._tenant_headers = dict(tenant_headers or {})
        self._clock = clock or SystemClock()

    def list_parts(self) -> list[str]:
        """Name the readers; every worker can run each."""
        return [f"reader-{index}" for index in range(self._settings.readers)]

    def build_part(self, _step_id: str, for_part: str, resume_state: ReaderState | None) -> _Reader:
        """Make a reader, or resume one where its snapshot stood."""
        return _Reader(
            int(for_part.removeprefix("reader-")),
            self._settings,
            self._topics,
            self._group,
            until_end=self._until_end,
            since=self._since,
            idle_seconds=self._idle_seconds,
            low_water=self._low_water,
            tenant_headers=self._tenant_headers,
            clock=self._clock,
            resume=resume_state,
        )


@dataclass(slots=True)
class _Partition:
    """A partition that a reader owns."""

    topic: str
    number: int
    next_offset: int
    end: int | None
    replay_at: int = 0  # from the low-water mark of before a restart up to the next offset
    quiet_since: float | None = None  # when its end was reached, on the monotonic clock
    mark: Mark = Mark.LIVE

    @property
    def name(self) -> str:
        return f"{self.topic}/{self.number}"

    @property
    def replay_position(self) -> TopicPartition:
        return TopicPartition(self.topic, self.number, self.replay_at)

    @property
    def place(self) -> tuple[str, int]:
        return self.topic, self.number

    @property
    def position(self) -> TopicPartition:
        return TopicPartition(self.topic, self.number, self.next_offset)


class _Reader(StatefulSourcePartition[Polled, ReaderState]):
    def __init__(
        self,
        index: int,
        settings: Any,
        topics: tuple[str, ...],
        group: str,
        *,
        until_end: bool,
        since: str,
        idle_seconds: float,
        low_water: LowWater | None,
        tenant_headers: Mapping[str, TenantHeader],
        clock: Clock,
        resume: ReaderState | None,
    ) -> None:
        self._index = index
        self._readers = settings.readers
        self._kafka: KafkaSettings = settings
        self._topics = topics
        self._until_end = until_end
        self._idle_seconds = idle_seconds
        self._tenant_headers = tenant_headers
        self._clock = clock
        self._resume = resume["offsets"] if resume else {}
        self._low_water = low_water
        self._replay_from = resume.get("low_water", {}) if resume and low_water else {}
        self._replaying: set[tuple[str, int]] = set()
        self._untold: dict[str, Mark] = {}  # of partitions found during a replay
        self._frozen = UNKNOWN  # event time before which all shards know that nothing matters
        self._poll_bytes: int = settings.poll_bytes
        self._poll_messages: int = settings.poll_messages
        self._poll_wait = timedelta(microseconds=settings.poll_time / 1000)
        self._turn = 0  # which topic is read first
        self._awake: datetime | None = None
        self._started = False  # partitions were looked for
        self._announced = False  # and named to the rest of the flow
        self._partitions: dict[tuple[str, int], _Partition] = {}
        self._committable: list[TopicPartition] = []
        self._consumer = consumer(settings, group)  # asks, and commits; it reads nothing
        self._fetcher = fetcher(settings, self._on_error)
        self._offsets = StartingOffsets(
            self._consumer,
            settings.bootstrap_servers,
            topics,
            group,
            since=since,
            resume=self._resume,
            until_end=until_end,
        )
        self._next_metadata = 0.0
        self._next_lag = 0.0
        if until_end:
            atexit.register(self._commit_if_all_went_well)

    # Bytewax calls these.

    def next_batch(self) -> list[Polled]:
        """Return what one poll gives: an item a topic, or one with marks alone."""
        LAST_POLL.set_to_current_time()
        now = self._clock.monotonic()
        if self._replaying:
            return self._replay()
        marks: dict[str, Mark] = {}
        if now >= self._next_metadata and (not self._started or not self._until_end):
            marks.update(self._find_partitions(not self._started))
            self._next_metadata = now + _METADATA_SECONDS
            self._started = True
        if self._replaying:
            self._untold |= marks
            return self._replay()
        marks, self._untold = self._untold | marks, {}
        first = not self._announced
        if first:
            marks = {entry.name: entry.mark for entry in self._partitions.values()}
            self._announced = True

        by_topic = self._poll_live(now, marks)
        self._mark_idle(now, marks)
        if now >= self._next_lag:
            self._report_lag()
            self._next_lag = now + _LAG_SECONDS

        # That a partition has no more to bring is true only after the last item of this poll.
        live: dict[str, Mark] = {name: mark for name, mark in marks.items() if mark is Mark.LIVE}
        items = [
            self._item(topic, batch, marks if number == len(by_topic) else live)
            for number, (topic, batch) in enumerate(by_topic.items(), start=1)
        ]
        if (marks or first) and not items:
            items = [self._item("", NOTHING, marks)]
        if self._until_end and not items and self._all_ended():
            raise StopIteration
        return items

    def next_awake(self) -> datetime | None:
        """Poll again at once while there is much to read, else after the poll time."""
        return self._awake

    def snapshot(self) -> ReaderState:
        """Return the next offsets, and commit those of the snapshot before.

        One snapshot later they have been through the sinks: Bytewax holds an epoch back until
        the one before it is done.
        """
        if not self._until_end:
            self._commit(self._committable)
            self._committable = [entry.position for entry in self._partitions.values()]
        offsets: dict[str, dict[int, int]] = {
            topic: dict(known) for topic, known in self._resume.items()
        }
        low_water: dict[str, dict[int, int]] = {
            topic: dict(known) for topic, known in self._replay_from.items()
        }
        for (topic, number), entry in self._partitions.items():
            offsets.setdefault(topic, {})[number] = entry.next_offset
            if self._low_water is not None:
                mark = self._low_water.offset(entry.name, self._frozen)
                low_water.setdefault(topic, {})[number] = mark
        return {"version": 1, "offsets": offsets, "low_water": low_water}

    def close(self) -> None:
        """Leave the broker. With ``until_end`` the consumer is kept for the commit at exit."""
        self._fetcher.close()
        if not self._until_end:
            self._consumer.close()

    # Which partitions there are, and where they begin.

    def _owns(self, topic: str, number: int) -> bool:
        owner: int = (zlib.crc32(topic.encode()) + number) % self._readers
        return owner == self._index

    def _find_partitions(self, first: bool) -> dict[str, Mark]:
        """Take up partitions that are new; return their marks."""
        found = []
        for topic in self._topics:
            for number in self._offsets.numbers(topic, first):
                if self._owns(topic, number) and (topic, number) not in self._partitions:
                    found.append((topic, number))
        places = self._offsets.places(found, first)
        found = [key for key in found if key in places]
        for (topic, number), (start, end) in places.items():
            self._partitions[topic, number] = entry = _Partition(topic, number, start, end)
            if end is not None and (start >= end or end == 0):
                entry.mark = Mark.ENDED
            self._begin_replay(entry)
        if found:
            self._assign()
        return {self._partitions[key].name: self._partitions[key].mark for key in found}

    def _assign(self) -> None:
        """Read on from where we are: what is to be replayed, else all that is not at its end."""
        if self._replaying:
            wanted = [self._partitions[key].replay_position for key in sorted(self._replaying)]
        else:
            wanted = [e.position for e in self._partitions.values() if e.mark is not Mark.ENDED]
        self._fetcher.stop_all()
        self._fetcher.start(wanted)

    # What a poll brings.

    def _poll(self) -> dict[str, Fetched]:
        """Return what there is to read, by topic; each has its turn to be read first."""
        told = self._consumer.poll(0)
        if told is not None and (error := told.error()) is not None:
            self._on_error(error)
        self._fetcher.serve()
        found: dict[str, Fetched] = {}
        left, left_bytes = self._poll_messages, self._poll_bytes
        order = self._topics[self._turn :] + self._topics[: self._turn]
        for topic in order:
            header = self._tenant_headers.get(topic)
            fetched = self._fetcher.poll(topic, left, left_bytes, header.name if header else None)
            for error in fetched.errors:
                self._on_error(error)
            found[topic] = fetched
            left -= len(fetched.values)
            left_bytes -= len(fetched.values.buffer)
            if left <= 0 or left_bytes <= 0:
                break
        self._turn = (self._turn + 1) % len(self._topics)
        full = any(len(fetched.values) for fetched in found.values())
        self._awake = None if full else datetime.now(UTC) + self._poll_wait
        return found

    def _poll_live(self, now: float, marks: dict[str, Mark]) -> dict[str, Fetched]:
        """Poll; follow offsets and ends, and return what is not past the end."""
        found = self._poll()
        by_topic = {
            topic: self._advance(topic, fetched, marks)
            for topic, fetched in found.items()
            if len(fetched.values)
        }
        for topic, fetched in found.items():
            for number, offset in fetched.ends:
                entry = self._partitions[topic, number]
                entry.quiet_since = now
                self._end_if_reached(entry, offset, marks)
        return {topic: fetched for topic, fetched in by_topic.items() if len(fetched.values)}

    def _advance(self, topic: str, fetched: Fetched, marks: dict[str, Mark]) -> Fetched:
        """Follow the offsets of what was read; return what of it is not past the end."""
        kept = np.ones(len(fetched.values), np.bool_)
        for number, last in last_offsets(fetched.partitions, fetched.offsets).items():
            entry = self._partitions[topic, number]
            entry.quiet_since = None
            if entry.mark is Mark.IDLE:
                entry.mark = marks[entry.name] = Mark.LIVE
            entry.next_offset = last + 1
            if entry.end is not None and entry.next_offset > entry.end:
                entry.next_offset = entry.end
                kept &= fetched.all_but(number, entry.end)
            self._end_if_reached(entry, entry.next_offset, marks)
        fetched = fetched.only(kept)
        MESSAGES.labels(topic).inc(len(fetched.values))
        return fetched

    def _end_if_reached(self, entry: _Partition, position: int, marks: dict[str, Mark]) -> None:
        """With an end to reach, mark the partition once it is there and stop fetching it."""
        if entry.end is None or position < entry.end or entry.mark is Mark.ENDED:
            return
        entry.mark = marks[entry.name] = Mark.ENDED
        self._fetcher.stop(*entry.place)

    def _mark_idle(self, now: float, marks: dict[str, Mark]) -> None:
        for entry in self._partitions.values():
            quiet = entry.quiet_since is not None and now - entry.quiet_since >= self._idle_seconds
            if quiet and entry.mark is Mark.LIVE:
                try:
                    ends_there = self._offsets.end(*entry.place, _LOOK_SECONDS) == entry.next_offset
                except KafkaException as error:
                    _log.warning("cannot tell whether %s is idle: %s", entry.name, error)
                    self._begin_quiet_anew(self._clock.monotonic())
                    return
                if ends_there:
                    entry.mark = marks[entry.name] = Mark.IDLE

    def _begin_quiet_anew(self, now: float) -> None:
        """Measure idle timeouts from now: nobody could write to a broker that was away."""
        for entry in self._partitions.values():
            if entry.quiet_since is not None and entry.mark is Mark.LIVE:
                entry.quiet_since = now

    def _all_ended(self) -> bool:
        return all(entry.mark is Mark.ENDED for entry in self._partitions.values())

    # What was read before a restart, and is read again.

    def _begin_replay(self, entry: _Partition) -> None:
        """Read a partition from its low-water mark first, if that is not where it goes on."""
        if self._low_water is None:
            return
        marks = self._replay_from.get(entry.topic, {})
        entry.replay_at = min(marks.get(entry.number, entry.next_offset), entry.next_offset)
        self._low_water.begin(entry.name, entry.replay_at)
        if entry.replay_at < entry.next_offset:
            self._replaying.add((entry.topic, entry.number))

    def _replay(self) -> list[Polled]:
        """Return what one poll gives of the replay; after its last one all is as at a start."""
        items = []
        for topic, fetched in self._poll().items():
            ended = {(topic, number) for number, _ in fetched.ends}
            wanted = np.ones(len(fetched.values), np.bool_)
            for number, last in last_offsets(fetched.partitions, fetched.offsets).items():
                entry = self._partitions[topic, number]
                entry.replay_at = last + 1
                if entry.replay_at >= entry.next_offset:
                    ended.add(entry.place)
                    wanted &= fetched.all_but(number, entry.next_offset)
            for place in ended & self._replaying:
                self._fetcher.stop(*place)
            self._replaying -= ended
            if wanted.any():
                items.append(replace(self._item(topic, fetched.only(wanted), {}), replay=True))
        if not self._replaying:
            self._assign()
            self._awake = None
        return items

    def _item(self, topic: str, batch: Fetched, marks: dict[str, Mark]) -> Polled:
        tenants: NDArray[np.int32] | None = None
        names: tuple[str, ...] = ()
        if batch.header is not None:
            fallback = self._tenant_headers[topic].fallback
            tenants, names, refused = tenants_of_headers(batch.header, fallback)
            if refused:
                TENANTS_REFUSED.labels(topic, "header").inc(refused)
        passed = UNKNOWN
        if self._low_water is not None:
            passed, self._frozen = self._low_water.reached
        return Polled(
            self._index,
            topic,
            batch.values,
            batch.partitions,
            batch.offsets,
            dict(marks),
            tenants=tenants,
            tenant_names=names,
            passed=passed,
        )

    # What it tells others.

    def _commit(self, offsets: list[TopicPartition]) -> None:
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _commit_if_all_went_well(self) -> None:
        """Commit a finished backfill; one that failed is to be read again from its start."""
        if getattr(sys, "last_value", None) is None and self._announced and self._all_ended():
            offsets = [entry.position for entry in self._partitions.values()]
            if offsets:
                try:
                    self._consumer.commit(offsets=offsets, asynchronous=False)
                except KafkaException as error:
                    _log.warning("the end of this run could not be committed: %s", error)
        self._consumer.close()

    def _report_lag(self) -> None:
        for entry in self._partitions.values():
            high = self._fetcher.high_watermark(*entry.place)
            if high >= 0:
                lag = max(0, high - entry.next_offset)
                SOURCE_LAG.labels(entry.topic, str(entry.number)).set(lag)

    def _on_error(self, error: KafkaError) -> None:
        SOURCE_ERRORS.labels(",".join(self._topics), error.name()).inc()
        if error.fatal():
            raise SourceError(f"Kafka at {self._kafka.bootstrap_servers}: {error.str()}")
        _log.warning("Kafka at %s: %s", self._kafka.bootstrap_servers, error.str())
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._begin_quiet_anew(self._clock.monotonic())
