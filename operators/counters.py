"""Counters of formats that have no types, told by their names."""

from __future__ import annotations

import re

import polars as pl

from operators.frames import CUMULATIVE, GAUGE

__all__ = ["with_counters"]


def with_counters(streams: pl.DataFrame, pattern: re.Pattern[str]) -> pl.DataFrame:
    """Return a STREAMS frame in which gauges whose whole name matches are cumulative.

    So their rollups have an increase and a rate, and a value that falls is a reset.
    """
    gauges = streams["name"].filter(streams["kind"] == GAUGE).unique()
    counters = [name for name in gauges if pattern.fullmatch(name)]
    if not counters:
        return streams
    kind = (
        pl.when(pl.col("kind") == GAUGE, pl.col("name").is_in(counters))
        .then(pl.lit(CUMULATIVE, pl.UInt8))
        .otherwise("kind")
    )
    return streams.with_columns(kind=kind)
