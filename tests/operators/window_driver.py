"""Brings points to a shard's windows as the flow does, and keeps what comes out."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from operators.clock import ManualClock
from operators.decoding import ShardBatch
from operators.frames import PARTIALS, POINTS, SERIES, empty
from operators.partials import pre_aggregate
from operators.source import Mark
from operators.windows import Closed, Late, WindowLogic
from tests.operators.rollup_reference import Point, Rollup, Stream

__all__ = ["Driver", "Sizes", "partials_of", "series_of"]


@dataclass(frozen=True)
class Sizes:
    """Settings of the rollups; a nanosecond is as good as a second."""

    windows: tuple[int, ...] = (10, 30, 60)
    disorder: int = 0
    lateness: int = 0
    counter_horizon: int = 1000
    evict_after: int = 10**9


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


def partials_of(
    points: Iterable[Point], streams: Mapping[int, Stream], window: int
) -> pl.DataFrame:
    """Return the points' runs."""
    listed, known = list(points), list(streams)
    frame = pl.DataFrame(
        {
            "message": [0] * len(listed),
            "raw": [0] * len(listed),
            "ts": [point.ts for point in listed],
            "start": [point.start for point in listed],
            "value": [point.value for point in listed],
        },
        schema=POINTS,
    )
    rows = np.array([known.index(point.identity) for point in listed], np.int32)
    kinds = np.array([stream.kind for stream in streams.values()], np.uint8)
    return pre_aggregate(frame, rows, np.array(known, np.uint64), kinds, window)[0]


class Driver:
    """One shard of the operator, and the memory of all that it gave."""

    def __init__(
        self, sizes: Sizes, streams: Mapping[int, Stream], readers: int = 1, *, rename: bool = False
    ) -> None:
        self.sizes = sizes
        self.streams = streams
        self.readers = readers
        self.rename = rename
        self.clock = ManualClock()
        self.logic = WindowLogic(sizes, readers, self.clock, None)
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
        partials = partials_of(listed, self.streams, self.sizes.windows[0])
        names = series_of({identity: self.streams[identity] for identity in sorted(fresh)})
        largest = {partition: max(point.ts for point in listed)} if listed else {}
        batch = ShardBatch(0, reader, largest, marks or {}, partials, names, empty(PARTIALS))
        self.accepted += len(listed)
        self._keep(self.logic.on_batch([batch])[0])

    def notify(self) -> None:
        """Let the time pass for which closings are put off."""
        self.clock.advance(1.0)
        self._keep(self.logic.on_notify()[0])

    def restart(self) -> None:
        """Stop, and resume from a snapshot: the reader names its partitions anew."""
        state = self.logic.snapshot()
        self.logic = WindowLogic(self.sizes, self.readers, self.clock, state)
        self.named.clear()

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
                self.late += int(item.frame["count"].sum())
                continue
            for row in item.frame.iter_rows(named=True):
                self.rows.append(row)
                key = (row["window"], row["series"], row["window_start"])
                seen = self.revisions.setdefault(key, [])
                assert row["revision"] == len(seen), f"revision {row['revision']} of {key}"
                assert row["name"] == f"series-{row['series']}"
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
