"""Decode, name, spread: from a poll of messages to what each shard gets of it.

Every shard gets an item of every poll, also if none of its series is in it: the progress of event
time travels with the data, so no shard can close a window that another one's input still fills.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from time import perf_counter
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.contracts.decoder import Decoded, UndecodableError
from operators.contracts.distributions import Distributions, take_distributions
from operators.contracts.frames import SERIES, empty
from operators.contracts.items import (
    NO_SAMPLES,
    Named,
    Observed,
    Polled,
    Rejected,
    Samples,
    ShardBatch,
    Tapped,
    Timed,
)
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    LATE_POINTS,
    POINTS_DECODED,
    POINTS_SKIPPED,
    TENANTS_REFUSED,
)
from operators.contracts.watermark import UNKNOWN
from operators.decoders import DECODERS
from operators.kafka.fetching import last_offsets
from operators.kafka.low_water import LowWater
from operators.series.clocks import Clocks
from operators.series.progress import PartitionProgress
from operators.series.registry import MessageTenants, Resolved, SeriesRegistry
from operators.series.shuffle import spread, spread_distributions
from operators.series.times import JudgedTimes, both, judge_times, limits_of, reasons_of, skipped_of

__all__ = ["Decoding", "ShardBatch"]

_NO_SERIES: Final = empty(SERIES)
_HEARTBEAT: Final = 60_000_000_000
"""Nanoseconds of event time after which tenants without new series are named all the same."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """How a topic's messages are encoded, and whose they are; see ``flows.settings.Input``."""

    encoding: str
    tenant: str
    tenant_attribute: str | None = None
    counters: str | None = None
    service: str = ""
    classic: bool = False


class _Arrived(NamedTuple):
    """The points of a poll: rows of the registry, and the columns beside them."""

    rows: NDArray[np.int32]
    ts: NDArray[np.int64]
    start: NDArray[np.int64]
    value: NDArray[np.float64]
    distribution_rows: NDArray[np.int32]
    distributions: Distributions

    def only(self, points: NDArray[np.bool_], distributions: NDArray[np.bool_]) -> _Arrived:
        """Return the chosen ones."""
        return _Arrived(
            self.rows[points],
            self.ts[points],
            self.start[points],
            self.value[points],
            self.distribution_rows[distributions],
            take_distributions(self.distributions, np.flatnonzero(distributions)),
        )


class Decoding:
    """Callable for ``flat_map``: one ``Polled`` becomes a ``ShardBatch`` a shard, ``Named`` for the
    tenants that have new series, ``Timed`` for partitions, and ``Rejected``.

    Args:
        topics: the encoding and tenant of each topic.
        new_registry: makes the registry of a topic; each worker thread has its own, since a
            shard must get the names of a series from every worker that sends it points.
        shards: number of shards.
        future: nanoseconds that a point may be ahead of the timestamp that Kafka has of its message.
        disorder: nanoseconds by which clocks may differ before that is said.
        evict_after: nanoseconds of event time after which a shard forgets a quiet series. All are
            named to it again twice in that time, and after a silence.
        low_water: told which event times were met up to which offset.
        window: the finest resolution in nanoseconds. Points that come after their partition passed
            the end of their window are set apart; with 0 none is.
        tap: given all that a poll holds, for rules; see ``operators.rules.tap``.
    """

    def __init__(
        self,
        topics: Mapping[str, Encoded],
        new_registry: Callable[[Encoded], SeriesRegistry],
        *,
        shards: int,
        future: int,
        evict_after: int,
        disorder: int = 0,
        low_water: LowWater | None = None,
        window: int = 0,
        tap: Callable[..., list[Tapped]] | None = None,
    ) -> None:
        self._tap = tap
        self._low_water = low_water or LowWater()
        self._topics = topics
        self._new_registry = new_registry
        self._shards = shards
        self._future = future
        self._evict_after = evict_after
        self._disorder = disorder
        self._window = window
        self._progress = PartitionProgress()
        self._clocks: dict[int, Clocks] = {}  # by thread
        self._registries: dict[tuple[int, str], SeriesRegistry] = {}
        self._forget_after: dict[int, int] = {}
        # By thread and tenant: when something of it was last named, and when it was last told of.
        self._told: dict[int, dict[str, tuple[int, int]]] = {}

    def __call__(self, polled: Polled) -> Sequence[ShardBatch | Rejected | Named | Timed | Tapped]:
        """Decode a poll."""
        if not polled.values:
            return [*(self._tap(polled) if self._tap else ()), *self._to_all(polled, {})]
        started = perf_counter()
        encoding = self._topics[polled.topic].encoding
        decoded = DECODERS[encoding].decode(polled.values)
        places, numbers = _places(polled.partitions)
        caps, limits = limits_of(_times(polled), self._future)
        whole = decoded
        decoded, judged = _judge(whole, places, len(numbers), caps, limits, self._disorder)
        names = [f"{polled.topic}/{number}" for number in numbers.tolist()]
        seen = max(int(judged.largest.max()), UNKNOWN)
        if seen > UNKNOWN:
            self._follow(seen)
        before = self._progress.follow(names, places, caps, decoded.times)
        registry = self._registry(polled.topic)
        tenants = None
        if polled.tenants is not None:
            tenants = MessageTenants(polled.tenant_names, polled.tenants)
        resolved = registry.resolve(decoded, tenants)
        rejected = {**reasons_of(judged.faults, encoding), **decoded.rejected, **resolved.rejected}
        out: list[ShardBatch | Rejected | Named | Timed | Tapped] = []
        if self._tap is not None:
            of_header = None if polled.tenants is None else (polled.tenant_names, polled.tenants)
            out += self._tap(polled, decoded, places, names, caps, limits, of_header)
        if not (polled.replay or polled.known):
            _count(polled.topic, decoded, resolved, skipped_of(judged.faults, encoding))
            clocks = self._clocks.setdefault(threading.get_ident(), Clocks())
            out += clocks.follow(
                names, judged, _times(polled), places, partial(skipped_of, encoding=encoding),
                partial(_example, whole),
            )  # fmt: skip
            if rejected:
                DEAD_LETTERS.labels("input").inc(len(rejected))
                out.append(Rejected(polled.refused(rejected)))
        largest = _by_place(names, judged.largest)
        self._note(polled, _by_place(names, judged.latest))
        out += self._named(polled, resolved.new, seen)
        out += self._spread(polled, resolved, registry, largest, before)
        BATCH_SECONDS.labels("decode").observe(perf_counter() - started)
        return out

    def _registry(self, topic: str) -> SeriesRegistry:
        # Bytewax gives its threads a new Python state at each activation, which would empty a
        # threading.local; the thread's number stays.
        key = (threading.get_ident(), topic)
        registry = self._registries.get(key)
        if registry is None:
            registry = self._registries[key] = self._new_registry(self._topics[topic])
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

    def _note(self, polled: Polled, largest: Mapping[str, int]) -> None:
        """Tell from where on the poll matters to windows, see ``operators.kafka.low_water``."""
        for number, offset in last_offsets(polled.partitions, polled.offsets).items():
            place = f"{polled.topic}/{number}"
            self._low_water.note(place, offset + 1, largest.get(place, UNKNOWN))

    def _spread(
        self,
        polled: Polled,
        resolved: Resolved,
        registry: SeriesRegistry,
        largest: Mapping[str, int],
        before: NDArray[np.int64],
    ) -> list[ShardBatch]:
        """Give each shard its points, those apart by which their partition had passed before them."""
        points, distributions = resolved.points, resolved.distributions
        arrived = _Arrived(
            resolved.rows,
            points["ts"].to_numpy(),
            _starts(points["start"].to_numpy(), registry.startless, resolved.rows),
            points["value"].to_numpy(),
            resolved.distribution_rows,
            replace(
                distributions,
                start=_starts(distributions.start, registry.startless, resolved.distribution_rows),
            ),
        )
        behind: dict[int, dict[int, tuple[Samples, Observed | None]]] = {}
        if self._window:
            passed = before - self._disorder
            passed -= passed % self._window  # the end of the last window that is without them
            furthest = passed.max()
            # Nearly always there is nothing: then two minima are all that is looked at.
            if any(len(ts) and ts.min() < furthest for ts in (arrived.ts, distributions.ts)):
                late = _after(arrived.ts, passed[points["message"].to_numpy()])
                others = _after(distributions.ts, passed[distributions.message])
                every = np.concatenate([late, others])
                for end in np.unique(every[every > UNKNOWN]):
                    some = arrived.only(late == end, others == end)
                    for shard, part in self._by_shard(some, registry).items():
                        behind.setdefault(shard, {})[int(end)] = part
                arrived = arrived.only(late == UNKNOWN, others == UNKNOWN)
        return self._to_all(polled, largest, self._by_shard(arrived, registry), behind)

    def _by_shard(
        self, arrived: _Arrived, registry: SeriesRegistry
    ) -> dict[int, tuple[Samples, Observed | None]]:
        """Return what each shard gets, if it gets something."""
        samples, bounds = spread(
            arrived.rows,
            arrived.ts,
            arrived.start,
            arrived.value,
            registry.identities,
            registry.shards,
            self._shards,
        )
        observed: Mapping[int, Observed] = {}
        if len(arrived.distributions):
            observed = spread_distributions(
                arrived.distributions,
                arrived.distribution_rows,
                registry.identities,
                registry.shards,
            )
        ends = bounds.tolist()
        return {
            shard: (
                Samples._make(column[ends[shard] : ends[shard + 1]] for column in samples),
                observed.get(shard),
            )
            for shard in range(self._shards)
            if ends[shard] < ends[shard + 1] or shard in observed
        }

    def _named(self, polled: Polled, new: pl.DataFrame, seen: int) -> list[Named]:
        """Name what is new to those that may refuse it, and tell them now and then that time goes on."""
        parts: dict[str, pl.DataFrame] = {}
        if new.height:
            parts = {
                tenant: part for (tenant,), part in new.partition_by("tenant", as_dict=True).items()
            }
        told = self._told.setdefault(threading.get_ident(), {})
        told.update(dict.fromkeys(parts, (seen, seen)))
        for tenant, (named, when) in list(told.items()):
            if seen - named > self._evict_after:
                del told[tenant]  # what is active is named twice in that time
            elif seen - when >= _HEARTBEAT:
                parts[tenant] = _NO_SERIES
                told[tenant] = (named, seen)
        return [
            Named(tenant, part, seen, polled.reader, self._shards) for tenant, part in parts.items()
        ]

    def _to_all(
        self,
        polled: Polled,
        largest: Mapping[str, int],
        arrived: Mapping[int, tuple[Samples, Observed | None]] = MappingProxyType({}),
        behind: Mapping[int, Mapping[int, tuple[Samples, Observed | None]]] = MappingProxyType({}),
    ) -> list[ShardBatch]:
        return [
            ShardBatch(
                shard,
                polled.reader,
                largest,
                polled.marks,
                polled.replay,
                *arrived.get(shard, (NO_SAMPLES, None)),
                polled.passed,
                polled.known,
                polled.final,
                behind.get(shard, {}),
            )
            for shard in range(self._shards)
        ]


def _after(ts: NDArray[np.int64], passed: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return by which time the partition of each point had passed it, ``UNKNOWN`` if by none.

    ``passed`` is the end of the last window that had ended before the message of each.
    """
    return np.where(ts < passed, passed, UNKNOWN)


def _times(polled: Polled) -> NDArray[np.int64]:
    return polled.times if polled.times is not None else np.zeros(len(polled.values), np.int64)


def _starts(
    starts: NDArray[np.int64], startless: NDArray[np.bool_], rows: NDArray[np.int32]
) -> NDArray[np.int64]:
    """Return start times, 0 for those that mislead."""
    return np.where(startless[rows], 0, starts) if startless.any() else starts


def _places(partitions: NDArray[np.int32]) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """Return of each message the place of its partition among those that there are, and these."""
    numbers = np.flatnonzero(np.bincount(partitions))
    place_of = np.zeros(numbers[-1] + 1, np.int64)
    place_of[numbers] = np.arange(len(numbers))
    return place_of[partitions], numbers


def _by_place(names: Sequence[str], times: NDArray[np.int64]) -> dict[str, int]:
    return {name: time for name, time in zip(names, times.tolist(), strict=True) if time > UNKNOWN}


def _judge(
    decoded: Decoded,
    places: NDArray[np.int64],
    count: int,
    caps: NDArray[np.int64],
    limits: NDArray[np.int64],
    tolerance: int,
) -> tuple[Decoded, JudgedTimes]:
    """Return what is left of a poll without the points whose time can't be, and what was found."""
    points, distributions = decoded.points, decoded.distributions
    judged = judge_times(
        points["ts"].to_numpy(), points["message"].to_numpy(), places, count, caps, limits,
        tolerance,
    )  # fmt: skip
    if len(distributions):
        more = judge_times(
            distributions.ts, distributions.message, places, count, caps, limits, tolerance
        )
        judged = both(judged, more)
    if judged.kept.all():
        return decoded, judged
    return decoded.only(np.flatnonzero(judged.kept)), judged


def _example(decoded: Decoded, row: int) -> tuple[str, str]:
    """Return name and labels of the series that a point is of, those of its resource too."""
    try:
        described = decoded.describe(np.array([row]))
    except UndecodableError:
        return "", ""
    pairs = pl.concat([described.resources, described.attributes])
    labels = dict(zip(pairs["key"].to_list(), pairs["value"].to_list(), strict=True))
    return described.streams["name"][0], orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def _count(topic: str, decoded: Decoded, resolved: Resolved, untimely: Mapping[str, int]) -> None:
    POINTS_DECODED.labels(topic).inc(resolved.points.height + len(resolved.distributions))
    for reason, count in decoded.skipped.items():
        POINTS_SKIPPED.labels(reason).inc(count)
    for reason, count in untimely.items():
        (LATE_POINTS if reason == "future" else POINTS_SKIPPED).labels(reason).inc(count)
    if resolved.untold:
        TENANTS_REFUSED.labels(topic, "attribute").inc(resolved.untold)
