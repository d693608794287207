"""The operator of the rules: one keyed state a shard evaluates its groups as event time passes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from time import monotonic, perf_counter
from typing import Any, Final, Protocol

import polars as pl

from operators.bytewax import KeyedStream, keyed
from operators.contracts.alert import AlertEvent
from operators.contracts.engine import KeyedLogic
from operators.contracts.events import event_frame
from operators.contracts.items import Events, Recorded, SampleBatch
from operators.contracts.monitoring import (
    BATCH_SECONDS,
    RULE_FAILURES,
    RULE_SERIES,
    RULE_SERIES_REFUSED,
)
from operators.contracts.snapshots import require_version
from operators.contracts.watermark import UNKNOWN
from operators.kafka.low_water import LowWater
from operators.rules.arrivals import Progress
from operators.rules.events import event_of, recorded_rollups
from operators.rules.loading import Rules
from operators.rules.running import RunningRules, RunningSettings, Ticked

__all__ = ["RulesLogic", "RulesSettings", "rules", "running_settings"]

_log = logging.getLogger(__name__)

_VERSION: Final = 1
_MS: Final = 1_000_000
_MARGIN: Final = 120_000_000_000
"""How much more (ns) is read again after a restart than rules look back: shards of other processes
may be a little behind."""


class RulesSettings(Protocol):
    """What evaluating needs to know; ``flows.settings.Rules`` is one. Times in nanoseconds."""

    @property
    def disorder(self) -> int:
        """How far a point may lag behind a later one of its partition."""
        ...

    @property
    def partition_lag(self) -> int:
        """How far a partition that is read to its end may be behind others and be waited for."""
        ...

    @property
    def interval(self) -> int:
        """Of groups that say none."""
        ...

    @property
    def lookback(self) -> int:
        """How old the last sample of a series may be."""
        ...

    @property
    def external_labels(self) -> Mapping[str, str]:
        """Labels of all alerts."""
        ...

    @property
    def series(self) -> int:
        """How many series a tenant may have in a shard."""
        ...

    @property
    def keep_unknown(self) -> bool:
        """Whether alerts go on firing while the series that they came of are gone."""
        ...

    @property
    def external_url(self) -> str:
        """Where people look at expressions."""
        ...


def running_settings(settings: RulesSettings) -> RunningSettings:
    """Return how rules are evaluated."""
    return RunningSettings(
        settings.lookback // _MS,
        settings.interval // _MS,
        settings.external_labels,
        settings.external_url,
        settings.keep_unknown,
        settings.series,
    )


Watch = Callable[[int, str, RunningRules, threading.RLock], None]
"""Told of the rules of a shard and tenant, for those that ask about them while the flow runs."""


def rules(
    step_id: str,
    up: KeyedStream[SampleBatch],
    current: Rules,
    settings: RulesSettings,
    *,
    readers: int,
    tenants: Sequence[str],
    window: int,
    rollup_shards: int,
    low_water: LowWater,
    watch: Watch | None = None,
) -> KeyedStream[Events | Recorded]:
    """Evaluate rules over the samples of each shard.

    Args:
        step_id: name of the step.
        up: samples by shard.
        current: the rules as they are now.
        settings: how they are evaluated.
        readers: of the flow that took the samples.
        tenants: whose rules are evaluated from the beginning, also while they have no samples.
        window: length (ns) of the rollups that recorded series become; 0 for none.
        rollup_shards: number of shards of rollups.
        low_water: told from which event time on samples are needed.
        watch: told of the rules of each tenant.
    """
    behind = _Behind()

    def build(state: dict[str, Any] | None) -> RulesLogic:
        return RulesLogic(
            current, settings, readers, window, rollup_shards, low_water, state, tenants, behind,
            watch,
        )  # fmt: skip

    return keyed(step_id, up, build)


class _Behind:
    """How far the shards of one process are: what the furthest behind needs is read again."""

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def tell(self, shard: int, time: int) -> int:
        """Say how far (ns) a shard is; return how far all are."""
        self._times[shard] = time
        return min(self._times.values())


class RulesLogic(KeyedLogic[SampleBatch, "Events | Recorded"]):
    """Evaluates the groups of one shard.

    Raises:
        RuntimeError: the state is of another version.
    """

    def __init__(
        self,
        current: Rules,
        settings: RulesSettings,
        readers: int,
        window: int,
        rollup_shards: int,
        low_water: LowWater,
        state: dict[str, Any] | None,
        tenants: Sequence[str] = (),
        behind: _Behind | None = None,
        watch: Watch | None = None,
    ) -> None:
        require_version(state, "rules", _VERSION)
        self._current = current
        self._loaded = current()
        self._settings = settings
        self._window = window
        self._rollup_shards = rollup_shards
        self._low_water = low_water
        self._behind = behind or _Behind()
        self._watch = watch
        self.lock = threading.RLock()
        self._refused: dict[str, int] = {}
        self.evaluations = 0
        """How often a group was evaluated."""
        self.failures: dict[tuple[str, str, str], tuple[int, str]] = {}
        """How often a rule had no result, and why the last time, by file, group and rule."""
        self._progress = Progress(
            readers,
            settings.disorder,
            settings.partition_lag,
            state["progress"] if state else None,
        )
        self._shard: int | None = state["shard"] if state else None
        self._ticked: int = state["ticked"] if state else UNKNOWN
        self._fixed = tuple(tenants)
        self.tenants: dict[str, RunningRules] = {}
        if state is not None:
            for tenant, of_tenant in state["tenants"].items():
                self._running(tenant).restore(of_tenant)

    def on_batch(self, items: list[SampleBatch]) -> list[Events | Recorded]:
        """Take in samples; evaluate what is due."""
        started = perf_counter()
        with self.lock:
            now = monotonic()
            for item in items:
                self._shard = item.shard
                if item.samples.height:
                    tells = item.samples["reader"].is_not_null()
                    self._add(item.samples.filter(~tells))
                    if not item.replay:
                        self._progress.tell(item.samples.filter(tells), item.place, now)
                self._progress.hear(item.marks, now)
            self._reload()
            made = self._evaluate(self._progress.watermark)
        BATCH_SECONDS.labels("rules").observe(perf_counter() - started)
        return made

    def on_end(self) -> list[Events | Recorded]:
        """Evaluate up to the last sample: no other will come."""
        with self.lock:
            return self._evaluate(self._progress.largest)

    def snapshot(self) -> dict[str, Any]:
        """Return plain data, with its version."""
        with self.lock:
            if self._shard is not None and self._ticked > UNKNOWN:
                reached = self._behind.tell(self._shard, self._ticked)
                before = reached - self._loaded.reach * _MS - _MARGIN
                self._low_water.freeze(reached, before)
            return {
                "version": _VERSION,
                "shard": self._shard,
                "ticked": self._ticked,
                "progress": self._progress.snapshot(),
                "tenants": {name: each.snapshot() for name, each in self.tenants.items()},
            }

    # The tenants.

    def _groups(self) -> tuple[Any, ...]:
        return self._loaded.shards[self._shard] if self._shard is not None else ()

    def _running(self, tenant: str) -> RunningRules:
        found = self.tenants.get(tenant)
        if found is None:
            found = RunningRules(self._groups(), running_settings(self._settings))
            self.tenants[tenant] = found
            if self._watch is not None:
                self._watch(self._shard or 0, tenant, found, self.lock)
        return found

    def _add(self, samples: pl.DataFrame) -> None:
        if not samples.height:
            return
        for (tenant,), part in samples.partition_by(
            "tenant", as_dict=True, maintain_order=True
        ).items():
            self._running(str(tenant)).add(part, self._progress)

    def _reload(self) -> None:
        """Go by the rules as they are now."""
        loaded = self._current()
        if loaded.version == self._loaded.version:
            return
        self._loaded = loaded
        since = max(self._ticked, 0) // _MS + 1
        for running in self.tenants.values():
            running.replace(self._groups(), since)

    # Evaluating.

    def _evaluate(self, until: int) -> list[Events | Recorded]:
        """Evaluate all that is due until an event time (ns)."""
        first = self._progress.first
        if until <= self._ticked or UNKNOWN in (until, first):
            return []
        out: list[Events | Recorded] = []
        for tenant in self._fixed:
            self._running(tenant).begin(-(-first // _MS))
        for tenant, running in self.tenants.items():
            running.begin(running.oldest)
            out += self._of_tenant(tenant, running, until // _MS)
            RULE_SERIES.labels(str(self._shard), tenant).set(running.series)
            self._tell_refused(tenant, running)
        self._ticked = until
        return out

    def _tell_refused(self, tenant: str, running: RunningRules) -> None:
        """Count series beyond the limit, and say so when there are the first of them."""
        told = self._refused.get(tenant, 0)
        if running.refused == told:
            return
        RULE_SERIES_REFUSED.labels(tenant).inc(running.refused - told)
        if not told:
            _log.error(
                "tenant %s has more than %d series (rules.series) that rules of shard %s look at: "
                "new ones are refused, as %s; make a rule select less, or raise it",
                tenant, self._settings.series, self._shard, running.refused_example,
            )  # fmt: skip
        self._refused[tenant] = running.refused

    def _of_tenant(self, tenant: str, running: RunningRules, until: int) -> list[Events | Recorded]:
        out: list[Events | Recorded] = []
        events: list[tuple[AlertEvent, int]] = []
        for one in running.ended(until):
            events += self._events(tenant, one)
        while (time := running.due(until)) is not None:
            if running.skip(time, until) is not None:
                continue
            ticked = running.tick(time)
            self.evaluations += len(ticked)
            recorded = []
            for one in ticked:
                if one.group.shadow:
                    continue
                events += self._events(tenant, one)
                recorded += list(one.recorded)
            if self._window and recorded:
                out += recorded_rollups(
                    running.store, recorded, tenant, self._window, self._rollup_shards
                )
            running.sweep(time)
        if events:
            out.append(Events(event_frame(events)))
        return out

    def _events(self, tenant: str, ticked: Ticked) -> list[tuple[AlertEvent, int]]:
        group, settings = ticked.group, self._settings
        for failure in ticked.failures:
            key = group.file, group.name, failure.rule
            RULE_FAILURES.labels(*key).inc()
            self.failures[key] = self.failures.get(key, (0, ""))[0] + 1, failure.reason
            _log.warning(
                '%s: group "%s": rule "%s": no result at %d: %s',
                group.file, group.name, failure.rule, ticked.time, failure.reason,
            )  # fmt: skip
        return [
            event_of(change, group, tenant, settings.external_labels, settings.external_url)
            for change in ticked.changes
        ]
