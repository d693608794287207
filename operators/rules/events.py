"""Alert events of rules, and what they record as rollups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from urllib.parse import quote

import numpy as np
import orjson
import polars as pl

from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.frames import DEFAULT_TENANT, KINDS, SCORES, shard_of
from operators.contracts.items import Recorded
from operators.rules.alerts import RESOLVED, RuleAlertChange
from operators.rules.files import FileGroup, Rule
from operators.rules.groups import RecordedSamples
from operators.rules.label_sets import NAME
from operators.rules.store import SeriesStore
from operators.series.labels import combined, hashes

__all__ = ["event_of", "recorded_rollups"]

_MS = 1_000_000


def event_of(
    change: RuleAlertChange,
    group: FileGroup,
    tenant: str,
    external_labels: Mapping[str, str],
    external_url: str,
) -> tuple[AlertEvent, int]:
    """Return the event of an alert that began to fire or was resolved, and its event time (ns)."""
    alert = change.alert
    rule = rule_of(group, alert.labels["alertname"])
    labels = {**external_labels, **alert.labels}
    if tenant != DEFAULT_TENANT:
        labels["tenant"] = tenant
    resolved = change.status == RESOLVED
    started = alert.fired_at if alert.fired_at is not None else change.time
    url = f"{external_url}/graph?g0.expr={quote(rule.expression, safe='')}&g0.tab=1"
    event = alert_event(
        status="resolved" if resolved else "firing",
        kind="rule",
        labels=labels,
        annotations=alert.annotations,
        starts_at=started * _MS,
        ends_at=change.time * _MS if resolved else None,
        value=alert.value if math.isfinite(alert.value) else None,
        generator_url=url if external_url and rule.expression else "",
        evidence={
            "file": group.file,
            "group": group.name,
            "expression": rule.expression,
            "active_at": alert.active_at,
        },
    )
    return event, change.time * _MS


def rule_of(group: FileGroup, name: str) -> Rule:
    """Return the first alerting rule of a name."""
    return next(rule for rule in group.rules if rule.is_alert and rule.name == name)


def recorded_rollups(
    store: SeriesStore,
    recorded: Iterable[RecordedSamples],
    tenant: str,
    window: int,
    shards: int,
) -> list[Recorded]:
    """Return samples that rules made as rollups of one point each, by the shard of their series.

    Args:
        store: has the series.
        recorded: the samples.
        tenant: whose they are.
        window: length (ns) of the windows; a sample is in the one that its time falls into.
        shards: number of shards of rollups.
    """
    parts: Sequence[RecordedSamples] = [part for part in recorded if len(part.rows)]
    if not parts:
        return []
    rows = np.concatenate([part.rows for part in parts])
    values = np.concatenate([part.values for part in parts])
    times = np.concatenate([np.full(len(p.rows), p.time * _MS, np.int64) for p in parts])
    kept = np.flatnonzero(np.isfinite(values))
    sets = store.labels(rows[kept])
    texts = sets.symbols.texts
    names = [texts[number] for number in sets.column(NAME)]
    labels = [
        orjson.dumps({k: v for k, v in sets.labels(row).items() if k != NAME}).decode()
        for row in range(sets.size)
    ]
    frame = pl.DataFrame({"tenant": tenant, "name": names, "labels": labels, "unit": ""})
    series = combined(hashes(frame["tenant"]), hashes(frame["name"]), hashes(frame["labels"]))
    value = pl.Series(values[kept])
    frame = frame.with_columns(
        series=pl.Series(series),
        kind=pl.lit(KINDS[0]),
        window=pl.lit(window),
        window_start=pl.Series(times[kept] // window * window),
        count=pl.lit(1),
        revision=pl.lit(0),
        **dict.fromkeys(("sum", "min", "max", "mean", "last"), value),
    )
    missing = [pl.lit(None, kind).alias(n) for n, kind in SCORES.items() if n not in frame.columns]
    frame = frame.with_columns(*missing).select(SCORES.names()).cast(SCORES)
    of = shard_of(series, shards)
    return [Recorded(int(shard), frame.filter(pl.Series(of == shard))) for shard in np.unique(of)]
