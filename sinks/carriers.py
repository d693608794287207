"""Carrying topics to destinations, each at its own pace: the source of the flow ``storage``.

Each destination has readers of its own, with a thread and a consumer group of its own. A thread
reads messages, decodes them, writes, and commits its offsets once everything is confirmed. So a
destination that is down or slow holds back nobody: not the flows that compute, which write to Kafka
alone, not the other destinations, and not the engine, whose epochs no thread takes part in.

Nothing is kept but the committed offsets. After a crash at most what was read since the last commit
is written again, which every destination takes without harm.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Event, Lock, Thread
from typing import Any, Final

import polars as pl

from operators.contracts.clock import SystemClock
from operators.contracts.engine import EndOfInput, Reader, Source
from operators.contracts.frames import REJECTS
from operators.contracts.items import Polled
from operators.contracts.monitoring import DESTINATION_LAG
from operators.kafka.reader import KafkaReader
from operators.kafka.topic_ids import TopicIds
from sinks.base import Destination, Sink

__all__ = ["Carriers", "Intake"]

_log = logging.getLogger(__name__)

_LOOK: Final = timedelta(seconds=0.1)
_PAUSE: Final = 0.02
"""Seconds between two polls that brought nothing."""
_NEVER: Final = 1e9
_LAG_SECONDS: Final = 2.0
_END_SECONDS: Final = 2.0
"""Less than a process has to end in good order."""


@dataclass(frozen=True, slots=True)
class Intake:
    """What a destination takes in.

    Attributes:
        name: of the destination, the last part of its consumer group.
        decode: for each topic, what makes a frame for the destination of a message; raises
            ``ValueError`` for one that is not of its topic's contract.
        connect: connects the destination.
        linger: seconds that rows are gathered before they are written.
        rows: so many are written without waiting longer.
    """

    name: str
    decode: Mapping[str, Callable[[memoryview], pl.DataFrame]]
    connect: Callable[[], Destination]
    linger: float
    rows: int = 200_000


class Carriers(Source[Any]):
    """Has a thread for each reader of each destination, and gives nothing to the dataflow.

    Args:
        settings: the ``kafka`` section.
        intakes: of the destinations.
        dead_letter: makes the place for what can't be decoded or is refused for good.
        flow: name of the flow, the middle part of the consumer groups' names.
        readers: of each destination; a cluster spreads them over its workers.
        until_end: stop at the end offsets that are found at the start.
        since: where to begin a partition of which nothing is committed, see ``KafkaSource``.
    """

    def __init__(
        self,
        settings: Any,
        intakes: Sequence[Intake],
        dead_letter: Callable[[], Destination],
        *,
        flow: str,
        readers: int,
        until_end: bool,
        since: str,
    ) -> None:
        self._settings = settings.model_copy(update={"readers": readers})
        self._topic_ids = TopicIds(settings)
        self._intakes = {intake.name: intake for intake in intakes}
        self._dead_letter = dead_letter
        self._flow = flow
        self._until_end = until_end
        self._since = since

    def readers(self) -> list[str]:
        """Name the threads; every worker can run each."""
        count = self._settings.readers
        return [f"{name}/{index}" for name in self._intakes for index in range(count)]

    def reader(self, name: str, state: None) -> _Carrier:  # noqa: ARG002 - offsets are committed
        """Start a thread."""
        destination, _, index = name.rpartition("/")
        intake = self._intakes[destination]

        def tell_lag(topic: str, partition: int, lag: int) -> None:
            DESTINATION_LAG.labels(destination, topic, str(partition)).set(lag)

        def read() -> KafkaReader:
            return KafkaReader(
                int(index),
                self._settings,
                tuple(intake.decode),
                f"{self._settings.group}.{self._flow}.{destination}",
                until_end=self._until_end,
                since=self._since,
                idle_seconds=_NEVER,
                low_water=None,
                topic_ids=self._topic_ids,
                tenant_headers={},
                clock=SystemClock(),
                resume=None,
                tell_lag=tell_lag,
            )

        return _Carrier(intake, read, self._dead_letter)


class _Carrier(Reader[Any]):
    """One thread, as the engine sees it: a reader that never has anything to give."""

    def __init__(
        self,
        intake: Intake,
        read: Callable[[], KafkaReader],
        dead_letter: Callable[[], Destination],
    ) -> None:
        self._stopping = Event()
        self._failure: BaseException | None = None
        self._intake = intake
        self._read = read
        self._dead_letter = dead_letter
        self._carrying: _Carrying | None = None
        self._next_lag = 0.0
        self._thread = Thread(target=self._work, name=f"carry-{intake.name}", daemon=True)
        self._thread.start()

    def next_batch(self) -> list[Any]:
        """Return nothing, while the thread runs.

        Raises:
            EndOfInput: it has written all there was up to the end.
        """
        if self._thread.is_alive():
            self._tell_lag()
            return []
        if self._failure is not None:
            raise self._failure
        raise EndOfInput

    def wake_at(self) -> datetime:
        """Look again in a moment."""
        return datetime.now(UTC) + _LOOK

    def snapshot(self) -> None:
        """Return nothing: what is done is in the committed offsets."""

    def close(self) -> None:
        """End the thread; what it has not written is written after the next start."""
        self._stopping.set()
        self._thread.join(_END_SECONDS)

    def _tell_lag(self) -> None:
        """Tell how far the destination is behind: its thread can't while it waits for a backend."""
        now = time.monotonic()
        if self._carrying is not None and now >= self._next_lag:
            self._next_lag = now + _LAG_SECONDS
            self._carrying.tell_lag()

    def _work(self) -> None:
        try:
            self._carrying = _Carrying(
                self._intake, self._read(), self._dead_letter, self._stopping
            )
            self._carrying.run()
        except (_Stopped, KeyboardInterrupt):
            pass
        except BaseException as error:  # the engine's thread raises it, and ends the flow
            self._failure = error


class _Stopped(Exception):
    """The thread is to end."""


class _Patience(SystemClock):
    """A clock whose sleeps end when the thread is to end."""

    def __init__(self, stopping: Event) -> None:
        self._stopping = stopping

    def sleep(self, seconds: float) -> None:
        """Wait, or raise ``_Stopped``; see also ``SystemClock``."""
        end = time.monotonic() + seconds
        while True:
            super().sleep(0)
            left = end - time.monotonic()
            if self._stopping.wait(max(0.0, min(left, 0.2))):
                raise _Stopped
            if left <= 0:
                return


class _Carrying:
    """What a thread does: read, gather, write, commit."""

    def __init__(
        self,
        intake: Intake,
        reader: KafkaReader,
        dead_letter: Callable[[], Destination],
        stopping: Event,
    ) -> None:
        self._intake = intake
        self._reader = reader
        self._clock = _Patience(stopping)
        self._letters = dead_letter()
        self._sink: Sink[pl.DataFrame] = Sink(intake.connect(), self._letters, self._clock)
        self._refused: Sink[pl.DataFrame] = Sink(self._letters, None, self._clock)
        self._frames: list[pl.DataFrame] = []
        self._bad: list[tuple[str, int, int, str, bytes]] = []
        self._rows = 0
        self._since: float | None = None  # when the first message came that is not written yet
        self._closing = Lock()
        self._closed = False

    def tell_lag(self) -> None:
        """Tell how far it is behind; called by another thread."""
        with self._closing:
            if not self._closed:
                self._reader.report_lag()

    def run(self) -> None:
        """Carry until the end, or until told to stop."""
        try:
            while True:
                try:
                    found = self._reader.next_batch()
                except EndOfInput:
                    self._write()
                    return
                for polled in found:
                    self._take(polled)
                if self._is_due():
                    self._write()
                self._clock.sleep(0.0 if found else _PAUSE)
        finally:
            with self._closing:
                self._closed = True
                self._reader.close()
            self._sink.close()

    def _take(self, polled: Polled) -> None:
        if not len(polled.values):
            return
        decode = self._intake.decode[polled.topic]
        # A message is a batch of thousands of rows.
        for number, value in enumerate(polled.values):
            try:
                frame = decode(memoryview(value))
            except ValueError as error:
                place = int(polled.partitions[number]), int(polled.offsets[number])
                self._bad.append((polled.topic, *place, str(error), value))
                continue
            if frame.height:
                self._frames.append(frame)
                self._rows += frame.height
        if self._since is None:
            self._since = self._clock.monotonic()

    def _is_due(self) -> bool:
        if self._since is None:
            return False
        waited = self._clock.monotonic() - self._since
        return self._rows >= self._intake.rows or waited >= self._intake.linger

    def _write(self) -> None:
        """Write what was gathered, however long that takes, and commit."""
        if self._bad:
            rows = [("input", *each) for each in self._bad]
            _log.warning(
                "%s: %d messages of %s can't be read; they are on the dead-letter topic. First "
                "reason: %s", self._intake.name, len(rows), rows[0][1], rows[0][4],
            )  # fmt: skip
            self._refused.write([pl.DataFrame(rows, schema=REJECTS, orient="row")])
        self._sink.write(self._frames)
        if self._since is not None:
            self._reader.confirm()
        self._frames, self._bad, self._rows, self._since = [], [], 0, None
