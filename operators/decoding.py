"""Decode, name, pre-aggregate: from a poll of messages to what each shard gets of it.

Every shard gets an item of every poll, also if none of its series is in it: the progress of event
time travels with the data, so no shard can close a window that another one's input still fills.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.clock import Clock
from operators.decoders import DECODERS
from operators.frames import PARTIALS, REJECTS, SERIES, empty
from operators.monitoring import BATCH_SECONDS, DEAD_LETTERS, POINTS_DECODED, POINTS_SKIPPED
from operators.partials import pre_aggregate, split_by_shard
from operators.series import Resolved, SeriesRegistry
from operators.source import Mark, Polled

__all__ = ["Decoding", "Rejected", "ShardBatch"]

_NO_PARTIALS: Final = empty(PARTIALS)
_NO_SERIES: Final = empty(SERIES)


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """What one poll holds for one shard.

    ``largest`` is the largest event time that the poll brought, by partition (``topic/number``);
    ``marks`` are the reader's. ``future`` are runs whose timestamps can't be true yet.
    """

    shard: int
    reader: int
    largest: Mapping[str, int]
    marks: Mapping[str, Mark]
    partials: pl.DataFrame
    series: pl.DataFrame
    future: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Rejected:
    """Messages that are not of their topic's format: a REJECTS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Encoded:
    """How a topic's messages are encoded, and whose they are."""

    encoding: str
    tenant: str


class Decoding:
    """Callable for ``flat_map``: one ``Polled`` becomes a ``ShardBatch`` a shard, and ``Rejected``.

    Args:
        topics: the encoding and tenant of each topic.
        new_registry: makes the registry of a tenant; each worker thread has its own, since a
            shard must get the names of a series from every worker that sends it points.
        window: length of the finest window, in nanoseconds.
        shards: number of shards.
        future: nanoseconds that a timestamp may be ahead of ``clock``.
        evict_after: nanoseconds of event time after which a shard forgets a quiet series. All are
            named to it again twice in that time, and after a silence.
        clock: tells what "ahead" means.
    """

    def __init__(
        self,
        topics: Mapping[str, Encoded],
        new_registry: Callable[[str], SeriesRegistry],
        *,
        window: int,
        shards: int,
        future: int,
        evict_after: int,
        clock: Clock,
    ) -> None:
        self._topics = topics
        self._new_registry = new_registry
        self._window = window
        self._shards = shards
        self._future = future
        self._evict_after = evict_after
        self._clock = clock
        self._registries: dict[tuple[int, str], SeriesRegistry] = {}
        self._forget_after: dict[int, int] = {}

    def __call__(self, polled: Polled) -> Sequence[ShardBatch | Rejected]:
        """Decode a poll."""
        if Mark.IDLE in polled.marks.values():
            self._name_again()
        if not polled.values:
            return self._spread(polled, {}, {}, {}, {})
        started = perf_counter()
        registry = self._registry(polled.topic)
        decoded = DECODERS[self._topics[polled.topic].encoding].decode(polled.values)
        resolved = registry.resolve(decoded)
        POINTS_DECODED.labels(polled.topic).inc(resolved.points.height)
        for reason, count in decoded.skipped.items():
            POINTS_SKIPPED.labels(reason).inc(count)
        out: list[ShardBatch | Rejected] = []
        rejected = {**decoded.rejected, **resolved.rejected}
        if rejected:
            out.append(Rejected(_reject(polled, rejected)))
        out += self._aggregate(polled, resolved, registry)
        BATCH_SECONDS.labels("decode").observe(perf_counter() - started)
        return out

    def _registry(self, topic: str) -> SeriesRegistry:
        # Bytewax gives its threads a new Python state at each activation, which would empty a
        # threading.local; the thread's number stays.
        key = (threading.get_ident(), topic)
        registry = self._registries.get(key)
        if registry is None:
            registry = self._registries[key] = self._new_registry(self._topics[topic].tenant)
        return registry

    def _follow(self, now: int) -> None:
        """Name all series again now and then, so that no shard has forgotten one in use."""
        thread = threading.get_ident()
        if now >= self._forget_after.setdefault(thread, now + self._evict_after // 2):
            self._name_again()
            self._forget_after[thread] = now + self._evict_after // 2

    def _name_again(self) -> None:
        thread = threading.get_ident()
        for key in [key for key in self._registries if key[0] == thread]:
            del self._registries[key]

    def _aggregate(
        self, polled: Polled, resolved: Resolved, registry: SeriesRegistry
    ) -> list[ShardBatch]:
        points, rows = resolved.points, resolved.rows
        limit = self._clock.now() + self._future
        ts = points["ts"].to_numpy()
        future: Mapping[int, pl.DataFrame] = {}
        if len(ts) and ts.max() > limit:
            ahead = ts > limit
            future = self._by_shard(points.filter(ahead), rows[ahead], registry)
            points, rows = points.filter(~ahead), rows[~ahead]
        largest = _largest(polled, points)
        if largest:
            self._follow(max(largest.values()))
        partials = self._by_shard(points, rows, registry)
        named = resolved.new
        series = dict(split_by_shard(named, named["series"].to_numpy(), self._shards))
        return self._spread(polled, largest, partials, series, future)

    def _by_shard(
        self, points: pl.DataFrame, rows: NDArray[np.int32], registry: SeriesRegistry
    ) -> dict[int, pl.DataFrame]:
        frame, row = pre_aggregate(points, rows, registry.identities, registry.kinds, self._window)
        return dict(split_by_shard(frame, registry.series[row], self._shards))

    def _spread(
        self,
        polled: Polled,
        largest: Mapping[str, int],
        partials: Mapping[int, pl.DataFrame],
        series: Mapping[int, pl.DataFrame],
        future: Mapping[int, pl.DataFrame],
    ) -> list[ShardBatch]:
        return [
            ShardBatch(
                shard,
                polled.reader,
                largest,
                polled.marks,
                partials.get(shard, _NO_PARTIALS),
                series.get(shard, _NO_SERIES),
                future.get(shard, _NO_PARTIALS),
            )
            for shard in range(self._shards)
        ]


def _largest(polled: Polled, points: pl.DataFrame) -> dict[str, int]:
    """Return the largest event time by partition."""
    if not points.height:
        return {}
    numbers = np.unique(polled.partitions)
    if len(numbers) == 1:
        return {f"{polled.topic}/{numbers[0]}": int(points["ts"].max())}  # type: ignore[arg-type]
    ts = points["ts"].to_numpy()
    of_point = polled.partitions[points["message"].to_numpy()]
    found = {}
    for number in np.unique(of_point):
        found[f"{polled.topic}/{number}"] = int(ts[of_point == number].max())
    return found


def _reject(polled: Polled, rejected: Mapping[int, str]) -> pl.DataFrame:
    DEAD_LETTERS.labels("input").inc(len(rejected))
    indexes = sorted(rejected)
    return pl.DataFrame(
        {
            "origin": ["input"] * len(indexes),
            "topic": [polled.topic] * len(indexes),
            "partition": polled.partitions[indexes],
            "offset": polled.offsets[indexes],
            "reason": [rejected[index] for index in indexes],
            "payload": [polled.values[index] for index in indexes],
        },
        schema=REJECTS,
    )
