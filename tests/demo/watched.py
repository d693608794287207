"""The series that the demo shows: those that can tell the story, the clearest first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import orjson
import polars as pl

from tests.demo import host, service

__all__ = ["SHOWN", "Watched", "history"]


@dataclass(frozen=True, slots=True)
class Watched:
    """A series to show.

    Attributes:
        service, metric, route: which it is; a series of the host has no route.
        title: what people call it.
        unit: of `value * scale`.
        limit: what it cannot exceed, in its unit.
    """

    service: str
    metric: str
    route: str | None
    title: str
    unit: str
    scale: float = 1.0
    limit: float = float("inf")


SHOWN: Final = (
    Watched(service.SERVICE, service.LATENCY, "/checkout", "Checkout: mean latency", "ms"),
    Watched(service.SERVICE, "http.server.errors", "/checkout", "Checkout: errors", "per s"),
    Watched(service.SERVICE, service.LATENCY, "/products", "Products: mean latency", "ms"),
    Watched(host.SERVICE, "system.cpu.busy", None, "This machine: processors busy", "%", 100, 100),
)


def history(rollups: pl.DataFrame, watched: Watched, window: int) -> pl.DataFrame:
    """Return the past of one series, in the order of time.

    Args:
        rollups: a SCORES frame.
        watched: the series.
        window: the resolution, in nanoseconds.

    Returns:
        Columns `at` (end of the window, in seconds since the Unix epoch), `value`, `score`,
        `expected`, `lower`, `upper`, the latter in the unit of `watched`, and never below nothing.
    """
    rows = rollups.filter(window=window, name=watched.metric).filter(
        pl.col("labels").is_in(_labels(rollups, watched))
    )
    value = pl.when(pl.col("kind") == "gauge").then("mean").otherwise("rate")
    band = [(pl.col(name) * watched.scale).alias(name) for name in ("expected", "upper")]
    return rows.sort("window_start").select(
        ((pl.col("window_start") + pl.col("window")) / 1e9).alias("at"),
        (value * watched.scale).alias("value"),
        "score",
        *band,
        (pl.col("lower") * watched.scale).clip(0).alias("lower"),
    )


def _labels(rollups: pl.DataFrame, watched: Watched) -> list[str]:
    """Return the labels, as they are written, of the series that are meant."""
    written = rollups.filter(name=watched.metric)["labels"].unique()
    found = {text: orjson.loads(text) for text in written}
    return [
        text
        for text, labels in found.items()
        if labels.get("service.name") == watched.service
        and labels.get("http.route") == watched.route
    ]
