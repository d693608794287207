"""Brings points to a shard's windows as the flow does, and keeps what comes out."""

import pickle
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.clock import ManualClock
from operators.contracts.frames import QUANTILES, SERIES
from operators.contracts.items import (
    Admitted,
    Closed,
    Late,
    Observed,
    Passed,
    Refused,
    Samples,
    ShardBatch,
)
from operators.contracts.watermark import Mark
from operators.kafka.low_water import LowWater
from operators.windows.step import WindowLogic
from tests.operators.windows.rollup_reference import AnyPoint, HistogramPoint, Point, Rollup, Stream

__all__ = ["Driver", "Sizes", "observed_of", "samples_of", "series_of"]


@dataclass(frozen=True)
class Sizes:
    """Settings of the rollups; a nanosecond is as good as a second."""

    windows: tuple[int, ...] = (10, 30, 60)
    disorder: int = 0
    partition_lag: int = 10**9
    lateness: int = 0
    counter_horizon: int = 1000
    evict_after: int = 10**9
    percentiles: str = ""


def series_of(streams: Mapping[int, Stream]) -> pl.DataFrame:
    """Return a SERIES frame."""
    return pl.DataFrame(
        {
            "identity": list(streams),
            "series": [stream.series for stream in streams.values()],
            "tenant": ["default"] * len(streams),
            "name": [f"series-{stream.series}" for stream in streams.values()],
            "labels": ["{}"] * len(streams),
            "unit": ["1"] * len(streams),
            "kind": [stream.kind for stream in streams.values()],
        },
        schema=SERIES,
    )


def _column(points: Sequence[AnyPoint], name: str, kind: type) -> NDArray[np.generic]:
    return np.array([getattr(point, name) for point in points], kind)


def samples_of(points: Iterable[AnyPoint]) -> Samples:
    """Return the numbers among points as they cross workers."""
    listed = [point for point in points if isinstance(point, Point)]
    return Samples(
        _column(listed, "identity", np.uint64), _column(listed, "ts", np.int64),
        _column(listed, "start", np.int64), _column(listed, "value", np.float64),
    )  # fmt: skip


def observed_of(points: Iterable[AnyPoint]) -> Observed | None:
    """Return the histograms and summaries among points as they cross workers."""
    listed = [point for point in points if isinstance(point, HistogramPoint)]
    if not listed:
        return None
    buckets = [bucket for point in listed for bucket in point.buckets]
    sizes = [0, *(len(point.buckets) for point in listed)]
    return Observed(
        _column(listed, "identity", np.uint64), _column(listed, "ts", np.int64),
        _column(listed, "start", np.int64), _column(listed, "count", np.int64),
        _column(listed, "sum", np.float64), _column(listed, "min", np.float64),
        _column(listed, "max", np.float64), np.zeros(len(listed), np.bool_), np.cumsum(sizes),
        np.array([bucket[0] for bucket in buckets], np.float64),
        np.array([bucket[1] for bucket in buckets], np.float64),
        np.array([bucket[2] for bucket in buckets], np.int64),
    )  # fmt: skip


@dataclass
class Partition:
    """What was sent through one partition, a message an offset; and from where it is to be replayed."""

    reader: int
    messages: list[list[AnyPoint]] = field(default_factory=list)
    replay_at: int = 0


class Driver:
    """One shard of the operator, the readers before it, and the memory of all that it gave.

    Args:
        sizes: settings.
        streams: what the registry knows.
        readers: number of readers; ``send`` says whose a poll is.
        rename: name streams with every poll, as after a silence.
        withheld: identities that are named only by ``tell``.
    """

    def __init__(
        self,
        sizes: Sizes,
        streams: Mapping[int, Stream],
        readers: int = 1,
        *,
        rename: bool = False,
        withheld: Iterable[int] = (),
    ) -> None:
        self.sizes = sizes
        self.streams = streams
        self.readers = readers
        self.rename = rename
        self.withheld = set(withheld)
        self.clock = ManualClock()
        self.low_water = LowWater()
        self.logic = WindowLogic(sizes, readers, self.clock, None, self.low_water)
        self.partitions: dict[str, Partition] = {}
        self.replaying: set[int] = set()  # readers
        self.interrupted = False  # a restart fell into the replay of another
        self.replayed = 0
        self.named: set[int] = set()
        self.seen: dict[str, int] = {}  # largest event time of each partition
        self.revisions: dict[tuple[int, int, int], list[Rollup]] = {}
        self.late = 0
        self.accepted = 0
        self.rows: list[dict[str, object]] = []

    def send(
        self,
        points: Iterable[AnyPoint] = (),
        *,
        reader: int = 0,
        partition: str = "t/0",
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        """Bring one poll of one partition, a single message; end the reader's replay first."""
        listed = list(points)
        self.send_messages([listed] if listed else [], reader, partition, marks)

    def send_messages(
        self,
        messages: Sequence[Sequence[AnyPoint]],
        reader: int = 0,
        partition: str = "t/0",
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        """Bring one poll of messages of one partition; end the reader's replay first."""
        for place in [*([partition] if messages else []), *(marks or {})]:
            if place not in self.partitions:
                self.partitions[place] = Partition(reader)
                self.low_water.begin(place, 0)
        self.replay(reader)
        self.replaying.discard(reader)
        for message in messages:
            self.partitions[partition].messages.append(list(message))
            self.accepted += len(message)
            offset = len(self.partitions[partition].messages)
            self.low_water.note(partition, offset, max(point.ts for point in message))
        self._poll(reader, partition, messages, marks or {}, replay=False)

    def _poll(
        self,
        reader: int,
        place: str,
        messages: Sequence[Sequence[AnyPoint]],
        marks: Mapping[str, Mark],
        *,
        replay: bool,
    ) -> None:
        points = [point for message in messages for point in message]
        largest = {place: max(point.ts for point in points)} if points else {}
        arrived: dict[int, list[AnyPoint]] = defaultdict(list)  # by what had passed before
        finest = self.sizes.windows[0]
        for message in messages:
            seen = self.seen.get(place)
            passed = -1 if seen is None else (seen - self.sizes.disorder) // finest * finest
            for point in message:
                arrived[passed if point.ts < passed else -1].append(point)
            self.seen[place] = (
                max(point.ts for point in message)
                if seen is None
                else max(seen, *(point.ts for point in message))
            )
        on_time = arrived.pop(-1, [])
        behind = {end: (samples_of(late), observed_of(late)) for end, late in arrived.items()}
        freed, _ = self.low_water.reached
        batch = ShardBatch(
            0, reader, largest, marks, replay, samples_of(on_time), observed_of(on_time), freed,
            behind=behind,
        )  # fmt: skip
        self._keep(self.logic.on_batch([batch]))
        # Names come another way, and may come later.
        self.tell({point.identity for point in points} - self.withheld)

    def tell(self, identities: Iterable[int] | None = None) -> None:
        """Name identities; without an argument all that were withheld."""
        if identities is None:
            identities, self.withheld = self.withheld, set()
        fresh = sorted(set(identities) - (set() if self.rename else self.named))
        self.named |= set(fresh)
        if fresh:
            self.hear(series_of({identity: self.streams[identity] for identity in fresh}))

    def hear(self, names: pl.DataFrame) -> None:
        """Admit what a frame names."""
        self._keep(self.logic.on_batch([Admitted(0, "default", names)]))

    def refuse(self, identity: int) -> None:
        """Say that an identity is over a limit."""
        self.withheld.add(identity)
        refused = Refused(0, "default", np.array([identity], np.uint64))
        self._keep(self.logic.on_batch([refused]))

    def notify(self, seconds: float = 1.0) -> None:
        """Let the time pass for which closings are put off."""
        self.clock.advance(seconds)
        self._keep(self.logic.on_wake())

    def restart(self) -> None:
        """Stop, and resume from a snapshot: what open windows need is read again.

        Each reader replays before it brings anything else, and is to name its partitions then.
        """
        self.interrupted = self.interrupted or bool(self.replaying)
        state = pickle.loads(pickle.dumps(self.logic.snapshot()))
        _, frozen = self.low_water.reached
        for place, partition in self.partitions.items():
            partition.replay_at = self.low_water.offset(place, frozen)
        self.low_water = LowWater()
        self.logic = WindowLogic(self.sizes, self.readers, self.clock, state, self.low_water)
        self.named.clear()
        self.seen.clear()
        self.replaying = set(range(self.readers))
        for place, partition in self.partitions.items():
            self.low_water.begin(place, partition.replay_at)

    def replay(self, reader: int, polls: int = 10**9) -> None:
        """Let a reader replay some of what it has to."""
        if reader not in self.replaying:
            return
        for place, partition in self.partitions.items():
            while (
                partition.reader == reader
                and polls
                and partition.replay_at < len(partition.messages)
            ):
                partition.replay_at += 1
                polls -= 1
                again = partition.messages[partition.replay_at - 1]
                self.replayed += len(again)
                self.low_water.note(place, partition.replay_at, max(point.ts for point in again))
                self._poll(reader, place, [again], {}, replay=True)

    def end(self) -> None:
        """End the input."""
        self._keep(self.logic.on_end())

    def final(self, window: int) -> dict[tuple[int, int], Rollup]:
        """Return the last revision of each rollup of a resolution."""
        return {
            (series, start): seen[-1]
            for (length, series, start), seen in self.revisions.items()
            if length == window
        }

    def _keep(self, items: "list[Closed | Late | Passed]") -> None:
        for item in items:
            if isinstance(item, Late):
                self.late += item.frame.height
                continue
            if isinstance(item, Passed):
                continue
            for row in item.frame.iter_rows(named=True):
                self.rows.append(row)
                key = (row["window"], row["series"], row["window_start"])
                seen = self.revisions.setdefault(key, [])
                if self.interrupted:  # what it is unsure of comes out again
                    assert row["revision"] >= len(seen)
                else:
                    assert row["revision"] == len(seen), f"revision {row['revision']} of {key}"
                assert row["name"] == f"series-{row['series']}"
                if row["count"] and row["sum"] is not None:
                    assert row["mean"] == row["sum"] / row["count"]
                seen.append(
                    Rollup(
                        *(row[name] for name in ("count", "sum", "min", "max", "last", "increase")),
                        tuple(row[name] for name in QUANTILES),
                        row["rate"],
                    )
                )
