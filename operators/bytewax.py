"""Runs steps, sources and writers on Bytewax: the one module that knows of the engine.

It keeps the promises of ``operators.contracts.engine``: Bytewax snapshots the sources and the
keyed states of an epoch at its end, and begins no epoch before the sinks are done with the one
before the last.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Protocol, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import KeyedStream, StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import EndOfInput, KeyedLogic, Reader, Source, Writer

__all__ = [
    "KeyedStream",
    "Stream",
    "by_shard",
    "keyed",
    "only",
    "op",
    "read",
    "shard_key",
    "shard_number",
    "write",
]

In = TypeVar("In")
Out = TypeVar("Out")
Item = TypeVar("Item")

_LENGTHS: Final = 8
"""Epochs, of all workers, by which their length is known: one that seemed short is soon forgotten."""

_SUFFIXES: Final = (
    40079, 24700, 79275, 42387, 3547, 68431, 132535, 3223, 57299, 52380, 13459, 28946, 15224,
    28177, 191577, 9353, 75897, 33028, 150509, 10079, 111623, 216760, 66436, 31313, 25115, 116244,
    127500, 16158, 201247, 118060, 4517, 158761, 79672, 2091, 81947, 89778, 237893, 115388,
    275626, 133649, 56291, 8625, 156810, 59083, 6281, 1081, 255256, 29933, 126686, 13567, 6340,
    69027, 173544, 7231, 28998, 67164, 65887, 150111, 72061, 12482, 3476, 57283, 42151, 15531,
    193338, 93089, 46785, 39295, 36260, 116056, 130335, 85514, 9203, 117765, 45442, 268745, 17445,
    93067, 19967, 84282, 20054, 21799, 64887, 112993, 113376, 14908, 74464, 24869, 95938, 480,
    56412, 47321, 25969, 95360, 75260, 55265, 13239, 11205, 99382, 37419, 86913, 37066, 72721,
    148511, 4929, 27506, 51754, 41873, 61058, 2611, 115497, 85842, 128761, 915, 118983, 65530,
    88585, 70697, 35698, 33409, 17726, 1104, 7830, 27592, 67408, 32823, 8691, 115544,
)  # fmt: skip
"""Of each shard, what its key ends in: the smallest number with which the key's hash, modulo 55440, is the
shard's number. 55440 is the least common multiple of 1 to 12 and 16. Keys are in recovery stores: none of
these may change."""


def read(step_id: str, flow: Dataflow, source: Source[Item]) -> Stream[Item]:
    """Begin a flow with what the readers of ``source`` give."""
    return op.input(step_id, flow, _Source(source))


def keyed(
    step_id: str, up: KeyedStream[In], build: Callable[[Any | None], KeyedLogic[In, Out]]
) -> KeyedStream[Out]:
    """Give every key a logic of its own.

    Args:
        step_id: name of the step. Recovery finds states by it: renaming a step orphans its states.
        up: items by key.
        build: makes a logic; with what its ``snapshot`` gave, if there is a state to resume.
    """

    def wrapped(state: Any | None) -> _Logic[In, Out]:
        return _Logic(build(state))

    return op.stateful_batch(step_id, up, wrapped)


def shard_key(number: int) -> str:
    """Return the key of a shard, by which shards lie evenly on workers.

    Bytewax has a key on the worker whose number is the key's hash modulo the number of workers; the hash is
    Rust's ``DefaultHasher``, SipHash-1-3 without a secret, of the key's UTF-8 and a byte 0xff. Of the names
    0 to 7 six are on one of two workers, and 0 to 3 are all on the same. With these keys shard ``n`` is on
    worker ``n % workers``, for 1 to 12 and for 16 workers.

    Shards beyond the first 128 have their number as their key: chance spreads so many evenly enough.

    >>> shard_key(0), shard_key(7), shard_key(128)
    ('0.40079', '7.3223', '128')
    """
    return f"{number}.{_SUFFIXES[number]}" if number < len(_SUFFIXES) else str(number)


def shard_number(key: str) -> int:
    """Return the number of the shard that a key is of.

    >>> shard_number("7.3223"), shard_number("128")
    (7, 128)
    """
    return int(key.partition(".")[0])


class Sharded(Protocol):
    """An item that is for a shard."""

    @property
    def shard(self) -> int:
        """Return the number of the shard."""
        ...


ForShard = TypeVar("ForShard", bound=Sharded)


def by_shard(step_id: str, up: Stream[ForShard]) -> KeyedStream[ForShard]:
    """Bring items to the shards that they are for."""
    return op.key_on(step_id, up, lambda item: shard_key(item.shard))


def write(step_id: str, up: Stream[Item], connect: Callable[[], Writer[Item]]) -> None:
    """End a flow in the writers that ``connect`` makes, one on each worker."""
    op.output(step_id, up, _Sink(connect))


def only(*kinds: type[Out]) -> Callable[[Any], Out | None]:
    """Return a function for ``filter_map`` that lets items of ``kinds`` pass.

    For the streams of one kind each after a step that makes several kinds of items.
    """

    def choose(item: Any) -> Out | None:
        return item if isinstance(item, kinds) else None

    return choose


class _Logic(StatefulBatchLogic[In, Out, Any]):
    def __init__(self, logic: KeyedLogic[In, Out]) -> None:
        self._logic = logic

    def on_batch(self, values: list[In]) -> tuple[list[Out], bool]:
        return self._logic.on_batch(values), self._logic.finished

    def on_notify(self) -> tuple[list[Out], bool]:
        return self._logic.on_wake(), self._logic.finished

    def on_eof(self) -> tuple[list[Out], bool]:
        return self._logic.on_end(), self._logic.finished

    def notify_at(self) -> datetime | None:
        return self._logic.wake_at()

    def snapshot(self) -> Any:
        return self._logic.snapshot()


class Epochs:
    """Has the workers of a process begin their epochs together.

    Bytewax lets each worker end its epochs by a clock of its own, at its first batch after so long. Who
    ends one reads nothing until all others have ended theirs. How far apart they are is never made up
    for, and grows by chance, by up to a batch in each epoch. After some hundred epochs of a backlog one
    worker was seen to wait half of its time.

    So a worker that began its epoch before others did does not ask its readers for a while, once: it ends
    the epoch when the last of the others does. Of the workers of other processes nothing is known here.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lengths: deque[float] = deque(maxlen=_LENGTHS)  # in seconds, a little too long
        self._began: dict[int, tuple[int, float]] = {}  # by worker: which epoch, and when

    def begin(self, worker: int, number: int, now: float) -> None:
        """Note that a worker begins an epoch; each of its readers may say so."""
        with self._lock:
            before = self._began.get(worker)
            if before is None or before[0] < number:
                # Within the first epoch readers were made, so it began nobody knows when.
                if before is not None and before[0] == number - 1 and number > 1:
                    self._lengths.append(now - before[1])
                self._began[worker] = number, now

    def leave(self, worker: int) -> None:
        """Wait for a worker no more; it is back with its next epoch."""
        with self._lock:
            self._began.pop(worker, None)

    def hold(self, worker: int, batch: float, now: float) -> float | None:
        """Return until when a worker should not ask its readers; None if there is no need to wait.

        Args:
            worker: that asks.
            batch: seconds from one batch to the next: the accuracy of all this.
            now: seconds, on the clock that ``begin`` was told.
        """
        with self._lock:
            if worker not in self._began or not self._lengths:
                return None
            number, began = self._began[worker]
            last = max(at for each, at in self._began.values() if each == number)
            length = min(self._lengths)
            left = began + length - now
            if left > 0:
                near = left <= 2 * batch < last - began
                return last + length if near else None
            # This epoch ends now, whatever we say. Who is ahead of the others by most of an epoch would end
            # each one with its first batch, for ever; the next one it ends when the last of them does.
            return last + 2 * length if last - began > length / 2 else None


class _Partition(StatefulSourcePartition[Item, Any]):
    def __init__(
        self, reader: Reader[Item], epochs: Epochs | None = None, clock: Clock | None = None
    ) -> None:
        self._reader = reader
        self._epochs = epochs or Epochs()
        self._clock = clock or SystemClock()
        self._worker = threading.get_ident()
        self._epoch = 0
        self._asked = self._clock.monotonic()
        self._batch = 0.0  # seconds between two batches of an epoch
        self._before = 0  # epoch of the batch before
        self._ended = False
        self._epochs.begin(self._worker, 0, self._asked)

    def next_batch(self) -> list[Item]:
        now = self._clock.monotonic()
        if self._before == self._epoch:
            self._batch = now - self._asked
        self._before, self._asked = self._epoch, now
        try:
            return self._reader.next_batch()
        except EndOfInput:
            self._ended = True
            raise StopIteration from None

    def next_awake(self) -> datetime | None:
        at, now = self._reader.wake_at(), self._clock.monotonic()
        held = self._epochs.hold(self._worker, self._batch, now)
        if held is not None:
            later = datetime.now(UTC) + timedelta(seconds=held - now)
            at = later if at is None else max(at, later)
        if at is None:
            return None
        # Bytewax takes the time until then from what its clock said before it asked for the batch, and
        # waits so long from now on. So it would wait for as long as the batch took once more, with the
        # worker's other readers, which is many seconds where a broker was slow to answer.
        return at - timedelta(seconds=now - self._asked)

    def snapshot(self) -> Any:
        self._epoch += 1
        if not self._ended:  # else it is the end of this reader alone
            self._epochs.begin(self._worker, self._epoch, self._clock.monotonic())
        return self._reader.snapshot()

    def close(self) -> None:
        self._epochs.leave(self._worker)
        self._reader.close()


class _Source(FixedPartitionedSource[Item, Any]):
    def __init__(self, source: Source[Item]) -> None:
        self._source = source
        self._epochs = Epochs()

    def list_parts(self) -> list[str]:
        return list(self._source.readers())

    def build_part(
        self, _step_id: str, for_part: str, resume_state: Any | None
    ) -> _Partition[Item]:
        return _Partition(self._source.reader(for_part, resume_state), self._epochs)


class _Writer(StatelessSinkPartition[Item]):
    def __init__(self, writer: Writer[Item]) -> None:
        self._writer = writer

    def write_batch(self, items: list[Item]) -> None:
        self._writer.write(items)

    def close(self) -> None:
        self._writer.close()


class _Sink(DynamicSink[Item]):
    def __init__(self, connect: Callable[[], Writer[Item]]) -> None:
        self._connect = connect

    def build(self, _step_id: str, _worker_index: int, _worker_count: int) -> _Writer[Item]:
        return _Writer(self._connect())
