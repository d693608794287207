"""Decode, name, spread: from a poll of messages to what each shard gets of it.

Every shard gets an item of every poll, also if none of its series is in it: the progress of event
time travels with the data, so no shard can close a window that another one's input still fills.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter
from types import MappingProxyType
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.cardinality import Named
from operators.clock import Clock
from operators.decoders import DECODERS
from operators.fetching import last_offsets
from operators.frames import REJECTS, SERIES, empty
from operators.low_water import LowWater
from operators.monitoring import (
    BATCH_SECONDS,
    DEAD_LETTERS,
    LATE_POINTS,
    POINTS_DECODED,
    POINTS_SKIPPED,
    TENANTS_REFUSED,
)
from operators.series import MessageTenants, Resolved, SeriesRegistry
from operators.source import Polled
from operators.spread import (
    NO_SAMPLES,
    Observed,
    Samples,
    spread,
    spread_distributions,
    survey,
)
from operators.watermark import UNKNOWN, Mark

__all__ = ["Decoding", "Rejected", "ShardBatch"]

_NO_SERIES: Final = empty(SERIES)
_HEARTBEAT: Final = 60_000_000_000
"""Nanoseconds of event time after which tenants without new series are named all the same."""


@dataclass(frozen=True, slots=True)
class ShardBatch:
    """What one poll holds for one shard.

    ``largest`` is the largest event time that the poll brought, by partition (``topic/number``);
    ``marks``, ``replay`` and ``passed`` are the reader's.
    """

    shard: int
    reader: int
    largest: Mapping[str, int] = field(default_factory=dict)
    marks: Mapping[str, Mark] = field(default_factory=dict)
    replay: bool = False
    samples: Samples = NO_SAMPLES
    observed: Observed | None = None
    passed: int = UNKNOWN


@dataclass(frozen=True, slots=True)
class Rejected:
    """Messages that are not of their topic's format: a REJECTS frame."""

    frame: pl.DataFrame


@dataclass(frozen=True, slots=True)
class Encoded:
    """How a topic's messages are encoded, and whose they are; see ``flows.settings.Input``."""

    encoding: str
    tenant: str
    tenant_attribute: str | None = None
    counters: str | None = None


class Decoding:
    """Callable for ``flat_map``: one ``Polled`` becomes a ``ShardBatch`` a shard, ``Named`` for the
    tenants that have new series, and ``Rejected``.

    Args:
        topics: the encoding and tenant of each topic.
        new_registry: makes the registry of a topic; each worker thread has its own, since a
            shard must get the names of a series from every worker that sends it points.
        shards: number of shards.
        future: nanoseconds that a timestamp may be ahead of ``clock``.
        evict_after: nanoseconds of event time after which a shard forgets a quiet series. All are
            named to it again twice in that time, and after a silence.
        clock: tells what "ahead" means.
        low_water: told which event times were met up to which offset.
    """

    def __init__(
        self,
        topics: Mapping[str, Encoded],
        new_registry: Callable[[Encoded], SeriesRegistry],
        *,
        shards: int,
        future: int,
        evict_after: int,
        clock: Clock,
        low_water: LowWater | None = None,
    ) -> None:
        self._low_water = low_water or LowWater()
        self._topics = topics
        self._new_registry = new_registry
        self._shards = shards
        self._future = future
        self._evict_after = evict_after
        self._clock = clock
        self._registries: dict[tuple[int, str], SeriesRegistry] = {}
        self._forget_after: dict[int, int] = {}
        self._told: dict[int, dict[str, int]] = {}  # by thread and tenant, when it was last named

    def __call__(self, polled: Polled) -> Sequence[ShardBatch | Rejected | Named]:
        """Decode a poll."""
        if Mark.IDLE in polled.marks.values():
            self._name_again()
        if not polled.values:
            return self._to_all(polled, {})
        started = perf_counter()
        registry = self._registry(polled.topic)
        decoded = DECODERS[self._topics[polled.topic].encoding].decode(polled.values)
        tenants = None
        if polled.tenants is not None:
            tenants = MessageTenants(polled.tenant_names, polled.tenants)
        resolved = registry.resolve(decoded, tenants)
        rejected = {**decoded.rejected, **resolved.rejected}
        limit = self._clock.now() + self._future
        largest, ahead = _survey(polled, resolved, limit)
        rejected.update(_ahead_reasons(ahead))
        if not polled.replay:
            size = resolved.points.height + len(resolved.distributions)
            POINTS_DECODED.labels(polled.topic).inc(size)
            for reason, count in decoded.skipped.items():
                POINTS_SKIPPED.labels(reason).inc(count)
            if resolved.untold:
                TENANTS_REFUSED.labels(polled.topic, "attribute").inc(resolved.untold)
        out: list[ShardBatch | Rejected | Named] = []
        if rejected and not polled.replay:
            out.append(Rejected(_reject(polled, rejected)))
        self._note(polled, largest)
        seen = max(largest.values(), default=UNKNOWN)
        if largest:
            self._follow(seen)
        out += self._named(polled, resolved.new, seen)
        out += self._spread(polled, resolved, registry, largest, limit)
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
        """Tell from where on the poll matters to windows, see ``operators.low_water``."""
        for number, offset in last_offsets(polled.partitions, polled.offsets).items():
            place = f"{polled.topic}/{number}"
            self._low_water.note(place, offset + 1, largest.get(place, UNKNOWN))

    def _spread(
        self,
        polled: Polled,
        resolved: Resolved,
        registry: SeriesRegistry,
        largest: Mapping[str, int],
        limit: int,
    ) -> list[ShardBatch]:
        points = resolved.points
        samples, bounds = spread(
            resolved.rows,
            points["ts"].to_numpy(),
            points["start"].to_numpy(),
            points["value"].to_numpy(),
            registry.identities,
            registry.shards,
            self._shards,
            limit,
        )
        observed: Mapping[int, Observed] = {}
        if len(resolved.distributions):
            observed = spread_distributions(
                resolved.distributions,
                resolved.distribution_rows,
                registry.identities,
                registry.shards,
                limit,
            )
        ends = bounds.tolist()
        return self._to_all(
            polled,
            largest,
            samples={
                shard: Samples._make(column[ends[shard] : ends[shard + 1]] for column in samples)
                for shard in range(self._shards)
            },
            observed=observed,
        )

    def _named(self, polled: Polled, new: pl.DataFrame, seen: int) -> list[Named]:
        """Name what is new to those that may refuse it, and tell them now and then that time goes on."""
        parts: dict[str, pl.DataFrame] = {}
        if new.height:
            parts = {
                tenant: part for (tenant,), part in new.partition_by("tenant", as_dict=True).items()
            }
        told = self._told.setdefault(threading.get_ident(), {})
        silent = [t for t, when in told.items() if t not in parts and seen - when >= _HEARTBEAT]
        parts.update(dict.fromkeys(silent, _NO_SERIES))
        told.update(dict.fromkeys(parts, seen))
        return [
            Named(tenant, part, seen, polled.reader, self._shards) for tenant, part in parts.items()
        ]

    def _to_all(
        self,
        polled: Polled,
        largest: Mapping[str, int],
        samples: Mapping[int, Samples] = MappingProxyType({}),
        observed: Mapping[int, Observed] = MappingProxyType({}),
    ) -> list[ShardBatch]:
        return [
            ShardBatch(
                shard,
                polled.reader,
                largest,
                polled.marks,
                polled.replay,
                samples.get(shard, NO_SAMPLES),
                observed.get(shard),
                polled.passed,
            )
            for shard in range(self._shards)
        ]


def _survey(
    polled: Polled, resolved: Resolved, limit: int
) -> tuple[dict[str, int], NDArray[np.int64]]:
    """Return the largest event time by partition, and how many points of each message are ahead."""
    numbers = np.flatnonzero(np.bincount(polled.partitions))
    place_of = np.zeros(numbers[-1] + 1, np.int64)
    place_of[numbers] = np.arange(len(numbers))
    places = place_of[polled.partitions]
    points, distributions = resolved.points, resolved.distributions
    found = survey(
        points["ts"].to_numpy(), points["message"].to_numpy(), places, len(numbers), limit
    )
    latest, ahead = found
    if len(distributions):
        more = survey(distributions.ts, distributions.message, places, len(numbers), limit)
        latest, ahead = np.maximum(latest, more.largest), ahead + more.ahead
    largest = {
        f"{polled.topic}/{number}": time
        for number, time in zip(numbers.tolist(), latest.tolist(), strict=True)
        if time > UNKNOWN
    }
    return largest, ahead


def _ahead_reasons(ahead: NDArray[np.int64]) -> dict[int, str]:
    """Return why a message is a dead letter although the rest of it went on."""
    messages = np.flatnonzero(ahead)
    if not len(messages):
        return {}
    LATE_POINTS.labels("future").inc(int(ahead.sum()))
    return {
        int(message): f"{ahead[message]} points are further ahead of this machine's clock than "
        "rollups.future allows; the others of the message went on"
        for message in messages
    }


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
