"""Runs the steps from messages to rollups without a broker or an engine, and crashes when it is told to."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
import polars as pl

from flows.settings import Settings
from flows.traces import held_by_traces
from operators.contracts.clock import SystemClock
from operators.contracts.frames import shard_of
from operators.contracts.items import (
    Admitted,
    Candidates,
    Closed,
    Events,
    Kept,
    Late,
    Named,
    Polled,
    ShardBatch,
    SpanBatch,
)
from operators.contracts.watermark import UNKNOWN, Mark
from operators.kafka.low_water import LowWater
from operators.series.enrichment import Enricher
from operators.traces.decoding import EncodedSpans, TraceDecoding
from operators.traces.operations import Operations
from operators.traces.sampling import SamplingLogic
from operators.traces.step import TracingLogic
from operators.windows.step import WindowLogic
from tests.operators.traces.shop import SECOND, otlp

TENANTS = ("default", "other")


class Driver:
    """A flow of one reader, with some shards of each kind.

    Attributes:
        late: what came too late, as rows of the late topic.
        tenants: of each the last revision of each series and window, by metric, labels, window and start.
    """

    def __init__(
        self,
        partitions: int = 1,
        *,
        traces: int = 2,
        series: int = 3,
        hold: int = 30,
        sampling: Any = None,
    ) -> None:
        self.settings = Settings(
            inputs=({"topic": "spans", "signal": "traces", "encoding": "otlp_proto"},),
            rollups={"shards": series, "windows": ("10s", "1m")},
            traces={"shards": traces, "hold": f"{hold}s", "sampling": sampling},
        )  # type: ignore[arg-type]
        self._log: list[list[tuple[bytes, int, int]]] = [[] for _ in range(partitions)]
        self._read = [0] * partitions
        self.late: list[dict[str, Any]] = []
        self.tenants: dict[str, dict[tuple[str, str, int, int], dict[str, Any]]] = {
            tenant: {} for tenant in TENANTS
        }
        self.kept: list[pl.DataFrame] = []
        self.events: list[bytes] = []
        self._start({}, {}, {})

    def _start(
        self, traced: dict[int, Any], windowed: dict[int, Any], sampled: dict[int, Any]
    ) -> None:
        settings, rules = self.settings, self.settings.tracing
        self._low_water = LowWater(settings.rollups.windows[-1], 0, held_by_traces(settings))
        enrichment = Enricher(settings.enrichment)
        self._decode = TraceDecoding(
            {"spans": EncodedSpans("otlp_proto", "default")},
            lambda topic: Operations(
                topic.tenant,
                wanted=settings.traces.sampling.attributes if settings.traces.sampling else {},
            ),
            shards=settings.traces.shards, future=settings.rollups.future, content=rules.sampling is not None,
            low_water=self._low_water,
        )  # fmt: skip
        self._traces = {
            shard: TracingLogic(rules, enrichment, 1, SystemClock(), traced.get(shard))
            for shard in range(settings.traces.shards)
        }
        if rules.sampling is not None:
            self._sampling = {
                shard: SamplingLogic(rules.sampling, rules.shards, 10**12, sampled.get(shard))
                for shard in range(rules.shards)
            }
        self._windows = {
            shard: WindowLogic(
                settings.rollups_of_traces, settings.traces.shards, SystemClock(), windowed.get(shard),
                self._low_water,
            )
            for shard in range(settings.rollups_of_traces.shards)
        }  # fmt: skip

    @property
    def rollups(self) -> dict[tuple[str, str, int, int], dict[str, Any]]:
        """Those of the default tenant."""
        return self.tenants[TENANTS[0]]

    def send(
        self,
        partition: int,
        calls: Sequence[Any],
        at: int | None = None,
        tenant: str = TENANTS[0],
    ) -> None:
        """Write a message of spans; it has a time in Kafka that is after all of them."""
        time = at if at is not None else max(call.ended for call in calls) + SECOND
        self._log[partition].append((otlp(calls), time, TENANTS.index(tenant)))

    def poll(self, most: int = 1000) -> None:
        """Read what there is of each partition, ``most`` messages at once."""
        for partition, log in enumerate(self._log):
            while self._read[partition] < len(log):
                first, end = self._read[partition], min(len(log), self._read[partition] + most)
                self._take(partition, first, end)
                self._read[partition] = end

    def _take(
        self, partition: int, first: int, end: int, *, replay: bool = False, marks: Any = None
    ) -> None:
        messages = self._log[partition][first:end]
        if marks is None:
            marks = {} if replay else {f"spans/{p}": Mark.LIVE for p in range(len(self._log))}
        self._go(
            Polled(
                0, "spans", [value for value, _, _ in messages],
                np.full(len(messages), partition, np.int32), np.arange(first, end),
                marks, replay,
                passed=self._low_water.reached[0],
                times=np.array([time for _, time, _ in messages], np.int64),
                tenants=np.array([tenant for _, _, tenant in messages], np.int32),
                tenant_names=TENANTS,
            )
        )  # fmt: skip

    def _go(self, polled: Polled) -> None:
        for item in self._decode(polled):
            if isinstance(item, Events):
                self.events += item.frame["event"].to_list()
                continue
            assert isinstance(item, SpanBatch), item
            self._to_windows(self._traces[item.shard].on_batch([item]))

    def _to_windows(self, items: Sequence[Any]) -> None:
        shards = self.settings.rollups_of_traces.shards
        for item in items:
            if isinstance(item, ShardBatch):
                self._keep(self._windows[item.shard].on_batch([item]))
            elif isinstance(item, Named):
                where = shard_of(item.series["series"].to_numpy(), shards)
                for shard in range(shards):
                    admitted = item.series.filter(pl.Series(where == shard))
                    if admitted.height:
                        self._keep(
                            self._windows[shard].on_batch([Admitted(shard, item.tenant, admitted)])
                        )
            elif isinstance(item, Candidates):
                self._to_windows(self._sampling[item.shard].on_batch([item]))
            elif isinstance(item, Kept):
                self.kept.append(item.spans)
            else:
                assert isinstance(item, Late)
                self.late += item.frame.rows(named=True)

    def _keep(self, items: Sequence[Any]) -> None:
        for item in items:
            assert not isinstance(item, Late), item
            if isinstance(item, Closed):
                for row in item.frame.rows(named=True):
                    key = (row["name"], row["labels"], row["window"], row["window_start"])
                    rollups = self.tenants[row["tenant"]]
                    before = rollups.get(key)
                    if before is None or (row["count"], row["revision"]) >= (
                        before["count"],
                        before["revision"],
                    ):
                        rollups[key] = row

    def crash(self) -> None:
        """Go on from a snapshot of now, as another process would."""
        offsets = {
            p: self._low_water.offset(f"spans/{p}", self._low_water.reached[1])
            if f"spans/{p}" in self._low_water._open else 0
            for p in range(len(self._log))
        }  # fmt: skip
        traced = {shard: copy.deepcopy(logic.snapshot()) for shard, logic in self._traces.items()}
        windowed = {
            shard: copy.deepcopy(logic.snapshot()) for shard, logic in self._windows.items()
        }
        sampled = {}
        if self.settings.tracing.sampling is not None:
            sampled = {s: copy.deepcopy(logic.snapshot()) for s, logic in self._sampling.items()}
        self._start(traced, windowed, sampled)
        for partition, offset in offsets.items():
            self._low_water.begin(f"spans/{partition}", offset)
            if offset < self._read[partition]:
                self._take(partition, offset, self._read[partition], replay=True)

    def follow(self) -> None:
        """Note offsets from now on, as a reader does at its start."""
        for partition in range(len(self._log)):
            self._low_water.begin(f"spans/{partition}", 0)

    def end(self) -> None:
        """Read to the end, and be told that there is nothing more."""
        self.poll()
        self._take(0, 0, 0, marks={f"spans/{p}": Mark.ENDED for p in range(len(self._log))})
        for logic in self._windows.values():
            self._keep(logic.on_end())

    def told(
        self, window: int = 10 * SECOND, tenant: str = TENANTS[0]
    ) -> dict[Any, tuple[float, float]]:
        """Return count and sum of all series and windows, as ``shop.told`` has them."""
        found = {}
        for (name, labels, length, start), row in self.tenants[tenant].items():
            if length == window:
                key = (name, tuple(sorted(orjson.loads(labels).items())), start)
                histogram = row["kind"].endswith("histogram")
                found[key] = (row["count"], row["sum"]) if histogram else (None, row["increase"])
        return found


def by_metric(found: dict[Any, Any]) -> dict[str, int]:
    """Return how many there are of each metric."""
    counts: dict[str, int] = defaultdict(int)
    for name, _, _ in found:
        counts[name] += 1
    return counts


__all__ = ["TENANTS", "UNKNOWN", "Driver", "by_metric"]
