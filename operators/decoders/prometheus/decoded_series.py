"""What both versions of remote write do with series once their labels are read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.contracts.decoder import Decoded, Description
from operators.decoders.prometheus.histograms import histograms_of
from operators.decoders.prometheus.metrics import SeriesColumns, samples_of

__all__ = ["DescribeSeries", "decoded_series"]

DescribeSeries = Callable[[NDArray[np.intp], range, NDArray[np.intp]], Description]
"""Describes points: takes the series of each point of a poll, which points are native histograms, and
the points that are asked for."""


def decoded_series(
    series: SeriesColumns,
    timeseries: pa.StructArray,
    rejected: dict[int, str],
    describe: DescribeSeries,
) -> Decoded:
    """Return the samples and native histograms of a poll.

    Args:
        series: what is known of each series.
        timeseries: their fields ``samples`` and ``histograms``.
        rejected: why messages are dead letters, by their number.
        describe: describes their points.
    """
    samples = samples_of(series, timeseries.field("samples"))
    natives = histograms_of(series, timeseries.field("histograms"))
    points, skipped, unusual = samples.points, samples.skipped, samples.unusual
    for reason, count in natives.skipped.items():
        skipped[reason] = skipped.get(reason, 0) + count
    if natives.ends.height:
        unusual = pl.concat([unusual, natives.ends])
    at = np.concatenate([samples.of_point, natives.owner, samples.of_unusual, natives.of_end])
    histograms = range(points.height, points.height + len(natives.distributions))
    return Decoded(
        points, partial(describe, at, histograms), rejected, skipped, natives.distributions, unusual,
        natives.buckets,
    )  # fmt: skip
