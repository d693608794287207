"""Brings points to a shard's windows as the flow does, and keeps what comes out."""

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.admission import Admitted, Refused
from operators.clock import ManualClock
from operators.decoding import ShardBatch
from operators.frames import QUANTILES, SERIES
from operators.low_water import LowWater
from operators.spread import Observed, Samples
from operators.watermark import Mark
from operators.windows import Closed, Late, WindowLogic
from tests.operators.rollup_reference import AnyPoint, HistogramPoint, Point, Rollup, Stream

__all__ = ["Driver", "Sizes", "observed_of", "samples_of", "series_of"]


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
        _column(listed, "max", np.float64), np.cumsum(sizes),
        np.array([bucket[0] for bucket in buckets], np.float64),
        np.array([bucket[1] for bucket in buckets], np.float64),
        np.array([bucket[2] for bucket in buckets], np.int64),
    )  # fmt: skip


@dataclass
class Partition:
    """What was sent through one partition, a poll an offset; and from where it is to be replayed."""

    reader: int
    polls: list[list[AnyPoint]] = field(default_factory=list)
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
        """Bring one poll of points of one partition; end the reader's replay first."""
        listed = list(points)
        for place in [*([partition] if listed else []), *(marks or {})]:
            if place not in self.partitions:
                self.partitions[place] = Partition(reader)
                self.low_water.begin(place, 0)
        self.replay(reader)
        self.replaying.discard(reader)
        if listed:
            self.partitions[partition].polls.append(listed)
        self.accepted += len(listed)
        self._poll(reader, partition, listed, marks or {}, replay=False)

    def _poll(
        self,
        reader: int,
        place: str,
        points: list[AnyPoint],
        marks: Mapping[str, Mark],
        *,
        replay: bool,
    ) -> None:
        largest = {place: max(point.ts for point in points)} if points else {}
        if points:
            partition = self.partitions[place]
            offset = partition.replay_at if replay else len(partition.polls)
            self.low_water.note(place, offset, largest[place])
        passed, _ = self.low_water.reached
        samples, observed = samples_of(points), observed_of(points)
        batch = ShardBatch(0, reader, largest, marks, replay, samples, observed, passed)
        self._keep(self.logic.on_batch([batch])[0])
        # Names come another way, and may come later.
        self.tell({point.identity for point in points} - self.withheld)

    def tell(self, identities: Iterable[int] | None = None) -> None:
        """Name identities; without an argument all that were withheld."""
        if identities is None:
            identities, self.withheld = self.withheld, set()
        fresh = sorted(set(identities) - (set() if self.rename else self.named))
        self.named |= set(fresh)
        if fresh:
            names = series_of({identity: self.streams[identity] for identity in fresh})
            self._keep(self.logic.on_batch([Admitted(0, "default", names)])[0])

    def refuse(self, identity: int) -> None:
        """Say that an identity is over a limit."""
        self.withheld.add(identity)
        refused = Refused(0, "default", np.array([identity], np.uint64))
        self._keep(self.logic.on_batch([refused])[0])

    def notify(self, seconds: float = 1.0) -> None:
        """Let the time pass for which closings are put off."""
        self.clock.advance(seconds)
        self._keep(self.logic.on_notify()[0])

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
        self.replaying = set(range(self.readers))
        for place, partition in self.partitions.items():
            self.low_water.begin(place, partition.replay_at)

    def replay(self, reader: int, polls: int = 10**9) -> None:
        """Let a reader replay some of what it has to."""
        if reader not in self.replaying:
            return
        for place, partition in self.partitions.items():
            while (
                partition.reader == reader and polls and partition.replay_at < len(partition.polls)
            ):
                partition.replay_at += 1
                polls -= 1
                again = partition.polls[partition.replay_at - 1]
                self.replayed += len(again)
                self._poll(reader, place, again, {}, replay=True)

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
                if self.interrupted:  # what it is unsure of comes out again
                    assert row["revision"] >= len(seen)
                else:
                    assert row["revision"] == len(seen), f"revision {row['revision']} of {key}"
                assert row["name"] == f"series-{row['series']}"
                if row["count"] and row["sum"] is not None:
                    assert row["mean"] == row["sum"] / row["count"]
                if row["increase"] is None:
                    assert row["rate"] is None
                else:
                    assert row["rate"] == row["increase"] / (row["window"] / 1e9)
                seen.append(
                    Rollup(
                        *(row[name] for name in ("count", "sum", "min", "max", "last", "increase")),
                        tuple(row[name] for name in QUANTILES),
                    )
                )
