"""Counters: told by their names where a format has no types, and those whose start time misleads."""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.frames import (
    CUMULATIVE,
    CUMULATIVE_HISTOGRAM,
    GAUGE,
    SUMMARY,
)

__all__ = ["misleading_starts", "with_counters"]

_OTHERS_START: Final = (
    "opentelemetry-collector-contrib/receiver/",
    "otelcol/",
    "opentelemetry.instrumentation.system_metrics",
)
"""Scopes that read counters of something else: its host, or a server. They give their own start as
that of the counters, which began with the host or the server (mdatagen's ``WithStartTime`` is seldom
used in the collector's receivers; the Python SDK knows no other start than its own)."""
_OWN_START: Final = ("receiver/prometheusreceiver", "otelcol/prometheusreceiver")
"""Scopes among them that find out when a counter began."""


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


def misleading_starts(streams: pl.DataFrame, names: re.Pattern[str] | None) -> NDArray[np.bool_]:
    """Return of each row of a STREAMS frame whether its start time is that of somebody else.

    Such a counter counts since its host or server began, and says that it began with the process
    that reads it. Its start can't be used: it is taken as unknown, and a fall as a reset.

    Args:
        streams: a STREAMS frame; a scope is a text, or the bytes of a protobuf message in hex.
        names: of counters that are such, whatever their scope; the whole name has to match.
    """
    kind = pl.col("kind")
    cumulative = kind.is_in([CUMULATIVE, CUMULATIVE_HISTOGRAM, SUMMARY])
    reads_others = _any_of(_OTHERS_START) & ~_any_of(_OWN_START)
    found = streams.select(cumulative & reads_others).to_series().to_numpy().copy()
    if names is not None:
        wanted = [name for name in streams["name"].unique() if names.fullmatch(name)]
        found |= streams.select(cumulative & pl.col("name").is_in(wanted)).to_series().to_numpy()
    return found


def _any_of(parts: tuple[str, ...]) -> pl.Expr:
    patterns = [*parts, *(part.encode().hex() for part in parts)]
    return pl.col("scope").str.contains_any(patterns).fill_null(False)
