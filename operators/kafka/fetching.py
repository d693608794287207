"""Reading Kafka in columns: the messages of a poll in one buffer, with no object for each.

To make objects of small messages, and take them apart again, costs several times what is done with
them afterwards. So a poll is one compiled loop that has librdkafka hand out messages and copies
them; it runs without the GIL.
"""

# ruff: noqa: PLR0915 -- a compiled loop is one long function

from __future__ import annotations

import ctypes
import logging
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition
from numpy.typing import NDArray

from operators.columns.compiling import compiled, copy, signed
from operators.columns.memory import byte_at, word_at
from operators.columns.messages import PADDING, Messages
from operators.kafka import librdkafka
from operators.kafka.librdkafka import consume_batch, destroy, header_at, headers_of, timestamp_of
from operators.kafka.lost_brokers import Brokers, watch

__all__ = ["NOTHING", "Fetched", "Fetcher", "compile_kernels", "last_offsets"]

_log = logging.getLogger(__name__)

_CHUNK: Final = 100  # messages that librdkafka is asked for at once: few enough for the caches
_STRANGE: Final = 256  # places for messages that are errors
_HEADER_ROOM: Final = 4 << 20  # bytes of the headers of a poll
_MILLISECOND: Final = 1_000_000
_LATEST: Final = (2**63 - 1) // _MILLISECOND  # what fits, as nanoseconds
_HEADER_LENGTH: Final = 1024  # more of a header is not looked at
_CONSUMER: Final = 1  # rd_kafka_type_t
_ERROR_TEXT: Final = 512
# From the levels of syslog.
_LEVELS: Final = (50, 50, 50, 40, 30, 20, 20, 10)
# Where the compiled loop finds what a message has.
_PARTITION: Final = librdkafka.Message.partition.offset
_PAYLOAD: Final = librdkafka.Message.payload.offset
_LENGTH: Final = librdkafka.Message.len.offset
_OFFSET: Final = librdkafka.Message.offset.offset


@dataclass(frozen=True, slots=True)
class Fetched:
    """What a poll of one topic gave: columns with one element a message.

    Attributes:
        values: the messages; one that has none is empty.
        partitions, offsets: where each was.
        times: the timestamp that Kafka has of each, in nanoseconds; 0 where it has none.
        header: the value of the header that was asked for, null where a message does not have it.
        ends: partitions whose end was reached, and the offset there.
        missing: partitions that don't have the offset that was to be read; they are read no more.
        errors: of partitions.
    """

    values: Messages
    partitions: NDArray[np.int32]
    offsets: NDArray[np.int64]
    times: NDArray[np.int64]
    header: pa.LargeBinaryArray | None = None
    ends: Sequence[tuple[int, int]] = field(default=())
    missing: Sequence[int] = field(default=())
    errors: Sequence[KafkaError] = field(default=())

    def only(self, kept: NDArray[np.bool_]) -> Fetched:
        """Return the messages chosen by a mask."""
        if kept.all():
            return self
        return Fetched(
            Messages.of([self.values[number] for number in np.flatnonzero(kept).tolist()]),
            self.partitions[kept],
            self.offsets[kept],
            self.times[kept],
            None if self.header is None else self.header.filter(pa.array(kept)),
            self.ends,
            self.missing,
            self.errors,
        )

    def all_but(self, partition: int, offset: int) -> NDArray[np.bool_]:
        """Return a mask of all messages but those of a partition from an offset on."""
        kept: NDArray[np.bool_] = (self.partitions != partition) | (self.offsets < offset)
        return kept


NOTHING: Final = Fetched(
    Messages.of([]), np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64)
)


def last_offsets(partitions: NDArray[np.int32], offsets: NDArray[np.int64]) -> dict[int, int]:
    """Return the offset of the last message of each partition that has any."""
    if not len(partitions):
        return {}
    last = np.full(int(partitions.max()) + 1, -1, np.int64)
    last[partitions] = offsets  # of several the last stays
    return {number: int(last[number]) for number in np.flatnonzero(last >= 0).tolist()}


_Told: TypeAlias = KafkaError | tuple[int, str]
"""An error, or a line for the log and its level."""


@dataclass(slots=True)
class _Topic:
    """A topic that is read: librdkafka's handles, and messages that no poll had room for yet."""

    handle: int
    queue: int
    pointers: NDArray[np.int64]
    waiting: NDArray[np.int64]  # which of the pointers: from, and up to


class Fetcher:
    """Reads partitions that it is told to, each from an offset that it is told.

    It belongs to no consumer group, and knows no broker before it has something to read. It must be
    used by one thread at a time.

    Args:
        options: of librdkafka.
        on_error: told by ``serve`` what is wrong with brokers.
    """

    def __init__(self, options: Mapping[str, str], on_error: Callable[[KafkaError], None]) -> None:
        self._options = options
        self._on_error = on_error
        self._untold: list[_Told] = []
        self._client: int | None = None
        self._topics: dict[str, _Topic] = {}
        self._running: set[tuple[str, int]] = set()
        self._brokers: Brokers | None = None
        self._free: Callable[[], object] = lambda: None

    def start(self, places: Sequence[TopicPartition]) -> None:
        """Begin to read partitions at their offsets.

        Raises:
            KafkaException: librdkafka does not take the options.
        """
        for place in places:
            topic = self._topic(place.topic)
            if _start(topic.handle, place.partition, place.offset, topic.queue):
                raise KafkaException(KafkaError(_last_error()))
            self._running.add((place.topic, place.partition))

    def stop(self, topic: str, partition: int) -> None:
        """Read a partition no more; some of its messages may still come with the next poll."""
        if (topic, partition) in self._running:
            self._running.discard((topic, partition))
            _stop(self._topics[topic].handle, partition)

    def stop_all(self) -> None:
        """Read nothing more, and drop what was not given yet."""
        for topic, partition in list(self._running):
            self.stop(topic, partition)
        for state in self._topics.values():
            _drop(state)

    def poll(self, topic: str, most: int, most_bytes: int, header: str | None = None) -> Fetched:
        """Return what is there of a topic, without waiting for more.

        Args:
            topic: its name.
            most, most_bytes: how many messages, and how much, at most; a larger one comes alone.
            header: name of the header that is wanted, whatever its case; of several the last.
        """
        state = self._topics.get(topic)
        if state is None or most <= 0:
            return NOTHING
        if state.waiting[0] == state.waiting[1] and not _length(state.queue):
            return NOTHING  # as most polls of a quiet topic: the room for one is not made first
        name = np.frombuffer((header or "").lower().encode(), np.uint8)
        room = most_bytes
        strange = np.empty(_STRANGE, np.int64)
        while True:
            # Memory that is not written to costs nothing.
            buffer = np.empty(room + PADDING, np.uint8)
            bounds = np.zeros(most + 1, np.int64)
            partitions, offsets = np.empty(most, np.int32), np.empty(most, np.int64)
            times = np.empty(most, np.int64)
            texts = np.empty(_HEADER_ROOM if header else 0, np.uint8)
            text_bounds = np.zeros(most + 1 if header else 1, np.int64)
            present = np.empty(most if header else 0, np.bool_)
            count, found = _take(
                _CALLS, state.queue, state.pointers, state.waiting, most, buffer, bounds, partitions,
                offsets, times, strange, name, texts, text_bounds, present,
            )  # fmt: skip
            first, last = state.waiting
            if count or found or first == last:
                break
            room = librdkafka.Message.from_address(int(state.pointers[first])).len
        ends, missing, errors = _strange(strange[:found])
        filled = buffer[: bounds[count] + PADDING]
        if len(filled) < len(buffer) // 8:
            filled = filled.copy()  # whoever keeps a few bytes must not keep all that room
        filled.flags.writeable = False
        values = Messages(filled, bounds[: count + 1])
        column = _texts(texts, text_bounds[: count + 1], present[:count]) if header else None
        return Fetched(
            values,
            partitions[:count],
            offsets[:count],
            times[:count],
            column,
            ends,
            missing,
            errors,
        )

    def serve(self) -> None:
        """Tell what went wrong since the last time, and log what librdkafka says."""
        if self._client is None:
            return
        _poll(self._client, 0)
        # Not in the callbacks, where an interrupt would be lost.
        untold, self._untold[:] = list(self._untold), []
        for told in untold:
            if isinstance(told, KafkaError):
                self._on_error(told)
            else:
                level, line = told
                _log.log(level, "%s", line)

    def high_watermark(self, topic: str, partition: int) -> int:
        """Return where a partition ended at the last answer of its broker, -1001 if none came."""
        if self._client is None:
            return OFFSET_INVALID
        low, high = ctypes.c_int64(), ctypes.c_int64()
        failed = _watermarks(self._client, topic.encode(), partition, low, high)
        return OFFSET_INVALID if failed else high.value

    def close(self) -> None:
        """Leave the brokers."""
        if self._brokers is not None:
            self._brokers.leave()
        self._free()
        self._client = None

    def _topic(self, name: str) -> _Topic:
        if name not in self._topics:
            client = self._client = self._client or self._connect()
            handle = _topic_new(client, name.encode(), None)
            if not handle:
                raise KafkaException(KafkaError(_last_error()))
            if self._brokers is None:
                self._brokers = Brokers(client, self._options["bootstrap.servers"], handle)
                watch.add(self, self._brokers)
            queue = _queue_new(client)
            self._topics[name] = _Topic(
                handle, queue, np.empty(_CHUNK, np.int64), np.zeros(2, np.int64)
            )
        return self._topics[name]

    def _connect(self) -> int:
        # Python must hold on to what C calls, and that must not hold on to us.
        callbacks = (
            librdkafka.ERROR_CALLBACK(partial(_note_error, self._untold)),
            librdkafka.LOG_CALLBACK(partial(_note_line, self._untold)),
        )
        client = _client(self._options, *callbacks)
        free = weakref.finalize(self, _free, client, self._topics, self._running, callbacks)
        free.atexit = False  # the threads of librdkafka end with the process
        self._free = free
        return client


_set = librdkafka.call_of("conf_set")
_start = librdkafka.call_of("consume_start_queue")
_stop = librdkafka.call_of("consume_stop")
_poll = librdkafka.call_of("poll")
_watermarks = librdkafka.call_of("get_watermark_offsets")
_topic_new = librdkafka.call_of("topic_new")
_queue_new = librdkafka.call_of("queue_new")
_last_error = librdkafka.call_of("last_error")
_length = librdkafka.call_of("queue_length")
_destroy = librdkafka.call_of("message_destroy")
_error_text = librdkafka.call_of("message_errstr")

_CALLS: Final[tuple[Any, ...]] = tuple(
    librdkafka.address_of(name)
    for name in (
        "consume_batch_queue", "message_destroy", "message_headers", "header_get_all",
        "message_timestamp",
    )
)  # fmt: skip


def _client(options: Mapping[str, str], on_error: object, on_log: object) -> int:
    """Return a new client of librdkafka, whose callbacks are called in ``poll`` only."""
    text = ctypes.create_string_buffer(_ERROR_TEXT)
    configuration = librdkafka.call_of("conf_new")()
    librdkafka.call_of("conf_set_error_cb")(configuration, on_error)
    librdkafka.call_of("conf_set_log_cb")(configuration, on_log)
    taken = all(
        _set(configuration, name.encode(), value.encode(), text, _ERROR_TEXT) == 0
        for name, value in {**options, "log.queue": "true"}.items()
    )
    client = taken and librdkafka.call_of("new")(_CONSUMER, configuration, text, _ERROR_TEXT)
    if not client:
        librdkafka.call_of("conf_destroy")(configuration)
        raise KafkaException(KafkaError(KafkaError._INVALID_ARG, text.value.decode()))
    librdkafka.call_of("set_log_queue")(client, None)
    return int(client)


def _free(
    client: int, topics: dict[str, _Topic], running: set[tuple[str, int]], _callbacks: object
) -> None:
    for topic, partition in running:
        _stop(topics[topic].handle, partition)
    for state in topics.values():
        _drop(state)
        librdkafka.call_of("queue_destroy")(state.queue)
        librdkafka.call_of("topic_destroy")(state.handle)
    librdkafka.call_of("destroy")(client)
    running.clear()
    topics.clear()


def _drop(state: _Topic) -> None:
    first, last = state.waiting.tolist()
    for pointer in state.pointers[first:last].tolist():
        _destroy(pointer)
    state.waiting[:] = 0


def _note_error(untold: list[_Told], _client: int, code: int, reason: bytes, _opaque: int) -> None:
    untold.append(_error(code, reason))


def _note_line(untold: list[_Told], _client: int, level: int, facility: bytes, text: bytes) -> None:
    line = f"{facility.decode(errors='replace')}: {text.decode(errors='replace')}"
    untold.append((_LEVELS[level], line))


def _error(code: int, reason: bytes) -> KafkaError:
    return KafkaError(code, reason.decode(errors="replace"), code == KafkaError._FATAL)


def _strange(
    pointers: NDArray[np.int64],
) -> tuple[list[tuple[int, int]], list[int], list[KafkaError]]:
    """Return what messages that are none say: ends, partitions without that offset, and errors."""
    ends, missing, errors = [], [], []
    for pointer in pointers.tolist():
        message = librdkafka.Message.from_address(pointer)
        if message.err == KafkaError._PARTITION_EOF:
            ends.append((int(message.partition), int(message.offset)))
        elif message.err == KafkaError._AUTO_OFFSET_RESET:
            missing.append(int(message.partition))
        else:
            errors.append(_error(message.err, _error_text(pointer) or b""))
        _destroy(pointer)
    return ends, missing, errors


def _texts(
    texts: NDArray[np.uint8], bounds: NDArray[np.int64], present: NDArray[np.bool_]
) -> pa.LargeBinaryArray:
    valid = pa.py_buffer(np.packbits(present, bitorder="little"))
    return pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), len(present), [valid, pa.py_buffer(bounds), pa.py_buffer(texts)]
    )


def compile_kernels() -> None:
    """Compile the loop, or load it from the disk, before there is a message to wait for it."""
    nothing = np.empty(0, np.int64)
    _take(
        _CALLS, 0, nothing, np.zeros(2, np.int64), 0, np.zeros(PADDING, np.uint8), nothing,
        np.empty(0, np.int32), nothing, nothing, nothing, np.frombuffer(b"", np.uint8), np.empty(0, np.uint8),
        nothing, np.empty(0, np.bool_),
    )  # fmt: skip


@compiled
def _take(
    calls: tuple[Any, ...],
    queue: int,
    pointers: NDArray[np.int64],
    waiting: NDArray[np.int64],
    most: int,
    buffer: NDArray[np.uint8],
    bounds: NDArray[np.int64],
    partitions: NDArray[np.int32],
    offsets: NDArray[np.int64],
    times: NDArray[np.int64],
    strange: NDArray[np.int64],
    name: NDArray[np.uint8],
    texts: NDArray[np.uint8],
    text_bounds: NDArray[np.int64],
    present: NDArray[np.bool_],
) -> tuple[int, int]:
    """Copy messages while they come and fit; return how many, and how many strange ones there are.

    ``waiting`` says which of the pointers are of messages that were not copied yet.
    """
    consume, free, headers, header, timestamp = calls
    place = buffer.ctypes.data
    room = len(buffer) - PADDING
    out = np.zeros(4, np.int64)
    count = 0
    found = 0
    used = 0
    full = False
    while not full:
        if waiting[0] == waiting[1]:
            if count == most:
                break
            got = consume_batch(
                consume, (queue, 0, pointers.ctypes.data, min(len(pointers), most - count))
            )
            if got <= 0:
                break
            waiting[0], waiting[1] = 0, got
        while waiting[0] < waiting[1]:
            message = pointers[waiting[0]]
            if np.int32(word_at(message)) != 0:
                if found == len(strange):
                    full = True
                    break
                strange[found] = message  # whoever called sees to it
                found += 1
                waiting[0] += 1
                continue
            size = signed(word_at(message + _LENGTH))
            if count == most or used + size > room:
                full = True
                break
            if len(name):
                end = text_bounds[count]
                if end + _HEADER_LENGTH > len(texts):
                    full = True
                    break
                length = _header(message, headers, header, name, out, texts.ctypes.data + end)
                present[count] = length >= 0
                text_bounds[count + 1] = end + max(length, 0)
            if size:
                copy(place + used, signed(word_at(message + _PAYLOAD)), size)
            used += size
            partitions[count] = np.int32(word_at(message + _PARTITION))
            offsets[count] = signed(word_at(message + _OFFSET))
            time = timestamp_of(timestamp, (message, out.ctypes.data))
            times[count] = time * _MILLISECOND if 0 < time < _LATEST else 0
            count += 1
            bounds[count] = used
            destroy(free, (message,))
            waiting[0] += 1
    buffer[used : used + PADDING] = 0
    return count, found


@compiled
def _header(
    message: int,
    headers: int,
    header: int,
    name: NDArray[np.uint8],
    out: NDArray[np.int64],
    to: int,
) -> int:
    """Copy the value of the last header of that name; return its length, -1 if there is none."""
    place = out.ctypes.data
    if headers_of(headers, (message, place)) != 0:
        return -1
    found = -1
    number = 0
    while header_at(header, (out[0], number, place + 8, place + 16, place + 24)) == 0:
        number += 1
        same = True
        for k in range(len(name)):
            letter = byte_at(out[1] + k)
            if 65 <= letter <= 90:
                letter += 32
            if letter != name[k]:
                same = False
                break
        if same and byte_at(out[1] + len(name)) == 0:
            found = min(out[3], _HEADER_LENGTH) if out[2] else 0
            copy(to, out[2], found)
    return found
