"""Brings points to a shard's windows as the flow does, and keeps what comes out."""

import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.admission import Admitted
from operators.clock import ManualClock
from operators.decoding import ShardBatch
from operators.frames import SERIES
from operators.low_water import LowWater
from operators.spread import Observed, Samples
from operators.watermark import Mark
from operators.windows import Closed, Late, WindowLogic
from tests.operators.rollup_reference import Point, Rollup, Stream

__all__ = ["Driver", "Sizes", "samples_of", "series_of"]


@dataclass(frozen=True)
class Sizes:
    """Settings of the rollups; a nanosecond is as good as a second."""

    windows: tuple[int, ...] = (10, 30, 60)
    disorder: int = 0
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


def samples_of(points: Iterable[Point]) -> Samples:
    """Return points as they cross workers."""
    listed = list(points)

    def column(name: str, kind: type) -> NDArray[np.generic]:
        return np.array([getattr(point, name) for point in listed], kind)

    return Samples(
        column("identity", np.uint64), column("ts", np.int64), column("start", np.int64),
        column("value", np.float64),
    )  # fmt: skip


@dataclass
class Partition:
    """What was sent through one partition: a poll is an offset."""

    polls: list[tuple[list[Point], Observed | None]]
    reader: int


class Driver:
    """One shard of the operator, the reader before it, and the memory of all that it gave."""

    def __init__(
        self, sizes: Sizes, streams: Mapping[int, Stream], readers: int = 1, *, rename: bool = False
    ) -> None:
        self.sizes = sizes
        self.streams = streams
        self.readers = readers
        self.rename = rename
        self.clock = ManualClock()
        self.low_water = LowWater()
        self.logic = WindowLogic(sizes, readers, self.clock, None, self.low_water)
        self.partitions: dict[str, Partition] = {}
        self.replayed = 0
        self.named: set[int] = set()
        self.revisions: dict[tuple[int, int, int], list[Rollup]] = {}
        self.names: dict[int, str] = {}
        self.late = 0
        self.accepted = 0
        self.rows: list[dict[str, object]] = []

    def send(
        self,
        points: Iterable[Point] = (),
        *,
        reader: int = 0,
        partition: str = "t/0",
        marks: Mapping[str, Mark] | None = None,
    ) -> None:
        """Bring one poll of points of one partition."""
        listed = list(points)
        wanted = {point.identity for point in listed}
        fresh = wanted if self.rename else wanted - self.named
        self.named |= fresh
        names = series_of({identity: self.streams[identity] for identity in sorted(fresh)})
        largest = {partition: max(point.ts for point in listed)} if listed else {}
        for place in [*largest, *(marks or {})]:
            if place not in self.partitions:
                self.partitions[place] = Partition([], reader)
                self.low_water.begin(place, 0)
        if listed:
            polls = self.partitions[partition].polls
            polls.append((listed, None))
            self.low_water.note(partition, len(polls), largest[partition])
        self.accepted += len(listed)
        batch = ShardBatch(0, reader, largest, marks or {}, samples=samples_of(listed))
        self._keep(self.logic.on_batch([batch])[0])
        if names.height:  # names come another way, and may come later
            self._keep(self.logic.on_batch([Admitted(0, "default", names)])[0])

    def notify(self) -> None:
        """Let the time pass for which closings are put off."""
        self.clock.advance(1.0)
        self._keep(self.logic.on_notify()[0])

    def restart(self) -> None:
        """Stop, and resume from a snapshot: what open windows need is read again.

        What comes next is to be the marks that the reader names its partitions by.
        """
        state = pickle.loads(pickle.dumps(self.logic.snapshot()))
        _, frozen = self.low_water.reached
        marks = {place: self.low_water.offset(place, frozen) for place in self.partitions}
        self.low_water = LowWater()
        self.logic = WindowLogic(self.sizes, self.readers, self.clock, state, self.low_water)
        self.named.clear()
        for place, partition in self.partitions.items():
            self.low_water.begin(place, marks[place])
            again = partition.polls[marks[place] :]
            points = [point for poll, _ in again for point in poll]
            if not points:
                continue
            self.replayed += len(points)
            wanted = sorted({point.identity for point in points} - self.named)
            self.named |= set(wanted)
            names = series_of({identity: self.streams[identity] for identity in wanted})
            largest = {place: max(point.ts for point in points)}
            self.low_water.note(place, len(partition.polls), largest[place])
            self._keep(self.logic.on_batch([Admitted(0, "default", names)])[0])
            batch = ShardBatch(0, partition.reader, largest, {}, True, samples_of(points))
            self._keep(self.logic.on_batch([batch])[0])

    def end(self) -> None:
        """End the input."""
        self._keep(self.logic.on_eof()[0])

    def final(self, window: int) -> dict[tuple[int, int], Rollup]:
        """Return the last revision of each rollup of a resolution."""
        return {
            (series, start): seen[-1]
            for (length, series, start), seen in self.revisions.items()
            if length == window
        }

    def _keep(self, items: "list[Closed | Late]") -> None:
        for item in items:
            if isinstance(item, Late):
                self.late += item.frame.height
                continue
            for row in item.frame.iter_rows(named=True):
                self.rows.append(row)
                key = (row["window"], row["series"], row["window_start"])
                seen = self.revisions.setdefault(key, [])
                assert row["revision"] == len(seen), f"revision {row['revision']} of {key}"
                assert row["name"] == f"series-{row['series']}"
                if row["count"]:
                    assert row["mean"] == row["sum"] / row["count"]
                if row["increase"] is None:
                    assert row["rate"] is None
                else:
                    assert row["rate"] == row["increase"] / (row["window"] / 1e9)
                seen.append(
                    Rollup(
                        *(row[name] for name in ("count", "sum", "min", "max", "last", "increase"))
                    )
                )
