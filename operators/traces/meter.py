"""Telling: what a shard of traces counted becomes points of series, as the windows take them.

The points of a shard are *partials*: their identity has the shard's number in it, and the windows add
those of all shards that share a series. A partial covers one window and stands at its end. One that is
told again, since late spans joined, stands at the same time with a larger count, and of two points at
one time the windows take the larger. So a partial can be told as often as one likes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.decoder import Description
from operators.contracts.distributions import Distributions
from operators.contracts.frames import (
    ATTRIBUTES,
    SERIES,
    STREAMS,
    empty,
    shard_of,
)
from operators.contracts.items import Observed, Samples
from operators.series.enrichment import Enricher
from operators.series.registry import name_series
from operators.series.shuffle import spread, spread_distributions
from operators.traces.calls import Durations, buckets_of
from operators.traces.rows import ONE

__all__ = ["Meter", "MeterName", "MeterReadings"]

_NO_SERIES: Final = empty(SERIES)


class MeterName(NamedTuple):
    """What a series is called: whose it is, its metric, unit, kind, and its labels.

    Points of another ``part`` are added to those of the series, and do not replace them.
    """

    tenant: str
    metric: str
    unit: str
    kind: int
    labels: tuple[tuple[str, str], ...]
    part: str = ""


@dataclass(frozen=True, slots=True)
class MeterReadings:
    """What goes to the shards of the series.

    Attributes:
        samples, observed: by shard.
        new: a SERIES frame of those that were named for the first time.
    """

    samples: Mapping[int, Samples]
    observed: Mapping[int, Observed]
    new: pl.DataFrame


class Meter:
    """Names the series of one shard of traces, and gathers its points.

    Args:
        shard: its number.
        shards: how many shards of series there are.
        enrichment: changes of labels.
    """

    def __init__(self, shard: int, shards: int, enrichment: Enricher) -> None:
        self._scope = f"headrace.traces/{shard}"
        self._shards = shards
        self._enrichment = enrichment
        self.forget()

    def forget(self) -> None:
        """Name all series anew from now on."""
        self._rows: dict[MeterName, int] = {}
        self._unnamed: list[MeterName] = []
        self._identities = np.empty(0, np.uint64)
        self._shard_of = np.empty(0, np.int32)
        self._numbers: list[tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.float64]]] = []
        self._durations: list[tuple[NDArray[np.int32], NDArray[np.int64], Durations, float]] = []
        self._window = 1
        self.generation = getattr(self, "generation", 0) + 1

    def row(self, named: MeterName) -> int:
        """Return the number of a series."""
        row = self._rows.setdefault(named, len(self._rows))
        if row == len(self._identities) + len(self._unnamed):
            self._unnamed.append(named)
        return row

    def count(
        self, rows: NDArray[np.int32], starts: NDArray[np.int64], counted: NDArray[np.int64]
    ) -> None:
        """Take in sums: of each the series, the start of its window, and spans in parts of ``ONE``."""
        self._numbers.append((rows, starts, counted / ONE))

    def observe(
        self,
        rows: NDArray[np.int32],
        starts: NDArray[np.int64],
        durations: Durations,
        unit: float,
    ) -> None:
        """Take in durations, all of whose groups have some: of each the series and its window."""
        self._durations.append((rows, starts, durations, unit))

    def told(self, window: int) -> MeterReadings:
        """Return all that was taken in since the last time; ``window`` is the length of windows."""
        new = self._name()
        samples: dict[int, Samples] = {}
        observed: Mapping[int, Observed] = {}
        if self._numbers:
            rows, starts, values = (
                np.concatenate(parts) for parts in zip(*self._numbers, strict=True)
            )
            spread_, bounds = spread(
                rows, starts + window - 1, starts - 1, values, self._identities, self._shard_of,
                self._shards,
            )  # fmt: skip
            ends = bounds.tolist()
            samples = {
                shard: Samples._make(column[ends[shard] : ends[shard + 1]] for column in spread_)
                for shard in range(self._shards)
                if ends[shard + 1] > ends[shard]
            }
        if self._durations:
            parts = [_distributions(*part, window) for part in self._durations]
            rows = np.concatenate([part[0] for part in self._durations])
            observed = spread_distributions(_joined(parts), rows, self._identities, self._shard_of)
        self._numbers, self._durations = [], []
        return MeterReadings(samples, observed, new)

    def _name(self) -> pl.DataFrame:
        if not self._unnamed:
            return _NO_SERIES
        named, self._unnamed = self._unnamed, []
        streams = pl.DataFrame(
            {
                "name": [each.metric for each in named],
                "unit": [each.unit for each in named],
                "kind": [each.kind for each in named],
                "scope": [self._scope + each.part for each in named],
                "resource": [0] * len(named),
            },
            schema=STREAMS,
        )
        labels = [
            (number, key, value)
            for number, each in enumerate(named)
            for key, value in each.labels
            if value
        ]
        attributes = pl.DataFrame(labels, schema=ATTRIBUTES, orient="row")
        tenants = pl.Series([each.tenant for each in named], dtype=pl.String)
        series = name_series(
            tenants, Description(streams, attributes, empty(ATTRIBUTES)), (), self._enrichment
        )
        ids = series["series"].to_numpy()
        self._identities = np.concatenate([self._identities, series["identity"].to_numpy()])
        self._shard_of = np.concatenate([self._shard_of, shard_of(ids, self._shards)])
        return series


def _distributions(
    rows: NDArray[np.int32],
    starts: NDArray[np.int64],
    durations: Durations,
    unit: float,
    window: int,
) -> Distributions:
    size = len(rows)
    lower, upper, weight = buckets_of(durations)
    sizes = np.diff(durations.offsets)
    totals = np.add.reduceat(weight, durations.offsets[:-1]) if size else np.empty(0, np.int64)
    assert len(sizes) == size
    return Distributions(
        message=np.zeros(size, np.uint32),
        raw=np.zeros(size, np.uint64),
        ts=starts + window - 1,
        start=starts - 1,
        count=totals.astype(np.int64),
        sum=durations.sum / ONE / unit,
        min=durations.least / unit,
        max=durations.most / unit,
        exponential=np.ones(size, np.bool_),
        offsets=durations.offsets,
        lower=lower,
        upper=upper,
        weight=weight,
    )


def _joined(parts: Sequence[Distributions]) -> Distributions:
    columns: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in Distributions.__dataclass_fields__
        if name != "offsets"
    }
    sizes = np.concatenate([np.diff(part.offsets) for part in parts])
    offsets = np.concatenate((np.zeros(1, np.int64), np.cumsum(sizes)))
    return Distributions(**columns, offsets=offsets)
