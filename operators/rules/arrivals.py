"""Samples that have come and are not evaluated yet: which of them an evaluation sees.

An evaluation at a time sees what had come in its partition before event time passed that time
there, and nothing else. What came later is seen from the next evaluation on, as in Prometheus. So
what it sees is a function of the partitions' contents, whatever the order in which they are read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.snapshots import pack, unpack
from operators.contracts.watermark import UNKNOWN, Mark, Watermark

__all__ = ["Progress", "Waiting", "WaitingSamples", "only"]

Longs = NDArray[np.int64]

_MS: Final = 1_000_000


class Waiting(NamedTuple):
    """Samples: rows of a store, times (ms), values, and from which time (ms) on they are seen."""

    row: NDArray[np.int32]
    ts: Longs
    value: NDArray[np.float64]
    seen: Longs


NOTHING: Final = Waiting(
    np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0), np.empty(0, np.int64)
)


class WaitingSamples:
    """The samples of one tenant that are waiting for their evaluation."""

    def __init__(self) -> None:
        self._parts: list[Waiting] = []

    def add(self, part: Waiting) -> None:
        """Put in samples that have come."""
        if len(part.row):
            self._parts.append(part)

    @property
    def oldest(self) -> int | None:
        """The time (ms) of the oldest one, None if none is waiting."""
        return min((int(part.ts.min()) for part in self._parts), default=None)

    def take(self, time: int) -> Waiting:
        """Return what an evaluation at a time (ms) sees and none before it did, and forget it.

        Of several of one series and time the first is the one that came first.
        """
        if not self._parts:
            return NOTHING
        everything = self._joined()
        seen = (everything.ts <= time) & (everything.seen < time)
        left = only(everything, ~seen)
        self._parts = [left] if len(left.row) else []
        found = only(everything, seen)
        bits = np.ascontiguousarray(found.value).view(np.uint64)
        return only(found, np.lexsort((bits, found.seen, found.ts)))

    def rows(self) -> list[NDArray[np.int32]]:
        """Return the rows of the samples."""
        return [part.row for part in self._parts]

    def own_values(self) -> list[NDArray[np.float64]]:
        """Return the values of the samples, to be changed in place."""
        self._parts = [part._replace(value=part.value.copy()) for part in self._parts]
        return [part.value for part in self._parts]

    def renumber(self, rows: NDArray[np.int32]) -> None:
        """Give the samples other rows: those at which ``rows`` has the old ones."""
        self._parts = [part._replace(row=rows[part.row]) for part in self._parts]

    def _joined(self) -> Waiting:
        if len(self._parts) == 1:
            return self._parts[0]
        return Waiting(*(np.concatenate(columns) for columns in zip(*self._parts, strict=True)))

    def snapshot(self) -> dict[str, bytes]:
        """Return the samples as plain data."""
        return pack(self._joined() if self._parts else NOTHING)

    def restore(self, state: dict[str, bytes]) -> None:
        """Take back what `snapshot` gave."""
        self._parts = []
        self.add(unpack(NOTHING, state))


def only(samples: Waiting, which: Any) -> Waiting:
    """Return some of the samples: at these places, or where this is true."""
    return Waiting(*(column[which] for column in samples))


class Progress:
    """How far event time is in the partitions that samples were taken from.

    Args:
        readers: of the flow that took them; time does not go on before each has named its
            partitions.
        disorder: nanoseconds that a point may lag behind a later one of its partition.
        bound: nanoseconds that a partition may be behind the furthest one, and still be waited for.
    """

    def __init__(
        self, readers: int, disorder: int, bound: int, state: Mapping[str, Any] | None = None
    ) -> None:
        state = state or {}
        self._disorder = disorder
        self._watermark = Watermark(readers, disorder, state.get("watermark"), bound=bound)
        # A restart does not change who reads what; partitions are known from before.
        self._readers: set[tuple[str, int]] = {(n, r) for n, r in state.get("readers", ())}
        for name, reader in sorted(self._readers):
            self._watermark.update(reader, {}, {name: Mark.LIVE} if name else {})
        self._firsts: dict[str, int] = dict(state.get("firsts", {}))
        self._read_to_end: dict[str, bool] = {}
        # By partition of the samples topic: the partitions that are idle or at their end.
        self._quiet: dict[str, dict[str, tuple[int, Mark]]] = {}
        for place, name, reader, mark in state.get("quiet", ()):
            self._quiet.setdefault(place, {})[name] = reader, Mark(mark)

    @property
    def watermark(self) -> int:
        """Nanoseconds up to which event time is complete."""
        return self._watermark.value

    @property
    def first(self) -> int:
        """The first event time (ns) of any partition, UNKNOWN if there is none."""
        known = [first for first in self._firsts.values() if first > UNKNOWN]
        return min(known, default=UNKNOWN)

    @property
    def largest(self) -> int:
        """The largest event time (ns) of any partition, UNKNOWN if there is none."""
        largest = self._watermark.snapshot()["largest"].values()
        return max(largest, default=UNKNOWN)

    def tell(self, rows: pl.DataFrame, place: str, now: float) -> None:
        """Take up what rows of a SAMPLES frame tell of partitions.

        Args:
            rows: those with a ``reader``, in their order.
            place: the partition of the samples topic that they are of.
            now: seconds, on a clock that never runs backwards.
        """
        for name, reader, ts, first, mark in rows.select(
            "place", "reader", "ts", "seen", "mark"
        ).iter_rows():
            told = Mark(mark)
            self._readers.add((name, reader))
            if first > UNKNOWN:
                self._firsts.setdefault(name, first)
            largest = {name: ts} if name and ts > UNKNOWN else {}
            quiet = self._quiet.setdefault(place, {})
            quiet.pop(name, None)
            if told in (Mark.IDLE, Mark.ENDED) and name:
                # It may go on further back in the topic, as long as that is not read to its end.
                quiet[name] = reader, told
                told = Mark.CAUGHT_UP
            self._watermark.update(reader, largest, {name: told} if name else {}, now=now)
        self._rest(place, now)

    def hear(self, marks: Mapping[str, Mark], now: float) -> None:
        """Take up what readers know of partitions of the samples topic."""
        for place, mark in marks.items():
            self._read_to_end[place] = mark is not Mark.LIVE
            self._rest(place, now)

    def _rest(self, place: str, now: float) -> None:
        if self._read_to_end.get(place):
            for name, (reader, mark) in self._quiet.get(place, {}).items():
                self._watermark.update(reader, {}, {name: mark}, now=now)

    def seen_from(self, seen: Longs) -> Longs:
        """Return the times (ms) after which samples are seen, by how far their partitions were."""
        return np.where(seen > UNKNOWN, (seen - self._disorder) // _MS, np.int64(UNKNOWN))

    def snapshot(self) -> dict[str, Any]:
        """Return plain data to resume from."""
        return {
            "watermark": self._watermark.snapshot(),
            "readers": sorted(self._readers),
            "firsts": dict(self._firsts),
            "quiet": [
                (place, name, reader, mark.value)
                for place, names in self._quiet.items()
                for name, (reader, mark) in names.items()
            ],
        }
