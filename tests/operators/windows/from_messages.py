"""From messages to rollups, as two workers and some shards do it together."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from flows.settings import Enrichment as RuleSettings
from operators.contracts.decoder import Decoded
from operators.contracts.frames import shard_of
from operators.decoders import DECODERS
from operators.series.enrichment import Enricher
from operators.series.registry import SeriesRegistry
from operators.series.shuffle import spread, spread_distributions
from operators.windows.histograms import NO_HISTOGRAMS, Histograms
from operators.windows.shard import Shard
from operators.windows.sums import Points

__all__ = ["rollups_of"]

SHARDS, WORKERS = 3, 2
FOREVER = 10**18


def rollups_of(
    encoding: str,
    polls: Sequence[Sequence[bytes]],
    window: int,
    *,
    until: int = FOREVER * 4,
    classic: bool = True,
    drop: Sequence[str] = (),
) -> pl.DataFrame:
    """Return the rollups of polls, which workers take in turns; of points up to ``until``."""
    enrichment = Enricher(RuleSettings(drop=tuple(drop)))
    registries = [
        SeriesRegistry("default", [], enrichment, SHARDS, classic=classic) for _ in range(WORKERS)
    ]
    shards = [Shard((window,), 0, 0, FOREVER) for _ in range(SHARDS)]
    for number, values in enumerate(polls):
        decoded = DECODERS[encoding].decode(values)
        assert decoded.rejected == {}
        _bring(_upto(decoded, until), registries[number % WORKERS], shards)
    return pl.concat([frame for shard in shards for frame in shard.close(4 * FOREVER)]).sort(
        "name", "labels", "window_start"
    )


def _upto(decoded: Decoded, until: int) -> Decoded:
    times = np.concatenate([decoded.points["ts"].to_numpy(), decoded.distributions.ts])
    return decoded.only(np.flatnonzero(times <= until))


def _bring(decoded: Decoded, registry: SeriesRegistry, shards: Sequence[Shard]) -> None:
    resolved = registry.resolve(decoded)
    points = resolved.points
    samples, bounds = spread(
        resolved.rows, *(points[name].to_numpy() for name in ("ts", "start", "value")),
        registry.identities, registry.shards, SHARDS,
    )  # fmt: skip
    observed = spread_distributions(
        resolved.distributions, resolved.distribution_rows, registry.identities, registry.shards
    )
    of_series = shard_of(resolved.new["series"].to_numpy(), SHARDS)
    for number, shard in enumerate(shards):
        histograms = NO_HISTOGRAMS
        if number in observed:
            found = observed[number]
            histograms = Histograms(shard.names.number(found.identity, 0), *found[1:])
        mine = type(samples)._make(
            column[bounds[number] : bounds[number + 1]] for column in samples
        )
        rows = shard.names.number(mine.identity, 0)
        assert shard.add(Points(rows, *mine[1:]), histograms, 0) is None
        shard.name(resolved.new.filter(pl.Series(of_series == number)), 0)
