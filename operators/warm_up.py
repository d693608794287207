"""Compiling before the first message: a flow that is up must not stall on its first poll.

Numba compiles a loop on its first call for the types that it meets, in a second or so each, and
keeps the result on disk. So everything is called once, through the very functions that the flow
calls, with a few points of every kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import numpy as np
import polars as pl

from operators import fetching
from operators.cardinality import Admission
from operators.decoders import DECODERS
from operators.decoders.base import Decoded, Description
from operators.distributions import Distributions
from operators.enrichment import Enrichment, EnrichmentSettings
from operators.frames import (
    ATTRIBUTES,
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA_HISTOGRAM,
    GAUGE,
    POINTS,
    STREAMS,
    SUMMARY,
    empty,
)
from operators.histograms import Histograms
from operators.open_windows import NO_POINTS
from operators.series import SeriesRegistry
from operators.shard import Shard
from operators.spread import Samples, spread, spread_distributions, survey
from operators.sums import Points

__all__ = ["compile_kernels"]

_KINDS: Final = (GAUGE, CUMULATIVE, GAUGE, DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY)
_NUMBERS: Final = 3


def compile_kernels(encodings: Iterable[str], enrichment: EnrichmentSettings) -> None:
    """Compile what a flow with these inputs runs on its way from messages to rollups."""
    fetching.compile_kernels()
    for encoding in encodings:
        DECODERS[encoding].compile_kernels()
    registry = SeriesRegistry("", (), Enrichment(enrichment))
    decoded = _decoded()
    resolved = registry.resolve(decoded)
    ts, start, value = (resolved.points[name].to_numpy() for name in ("ts", "start", "value"))
    _admit(resolved.new)
    places = np.zeros(1, np.int64)
    survey(ts, resolved.points["message"].to_numpy(), places, 1, 100)
    survey(decoded.distributions.ts, decoded.distributions.message, places, 1, 100)
    samples, bounds = spread(
        resolved.rows, ts, start, value, registry.identities, registry.shards, 1, 100
    )
    observed = spread_distributions(
        resolved.distributions,
        resolved.distribution_rows,
        registry.identities,
        registry.shards,
        100,
    )[0]
    shard = Shard((10, 20), 0, 100, 100, "number.*")
    shard.name(resolved.new, 0)
    # As slices of larger arrays, and joined to others: both come.
    samples = Samples._make(column[0 : bounds[1]] for column in samples)
    for _ in range(2):
        rows = shard.names.number(samples.identity, 0)
        shard.add(
            Points(rows, *samples[1:]),
            Histograms(shard.names.number(observed.identity, 0), *observed[1:]),
            0,
        )
    shard.close(50)
    shard.add(
        Points._make(column[:1] for column in NO_POINTS),
        Histograms(shard.names.number(observed.identity, 0), *observed[1:]),
        50,
    )
    shard.close(60)


def _admit(named: pl.DataFrame) -> None:
    """Name a tenant so many series that its table grows, reaches its limit, and is swept."""
    series = pl.concat([named] * 200).with_columns(series=pl.int_range(pl.len(), dtype=pl.UInt64))
    admission = Admission(series.height - 1, series.height, 100)
    for seen in (0, 1000):
        admission.decide(series, seen, 0)


def _decoded() -> Decoded:
    """Return a few points of every kind, in several windows."""
    numbers = pl.DataFrame(
        {"message": [0] * 4, "raw": [0, 1, 2, 2], "ts": [5, 5, 5, 15], "start": [0, 1, 0, 0],
         "value": [1.0, 2.0, -3.0, 0.0]},
        schema=POINTS,
    )  # fmt: skip
    size = 6
    histograms = Distributions(
        message=np.zeros(size, np.uint32),
        raw=np.repeat(np.arange(3, 6), 2).astype(np.uint64),
        ts=np.array([5, 15] * 3),
        start=np.array([1, 5, 1, 1, 1, 1]),
        count=np.array([2, 3] * 3),
        sum=np.ones(size),
        min=np.zeros(size),
        max=np.ones(size),
        offsets=np.arange(size + 1) * 2,
        lower=np.array([0.0, 1.0] * size),
        upper=np.array([1.0, 2.0] * size),
        weight=np.array([1, 1, 1, 2] * 2 + [0] * 4),
    )

    def describe(rows: np.ndarray) -> Description:
        raws = np.concatenate([numbers["raw"].to_numpy(), histograms.raw])[rows]
        streams = pl.DataFrame(
            {
                "name": [f"{'number' if raw < _NUMBERS else 'histogram'}.{raw}" for raw in raws],
                "unit": [""] * len(rows),
                "kind": [_KINDS[int(raw)] for raw in raws],
                "scope": [""] * len(rows),
                "resource": [0] * len(rows),
            },
            schema=STREAMS,
        )
        return Description(streams, empty(ATTRIBUTES), empty(ATTRIBUTES))

    return Decoded(numbers, describe, distributions=histograms)
