"""A reader of the Kafka source: the partitions that it owns, and how they are doing.

A reader owns a partition by a rule that does not depend on how many partitions there are, so a
partition added later is simply picked up.

It says how its partitions are doing (``Mark``): windows need to know which partition may still
hold back time, and only the reader can tell an idle producer from a flow that was itself held up.
A partition is idle when it was *polled at its end* for the idle timeout, and its broker confirms
that it ends there: one that is down holds back what producers have for it. The end is where the
broker says it is, which need not be behind a message: transactions leave marks of their own.
"""

from __future__ import annotations

import atexit
import logging
import sys
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
from confluent_kafka import (
    KafkaError,
    KafkaException,
    TopicPartition,
)
from numpy.typing import NDArray

from operators.contracts.clock import Clock
from operators.contracts.engine import EndOfInput, Reader
from operators.contracts.items import Lost, Polled
from operators.contracts.monitoring import (
    LAST_POLL,
    MESSAGES,
    SOURCE_ERRORS,
    SOURCE_LAG,
    TENANTS_REFUSED,
)
from operators.contracts.watermark import UNKNOWN, Mark
from operators.kafka.clients import KafkaSettings, consumer, fetcher
from operators.kafka.commits import committed_text
from operators.kafka.fetching import NOTHING, Fetched, last_offsets
from operators.kafka.gaps import tell
from operators.kafka.low_water import LowWater
from operators.kafka.partition import Partition
from operators.kafka.starting_offsets import SourceError, StartingOffsets, Stood
from operators.kafka.tenant_header import TenantHeader, tenants_of_headers
from operators.kafka.topic_ids import TopicIds

__all__ = ["KafkaReader", "ReaderState"]

_log = logging.getLogger(__name__)

_METADATA_SECONDS: Final = 10.0
_LAG_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 2.0
_NO_TOPIC: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
    }
)


class ReaderState(TypedDict):
    """Snapshot of a reader: by topic and partition, the next offset to read, and the low-water
    marks (see ``operators.kafka.low_water``); without them, nothing is read again.

    ``known`` are the offsets before which messages were dealt with by a run whose recovery store is
    lost, and ``final`` the event time up to which its windows came out for good. ``kept`` is
    what else ``low_water`` has of partitions. ``topics`` are the ids of topics, and ``readers`` their
    number, which may not change.
    """

    version: int
    offsets: dict[str, dict[int, int]]
    low_water: NotRequired[dict[str, dict[int, int]]]
    first: NotRequired[dict[str, dict[int, int]]]
    known: NotRequired[dict[str, dict[int, int]]]
    final: NotRequired[int]
    kept: NotRequired[dict[str, dict[int, Any]]]
    topics: NotRequired[dict[str, str]]
    readers: NotRequired[int]


class KafkaReader(Reader[Polled]):
    """Reads what it owns of the topics, in polls of many messages; made by ``KafkaSource``."""

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
        topic_ids: TopicIds,
        tenant_headers: Mapping[str, TenantHeader],
        clock: Clock,
        resume: ReaderState | None,
        tell_lag: Callable[[str, int, int], None] | None = None,
        commits: bool = True,
    ) -> None:
        self._commits = commits
        self._index = index
        self._readers = settings.readers
        self._kafka: KafkaSettings = settings
        self._topics = topics
        self._until_end = until_end
        self._idle_seconds = idle_seconds
        self._tenant_headers = tenant_headers
        self._clock = clock
        self._tell_lag = tell_lag or _set_source_lag
        if resume and (before := resume.get("readers", settings.readers)) != settings.readers:
            raise SourceError(
                f"kafka.readers: {settings.readers}, but the recovery store was made with {before}, "
                "which is for the life of it: write that, or run `headrace recovery rescale` on it"
            )
        self._resume: ReaderState = resume or {"version": 1, "offsets": {}}
        self._stood = _stood(self._resume, again=low_water is not None)
        self._final = self._resume.get("final", UNKNOWN)
        self._kept = {topic: dict(each) for topic, each in self._resume.get("kept", {}).items()}
        self._ids: dict[str, str] = dict(self._resume.get("topics", {}))
        self._topic_ids = topic_ids
        self._low_water = low_water
        self._lost: list[Lost] = []
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
        self._partitions: dict[tuple[str, int], Partition] = {}
        self._committable: list[TopicPartition] = []
        self._consumer = consumer(settings, group)  # asks, and commits; it reads nothing
        self._fetcher = fetcher(settings, self._on_error)
        self._offsets = StartingOffsets(
            self._consumer,
            settings.bootstrap_servers,
            topics,
            group,
            since=since,
            until_end=until_end,
            from_first=low_water is not None and resume is None,
            clock=clock,
        )
        self._missing: set[tuple[str, int]] = set()  # have no such offset as was to be read
        self._next_missing = 0.0
        self._next_metadata = 0.0
        self._next_lag = 0.0
        if until_end and commits:
            atexit.register(self._commit_if_all_went_well)

    # The engine calls these.

    def next_batch(self) -> list[Polled]:
        """Return what one poll gives: an item a topic, or one with marks alone."""
        LAST_POLL.set_to_current_time()
        now = self._clock.monotonic()
        if self._missing and now >= self._next_missing:
            self._untold |= self._begin_anew(now)
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

        polled = self._poll_live(now, marks)
        self._mark_idle(now, marks)
        if now >= self._next_lag:
            self.report_lag()
            self._next_lag = now + _LAG_SECONDS

        # That a partition has no more to bring is true only after the last item of this poll.
        live: dict[str, Mark] = {name: mark for name, mark in marks.items() if mark is Mark.LIVE}
        items = [
            self._item(topic, batch, marks if number == len(polled) else live, known=known)
            for number, (topic, batch, known) in enumerate(polled, start=1)
        ]
        if (marks or first or self._lost) and not items:
            items = [self._item("", NOTHING, marks)]
        if self._lost:
            items[-1] = replace(items[-1], lost=tuple(self._lost))
            self._lost = []
        if self._until_end and not items and self._all_ended():
            raise EndOfInput
        return items

    def wake_at(self) -> datetime | None:
        """Poll again at once where the last poll was at least half full, else after the poll time."""
        return self._awake

    def snapshot(self) -> ReaderState:
        """Return the next offsets, and commit those of the snapshot before.

        One snapshot later they have been through the sinks: see ``operators.contracts.engine``.
        """
        if not self._until_end:
            self._commit(self._committable)
            self._committable = self._to_commit(self._frozen)
        offsets = _copy(self._resume["offsets"])
        low_water = _copy(self._resume.get("low_water", {}))
        firsts = _copy(self._resume.get("first", {}))
        known: dict[str, dict[int, int]] = {}
        kept = {topic: dict(each) for topic, each in self._kept.items()}
        for (topic, number), entry in self._partitions.items():
            offsets.setdefault(topic, {})[number] = entry.next_offset
            if entry.next_offset < entry.known:
                known.setdefault(topic, {})[number] = entry.known
            if self._low_water is not None:
                mark = self._low_water.offset(entry.name, self._frozen)
                first = self._low_water.first_offset(entry.name, self._frozen)
                low_water.setdefault(topic, {})[number] = mark
                firsts.setdefault(topic, {})[number] = first
                if (more := self._low_water.state(entry.name)) is not None:
                    kept.setdefault(topic, {})[number] = more
        return {
            "version": 1,
            "offsets": offsets,
            "low_water": low_water,
            "first": firsts,
            "known": known,
            "kept": kept,
            "final": self._final,
            "topics": dict(self._ids),
            "readers": self._readers,
        }

    def confirm(self) -> None:
        """Commit all that was given, which is done with: for who reads without epochs."""
        if not self._until_end:
            self._commit(self._to_commit(self._frozen))

    def close(self) -> None:
        """Leave the broker. With ``until_end`` the consumer is kept for the commit at exit."""
        self._fetcher.close()
        if not (self._until_end and self._commits):
            self._consumer.close()

    # Which partitions there are, and where they begin.

    def _owns(self, topic: str, number: int) -> bool:
        owner: int = (zlib.crc32(topic.encode()) + number) % self._readers
        return owner == self._index

    def _find_partitions(self, first: bool) -> dict[str, Mark]:
        """Take up partitions that are new, and all of a topic that was made anew; return marks."""
        asked = {topic: self._offsets.numbers(topic, first) for topic in self._topics}
        numbers = {topic: there for topic, there in asked.items() if there is not None}
        ids = self._topic_ids.of([topic for topic, there in numbers.items() if there])
        owned = [
            (topic, number)
            for topic, there in numbers.items()
            for number in there
            if self._owns(topic, number)
        ]
        found = [key for key in owned if key not in self._partitions]
        self._follow_gone(numbers)
        anew = [
            entry.place
            for entry in self._partitions.values()
            if entry.topic_id and ids.get(entry.topic, entry.topic_id) != entry.topic_id
        ]
        marks = {}
        for key in [key for key in anew if key not in owned]:
            entry = self._partitions.pop(key)  # the new topic has fewer
            self._fetcher.stop(*key)
            self._missing.discard(key)
            marks[entry.name] = Mark.ENDED
        for entry in self._partitions.values():
            entry.topic_id = entry.topic_id or ids.get(entry.topic)
        self._ids |= {
            entry.topic: entry.topic_id for entry in self._partitions.values() if entry.topic_id
        }
        return marks | self._take_up(found + [key for key in anew if key in owned], first, ids)

    def _follow_gone(self, numbers: Mapping[str, Collection[int]]) -> None:
        """Note partitions that are gone with their topic, of which nothing can be waited for."""
        for entry in self._partitions.values():
            if entry.topic in numbers:
                entry.gone = entry.number not in numbers[entry.topic]
                if entry.gone and entry.quiet_since is None:
                    entry.quiet_since = self._clock.monotonic()

    def _take_up(
        self, keys: list[tuple[str, int]], first: bool, ids: Mapping[str, str]
    ) -> dict[str, Mark]:
        """Begin, or begin anew, to read partitions; return their marks."""
        stood = {
            key: self._where(self._partitions[key]) if key in self._partitions else self._stood[key]
            for key in keys
            if key in self._partitions or key in self._stood
        }
        if not keys:
            return {}
        places = self._offsets.places(keys, first, stood, ids)
        marks = {}
        for (topic, number), (stands, end, lost) in places.items():
            entry = Partition(topic, number, stands.offset, end, stands.topic)
            if end is not None and (stands.offset >= end or end == 0):
                entry.mark = Mark.ENDED
            if stands.offset < stands.known:
                entry.known = stands.known
            self._final = max(self._final, stands.final)
            self._replaying.discard((topic, number))
            self._missing.discard((topic, number))
            self._partitions[topic, number] = entry
            self._begin_replay(entry, stands)
            marks[entry.name] = entry.mark
            if lost is not None:
                self._lost.append(lost)
        if places:
            tell(place.lost for place in places.values() if place.lost)
            self._ids |= {key[0]: p.stood.topic for key, p in places.items() if p.stood.topic}
            self._assign()
        return marks

    def _where(self, entry: Partition) -> Stood:
        """Return where it stands in a partition while it runs."""
        replay = entry.replay_at if entry.place in self._replaying else entry.next_offset
        first = replay
        if self._low_water is not None:
            first = min(first, self._low_water.first_offset(entry.name, self._frozen))
        return Stood(entry.next_offset, replay, first, entry.known, topic=entry.topic_id)

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
        # A poll costs each step behind it some milliseconds, however little it brings.
        much = 2 * left < self._poll_messages or 2 * left_bytes < self._poll_bytes
        self._awake = None if much else datetime.now(UTC) + self._poll_wait
        return found

    def _poll_live(self, now: float, marks: dict[str, Mark]) -> list[tuple[str, Fetched, bool]]:
        """Poll; follow offsets and ends, and return what is not past the end, and if it is known."""
        found = self._poll()
        known = {e.place: e.known for e in self._partitions.values() if e.next_offset < e.known}
        by_topic = {
            topic: self._advance(topic, fetched, marks)
            for topic, fetched in found.items()
            if len(fetched.values)
        }
        for topic, fetched in found.items():
            for number, offset in fetched.ends:
                if (entry := self._partitions.get((topic, number))) is None:
                    continue
                entry.quiet_since = now
                # What is no message, as the mark of a transaction, is behind it too.
                reached = offset if entry.end is None else min(offset, entry.end)
                entry.next_offset = max(entry.next_offset, reached)
                if entry.mark is Mark.LIVE and entry.end is None:
                    entry.mark = marks[entry.name] = Mark.CAUGHT_UP
                self._end_if_reached(entry, offset, marks)
        self._note_missing(found)
        return [
            (topic, part, is_known)
            for topic, fetched in by_topic.items()
            for part, is_known in _by_known(topic, fetched, known)
            if len(part.values)
        ]

    def _note_missing(self, found: Mapping[str, Fetched]) -> None:
        """Note where an offset is not there: retention was faster, or the topic is another."""
        for topic, fetched in found.items():
            places = {(topic, number) for number in fetched.missing}
            self._missing |= places & self._partitions.keys()

    def _begin_anew(self, now: float) -> dict[str, Mark]:
        """Begin anew where an offset is missing; return the marks of these partitions."""
        self._next_missing = now + _LOOK_SECONDS
        ids = self._topic_ids.of({topic for topic, _ in self._missing})
        return self._take_up(sorted(self._missing), first=False, ids=ids)

    def _advance(self, topic: str, fetched: Fetched, marks: dict[str, Mark]) -> Fetched:
        """Follow the offsets of what was read; return what of it is not past the end."""
        kept = np.ones(len(fetched.values), np.bool_)
        for number, last in last_offsets(fetched.partitions, fetched.offsets).items():
            entry = self._partitions.get((topic, number))
            if entry is None:  # it is not of the topic any more
                kept &= fetched.partitions != number
                continue
            entry.quiet_since = None
            entry.look_again = 0.0
            if entry.mark in (Mark.IDLE, Mark.CAUGHT_UP):
                entry.mark = marks[entry.name] = Mark.LIVE
            entry.next_offset = last + 1
            if entry.end is not None and entry.next_offset > entry.end:
                entry.next_offset = entry.end
                kept &= fetched.all_but(number, entry.end)
            self._end_if_reached(entry, entry.next_offset, marks)
        fetched = fetched.only(kept)
        MESSAGES.labels(topic).inc(len(fetched.values))
        return fetched

    def _end_if_reached(self, entry: Partition, position: int, marks: dict[str, Mark]) -> None:
        """With an end to reach, mark the partition once it is there and stop fetching it."""
        if entry.end is None or position < entry.end or entry.mark is Mark.ENDED:
            return
        entry.mark = marks[entry.name] = Mark.ENDED
        self._fetcher.stop(*entry.place)

    def _mark_idle(self, now: float, marks: dict[str, Mark]) -> None:
        """Mark partitions that were at their end for the idle timeout, as their broker confirms."""
        for entry in self._partitions.values():
            quiet = entry.quiet_since is not None and now - entry.quiet_since >= self._idle_seconds
            awaited = entry.mark in (Mark.LIVE, Mark.CAUGHT_UP)
            if not quiet or not awaited or now < entry.look_again:
                continue
            entry.look_again = now + _LOOK_SECONDS
            if entry.gone:
                entry.mark = marks[entry.name] = Mark.IDLE
                continue
            try:
                ends_there = self._offsets.end(*entry.place, _LOOK_SECONDS) <= entry.next_offset
            except KafkaException as failure:
                error: Any = failure.args[0]
                if error.code() not in _NO_TOPIC or not self._is_gone(entry):
                    _log.warning("cannot tell whether %s is idle: %s", entry.name, error)
                    self._begin_quiet_anew(self._clock.monotonic())
                    return
                ends_there = True  # of a topic that was deleted nothing comes
            if ends_there:
                entry.mark = marks[entry.name] = Mark.IDLE

    def _is_gone(self, entry: Partition) -> bool:
        """Return whether a broker says that there is no such partition.

        A client that has lost its brokers may say so by itself, of a topic that is there.
        """
        numbers = self._offsets.numbers(entry.topic, first=False)
        if numbers is not None:
            self._follow_gone({entry.topic: numbers})
        return entry.gone

    def _begin_quiet_anew(self, now: float) -> None:
        """Measure idle timeouts from now: nobody could write to a broker that was away."""
        for entry in self._partitions.values():
            if entry.quiet_since is not None and entry.mark in (Mark.LIVE, Mark.CAUGHT_UP):
                entry.quiet_since = now

    def _doubt_ends(self) -> None:
        """Wait for partitions again that were at their end: what is written meanwhile is not seen."""
        for entry in self._partitions.values():
            if entry.mark is Mark.CAUGHT_UP:
                entry.mark = self._untold[entry.name] = Mark.LIVE

    def _all_ended(self) -> bool:
        return all(entry.mark is Mark.ENDED for entry in self._partitions.values())

    # What was read before a restart, and is read again.

    def _begin_replay(self, entry: Partition, stands: Stood) -> None:
        """Read a partition from its low-water mark first, if that is not where it goes on."""
        if self._low_water is None:
            return
        entry.replay_at = min(stands.replay, entry.next_offset)
        kept = self._kept.get(entry.topic, {}).pop(entry.number, None)
        self._low_water.restore(entry.name, kept)
        self._low_water.begin(entry.name, entry.replay_at, stands.first)
        if entry.replay_at < entry.next_offset:
            self._replaying.add((entry.topic, entry.number))

    def _replay(self) -> list[Polled]:
        """Return what one poll gives of the replay; after its last one all is as at a start."""
        items = []
        found = self._poll()
        for topic, fetched in found.items():
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
        self._note_missing(found)
        if not self._replaying:
            self._assign()
            self._awake = None
        return items

    def _item(
        self, topic: str, batch: Fetched, marks: dict[str, Mark], *, known: bool = False
    ) -> Polled:
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
            times=batch.times,
            tenants=tenants,
            tenant_names=names,
            passed=passed,
            known=known,
            final=self._final,
        )

    # What it tells others.

    def _to_commit(self, frozen: int) -> list[TopicPartition]:
        """Return what to commit: where it stands, and how to begin anew without a recovery store.

        While it does begin anew, what was committed before stands.
        """
        entries = list(self._partitions.values())
        if any(entry.next_offset < entry.known for entry in entries) or self._replaying:
            return []
        texts = []
        for entry in entries:
            first, final = entry.next_offset, UNKNOWN
            if self._low_water is not None:
                first = min(first, self._low_water.first_offset(entry.name, frozen))
                final = max(frozen, self._final)
            texts.append(committed_text(first, final, entry.topic_id))
        return [
            TopicPartition(*entry.place, entry.next_offset, text)
            for entry, text in zip(entries, texts, strict=True)
        ]

    def _commit(self, offsets: list[TopicPartition]) -> None:
        if offsets:
            self._consumer.commit(offsets=offsets, asynchronous=True)

    def _commit_if_all_went_well(self) -> None:
        """Commit a finished backfill; one that failed is to be read again from its start."""
        if getattr(sys, "last_value", None) is None and self._announced and self._all_ended():
            frozen = self._low_water.reached[1] if self._low_water is not None else UNKNOWN
            offsets = self._to_commit(frozen)
            if offsets:
                try:
                    self._consumer.commit(offsets=offsets, asynchronous=False)
                except KafkaException as error:
                    _log.warning("the end of this run could not be committed: %s", error)
        self._consumer.close()

    def report_lag(self) -> None:
        """Tell how far it is behind; also while nothing is polled, by another thread."""
        for entry in list(self._partitions.values()):
            high = self._fetcher.high_watermark(*entry.place)
            if high >= 0:
                lag = max(0, high - entry.next_offset)
                self._tell_lag(entry.topic, entry.number, lag)

    def _on_error(self, error: KafkaError) -> None:
        SOURCE_ERRORS.labels(",".join(self._topics), error.name()).inc()
        if error.fatal():
            raise SourceError(f"Kafka at {self._kafka.bootstrap_servers}: {error.str()}")
        _log.warning("Kafka at %s: %s", self._kafka.bootstrap_servers, error.str())
        if error.code() in (KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT):
            self._doubt_ends()
        if error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._begin_quiet_anew(self._clock.monotonic())


def _set_source_lag(topic: str, partition: int, lag: int) -> None:
    SOURCE_LAG.labels(topic, str(partition)).set(lag)


def _stood(state: ReaderState, *, again: bool) -> dict[tuple[str, int], Stood]:
    """Return where a snapshot stood in each partition; without ``again`` nothing is read again."""
    replays, firsts = (state.get("low_water", {}), state.get("first", {})) if again else ({}, {})
    found = {}
    for topic, numbers in state["offsets"].items():
        for number, offset in numbers.items():
            replay = replays.get(topic, {}).get(number, offset)
            found[topic, number] = Stood(
                offset,
                replay,
                firsts.get(topic, {}).get(number, replay),
                state.get("known", {}).get(topic, {}).get(number, 0),
                topic=state.get("topics", {}).get(topic),
            )
    return found


def _copy(by_topic: Mapping[str, Mapping[int, int]]) -> dict[str, dict[int, int]]:
    return {topic: dict(numbers) for topic, numbers in by_topic.items()}


def _by_known(
    topic: str, fetched: Fetched, known: Mapping[tuple[str, int], int]
) -> Iterator[tuple[Fetched, bool]]:
    """Yield what was dealt with before the recovery store was lost, and then what is new."""
    mask = np.zeros(len(fetched.values), np.bool_)
    for (name, number), offset in known.items():
        if name == topic:
            mask |= (fetched.partitions == number) & (fetched.offsets < offset)
    if mask.any():
        yield fetched.only(mask), True
        fetched = fetched.only(~mask)
    yield fetched, False
