"""What the flow knows of series, from the rollups that it wrote last."""

from __future__ import annotations

import time
from typing import Final

import polars as pl

from flows.commands.topic_values import topic_values
from flows.offline.history.base import FACTS
from flows.settings import Settings
from operators.columns.batches import decode_batch
from operators.contracts.batch_form import ROLLUP_BATCHES
from operators.contracts.frames import empty

__all__ = ["known_series"]

_BACK: Final = 3_600_000
"""Milliseconds of the rollups topic that are read."""


def known_series(settings: Settings) -> pl.DataFrame:
    """Return a FACTS frame of the series that rollups were written of within the last hour.

    Raises:
        CommandFailed: the topic can't be read.
    """
    since = round(time.time() * 1000) - _BACK
    found = empty(FACTS)
    for _, value in topic_values(settings, settings.topics.rollups, since):
        rows = decode_batch(memoryview(value), ROLLUP_BATCHES).select(FACTS.names())
        found = pl.concat([found, rows]).unique("series", keep="last", maintain_order=True)
    return found
