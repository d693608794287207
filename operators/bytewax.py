"""Runs steps, sources and writers on Bytewax: the one module that knows of the engine.

It keeps the promises of ``operators.contracts.engine``: Bytewax snapshots the sources and the
keyed states of an epoch at its end, and begins no epoch before the sinks are done with the one
before the last.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, TypeVar

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream
from bytewax.inputs import FixedPartitionedSource, StatefulSourcePartition
from bytewax.operators import KeyedStream, StatefulBatchLogic
from bytewax.outputs import DynamicSink, StatelessSinkPartition

from operators.contracts.clock import Clock, SystemClock
from operators.contracts.engine import EndOfInput, KeyedLogic, Reader, Source, Writer

__all__ = ["KeyedStream", "Stream", "keyed", "only", "op", "read", "write"]

In = TypeVar("In")
Out = TypeVar("Out")
Item = TypeVar("Item")


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


class _Partition(StatefulSourcePartition[Item, Any]):
    def __init__(self, reader: Reader[Item], clock: Clock | None = None) -> None:
        self._reader = reader
        self._clock = clock or SystemClock()
        self._asked = self._clock.monotonic()

    def next_batch(self) -> list[Item]:
        self._asked = self._clock.monotonic()
        try:
            return self._reader.next_batch()
        except EndOfInput:
            raise StopIteration from None

    def next_awake(self) -> datetime | None:
        at = self._reader.wake_at()
        if at is None:
            return None
        # Bytewax takes the time until then from what its clock said before it asked for the batch, and
        # waits so long from now on. So it would wait for as long as the batch took once more, with the
        # worker's other readers, which is many seconds where a broker was slow to answer.
        return at - timedelta(seconds=self._clock.monotonic() - self._asked)

    def snapshot(self) -> Any:
        return self._reader.snapshot()

    def close(self) -> None:
        self._reader.close()


class _Source(FixedPartitionedSource[Item, Any]):
    def __init__(self, source: Source[Item]) -> None:
        self._source = source

    def list_parts(self) -> list[str]:
        return list(self._source.readers())

    def build_part(
        self, _step_id: str, for_part: str, resume_state: Any | None
    ) -> _Partition[Item]:
        return _Partition(self._source.reader(for_part, resume_state))


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
