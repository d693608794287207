"""Compiling before the first message: a flow that is up must not stall on its first poll.

Numba compiles a loop on its first call for the types that it meets, in a second or so each, and
keeps the result on disk: beside the sources, or in ``NUMBA_CACHE_DIR``. So everything is called
once, through the very functions that the flow calls, with a few points of every kind.

``python -m flows.warm_up`` does so for every input and setting, once, where Headrace is installed.
It takes some three minutes of two cores.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import numpy as np
import polars as pl

from flows.settings import Enrichment as EnrichmentSettings
from flows.settings import Scoring
from operators.cardinality.policy import Admission
from operators.columns import batches
from operators.contracts.decoder import Decoded, Description
from operators.contracts.distributions import Distributions
from operators.contracts.frames import (
    ATTRIBUTES,
    BUCKET,
    COUNT,
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    DELTA_HISTOGRAM,
    GAUGE,
    PARTS,
    POINTS,
    SERIES,
    STREAMS,
    SUM,
    SUMMARY,
    TOGETHER,
    empty,
)
from operators.contracts.items import Samples
from operators.decoders import DECODERS, LOG_DECODERS, SPAN_DECODERS
from operators.kafka import fetching
from operators.scoring import step as scoring
from operators.series.enrichment import Enricher
from operators.series.enrichment import EnrichmentSettings as EnrichmentNeeds
from operators.series.progress import PartitionProgress
from operators.series.registry import SeriesRegistry
from operators.series.shuffle import spread, spread_distributions
from operators.series.times import judge_times
from operators.windows.histograms import NO_HISTOGRAMS, Histograms
from operators.windows.open_windows import NO_POINTS
from operators.windows.shard import Shard
from operators.windows.sketches import NO_SKETCHES, altered_sketches
from operators.windows.sums import Points

__all__ = ["compile_kernels", "main"]

_KINDS: Final = (GAUGE, CUMULATIVE, GAUGE, DELTA_HISTOGRAM, CUMULATIVE_HISTOGRAM, SUMMARY)
_NUMBERS: Final = 3


def compile_kernels(encodings: Iterable[str], enrichment: EnrichmentNeeds) -> None:
    """Compile what a flow with these inputs runs on its way from messages to rollups."""
    fetching.compile_kernels()
    batches.compile_kernels()
    for encoding in encodings:
        DECODERS[encoding].compile_kernels()
    registry = SeriesRegistry("", (), Enricher(enrichment))
    decoded = _decoded()
    resolved = registry.resolve(decoded)
    ts, start, value = (resolved.points[name].to_numpy() for name in ("ts", "start", "value"))
    _admit(resolved.new)
    places = np.zeros(1, np.int64)
    for times, message in (
        (ts, resolved.points["message"].to_numpy()),
        (decoded.distributions.ts, decoded.distributions.message),
    ):
        judge_times(times, message, places, 1, places, places, 0)
    PartitionProgress().follow([""], places, places, decoded.times)
    samples, bounds = spread(
        resolved.rows, ts, start, value, registry.identities, registry.shards, 1
    )
    observed = spread_distributions(
        resolved.distributions,
        resolved.distribution_rows,
        registry.identities,
        registry.shards,
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
    _assemble(shard)
    altered_sketches(NO_SKETCHES, NO_SKETCHES, 1)
    shard.close(50)
    shard.add(
        Points._make(column[:1] for column in NO_POINTS),
        Histograms(shard.names.number(observed.identity, 0), *observed[1:]),
        50,
    )
    shard.close(60)


def _assemble(shard: Shard) -> None:
    """Bring a classic histogram, one of whose scrapes lacks a bucket."""
    part = [BUCKET, BUCKET, COUNT, SUM, TOGETHER]
    size = len(part)
    names = pl.Series([f"classic.{number}" for number in range(size)])
    identities = pl.Series(range(100, 100 + size), dtype=pl.UInt64)
    series = pl.DataFrame(
        {
            "identity": identities, "series": identities, "tenant": names, "name": names,
            "labels": pl.Series(["{}"] * size), "unit": names, "kind": [CUMULATIVE_HISTOGRAM] * size,
            "part": part, "bound": [1.0, np.inf, np.inf, np.inf, np.inf], "whole": [104] * size,
            "alone_series": identities, "alone_name": names,
            "alone_kind": [CUMULATIVE_HISTOGRAM] * size,
        },
        schema={**SERIES, **PARTS},
    )  # fmt: skip
    shard.name(series, 0)
    identity = np.array([100, 101, 102, 103, 101, 102, 100, 101], np.uint64)
    ts = np.array([5, 5, 5, 5, 15, 15, 25, 25])
    value = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 4.0, 2.0, 5.0])
    shard.add(Points(shard.names.number(identity, 0), ts, ts, value), NO_HISTOGRAMS, 0)


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
        exponential=np.zeros(size, np.bool_),
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
        attributes = pl.DataFrame(
            {"owner": range(len(rows)), "key": ["key"] * len(rows), "value": ["value"] * len(rows)},
            schema=ATTRIBUTES,
        )
        return Description(streams, attributes, empty(ATTRIBUTES))

    return Decoded(numbers, describe, distributions=histograms)


def _metrics() -> None:
    compile_kernels(DECODERS, EnrichmentSettings())
    scoring.compile_kernels(Scoring())


def _rules() -> None:
    # The flow of metrics, which compiles by this module too, may not need it; nor what is below.
    from operators.rules import tap  # noqa: PLC0415
    from operators.rules import warm_up as rules  # noqa: PLC0415

    rules.compile_kernels()
    tap.compile_kernels()


def _logs() -> None:
    from operators.logs import decoding  # noqa: PLC0415
    from operators.logs.courses import span_lines  # noqa: PLC0415
    from sinks import log_documents  # noqa: PLC0415

    decoding.compile_kernels(LOG_DECODERS)
    span_lines.compile_kernels()
    log_documents.compile_kernels()


def _traces() -> None:
    from operators.traces import warm_up  # noqa: PLC0415

    warm_up.compile_kernels(SPAN_DECODERS, Enricher(EnrichmentSettings()))


def _in_another_process(part: str) -> None:
    safely = ["-P"] if sys.flags.safe_path else []
    command = [sys.executable, *safely, "-m", "flows.warm_up", part]
    subprocess.run(command, check=True)  # noqa: S603 - ourselves


_PARTS: Final = {"metrics": _metrics, "traces": _traces, "logs": _logs, "rules": _rules}


def main(*parts: str) -> None:
    """Compile what any settings of the flows may need.

    Args:
        parts: names of ``_PARTS``. Without any all are compiled, on all cores: each first in a
            process of its own, then all here, since two that write down the same loop at once may
            lose one.
    """
    if not parts:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_in_another_process, _PARTS))
    for part in parts or _PARTS:
        _PARTS[part]()


if __name__ == "__main__":
    logging.disable()  # what is made up here is nobody's trouble
    main(*sys.argv[1:])
