"""Alert events of rules, and what they record as rollups."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.contracts.alert import AlertEvent, alert_event
from operators.contracts.frames import (
    DEFAULT_TENANT,
    DELTA_HISTOGRAM,
    GAUGE,
    KINDS,
    QUANTILES,
    SCORES,
    shard_of,
)
from operators.contracts.items import Recorded
from operators.rules.alerts import RESOLVED, RuleAlertChange
from operators.rules.files import FileGroup, Rule
from operators.rules.groups import RecordedSamples
from operators.rules.label_sets import NAME, Ids
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

    A native histogram is a row of a histogram: how many observations it holds (a rate of some a
    second as the nearest whole number), their sum, mean and percentiles.

    Args:
        store: has the series.
        recorded: the samples.
        tenant: whose they are.
        window: length (ns) of the windows; a sample is in the one that its time falls into.
        shards: number of shards of rollups.
    """
    parts = list(recorded)
    made = [frame for frame in (_numbers(store, parts), _histograms(store, parts)) if frame.height]
    if not made:
        return []
    frame = pl.concat(made, how="diagonal").with_columns(
        tenant=pl.lit(tenant),
        unit=pl.lit(""),
        window=pl.lit(window),
        window_start=pl.col("time") // window * window,
        revision=pl.lit(0),
    )
    series = combined(hashes(frame["tenant"]), hashes(frame["name"]), hashes(frame["labels"]))
    frame = frame.with_columns(series=pl.Series(series))
    missing = [pl.lit(None, kind).alias(n) for n, kind in SCORES.items() if n not in frame.columns]
    frame = frame.with_columns(*missing).select(SCORES.names()).cast(SCORES)
    of = shard_of(series, shards)
    return [Recorded(int(shard), frame.filter(pl.Series(of == shard))) for shard in np.unique(of)]


def _numbers(store: SeriesStore, parts: Sequence[RecordedSamples]) -> pl.DataFrame:
    """Return the rows of numbers that are finite; ``time`` is in ns."""
    values = np.concatenate([np.empty(0), *(part.values for part in parts)])
    kept = np.isfinite(values)
    value = pl.Series(values[kept])
    columns: dict[str, Any] = {
        "count": pl.lit(1, pl.Int64),
        **dict.fromkeys(("sum", "min", "max", "mean", "last"), value),
    }
    rows = [(part.time, part.rows) for part in parts]
    return _named(store, rows, kept, KINDS[GAUGE]).with_columns(**columns)


def _histograms(store: SeriesStore, parts: Sequence[RecordedSamples]) -> pl.DataFrame:
    """Return the rows of native histograms that hold something; ``time`` is in ns."""
    every = [one for part in parts for one in part.histograms]
    kept = np.array([one.count > 0 and math.isfinite(one.count) for one in every], np.bool_)
    chosen = [one for one, is_kept in zip(every, kept, strict=True) if is_kept]
    numbers = {
        "sum": [one.sum for one in chosen],
        "mean": [one.sum / one.count for one in chosen],
        **{name: [one.quantile(q) for one in chosen] for name, q in QUANTILES.items()},
    }
    columns = {
        name: pl.Series(
            [value if math.isfinite(value) else None for value in values], dtype=pl.Float64
        )
        for name, values in numbers.items()
    }
    columns["count"] = pl.Series([round(one.count) for one in chosen], dtype=pl.Int64)
    rows = [(part.time, part.histogram_rows) for part in parts]
    return _named(store, rows, kept, KINDS[DELTA_HISTOGRAM]).with_columns(**columns)


def _named(
    store: SeriesStore,
    parts: Sequence[tuple[int, Ids]],
    kept: NDArray[np.bool_],
    kind: str,
) -> pl.DataFrame:
    """Return name, labels, kind and time (ns) of samples, of times (ms) and rows of the store."""
    rows = np.concatenate([np.empty(0, np.int32), *(rows for _, rows in parts)])[kept]
    times = np.repeat(
        np.array([time for time, _ in parts], np.int64), [len(rows) for _, rows in parts]
    )
    sets = store.labels(rows.astype(np.int32))
    texts = sets.symbols.texts
    return pl.DataFrame(
        {
            "name": pl.Series([texts[number] for number in sets.column(NAME)], dtype=pl.String),
            "labels": pl.Series(
                [
                    orjson.dumps({k: v for k, v in sets.labels(row).items() if k != NAME}).decode()
                    for row in range(sets.size)
                ],
                dtype=pl.String,
            ),
            "kind": pl.Series([kind] * sets.size, dtype=pl.String),
            "time": times[kept] * _MS,
        }
    )
