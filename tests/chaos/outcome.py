"""What a flow wrote: to InfluxDB, Elasticsearch, the lake and its topics."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import polars as pl

from sinks.lake import read_rollups
from tests.chaos.feed import Feed
from tests.chaos.flow import ChaosFlow
from tests.chaos.stream import BEGIN, DISORDER, SKEW, WINDOW
from tests.flows.expectation import SCHEMA, series_key
from tests.flows.histogram_expectation import PERCENTILES
from tests.flows.telemetry import records

__all__ = [
    "alert_seconds",
    "document_differences",
    "events",
    "lake_rollups",
    "of_window",
    "topic_rollups",
]

_ROW: Final = ["tenant", "series", "window", "window_start"]
_CLOSE: Final = 1e-9
_COLUMNS: Final = SCHEMA | dict.fromkeys(PERCENTILES, pl.Float64)


def lake_rollups(path: Path, window: int) -> pl.DataFrame:
    """Return the rollups in a lake, as readers of it get them."""
    return _keyed(read_rollups(path, window=window).collect())


def topic_rollups(flow: ChaosFlow) -> pl.DataFrame:
    """Return what readers of the rollups topic keep: of each rollup what came last."""
    values = (record.value for record in records(flow.kafka, flow.topics["rollups"]))
    # By Polars' own reader of Arrow, as any other subscriber would.
    frames = [pl.read_ipc_stream(io.BytesIO(value)) for value in values]
    texts = pl.col("tenant", "name", "labels").cast(pl.String)
    numbers = [pl.col(name).cast(kind) for name, kind in _COLUMNS.items() if name in frames[0].columns
               and name not in ("series", "time")]  # fmt: skip
    places = pl.col("series", "window", "window_start")
    frame = pl.concat([each.select(texts, places, *numbers) for each in frames])
    return frame.unique(_ROW, keep="last", maintain_order=True)


def of_window(frame: pl.DataFrame, window: int) -> pl.DataFrame:
    """Return those of one resolution, of what ``topic_rollups`` gave."""
    return _keyed(frame.filter(pl.col("window") == window))


def _keyed(frame: pl.DataFrame) -> pl.DataFrame:
    """Return rollups in the columns of ``flows.expectation``, and percentiles."""
    pairs = frame.select("name", "labels").unique()
    keys = [series_key(name, json.loads(labels)) for name, labels in pairs.iter_rows()]
    named = frame.drop("series").join(
        pairs.with_columns(series=pl.Series(keys, dtype=pl.String)), on=["name", "labels"]
    )
    return named.with_columns(time="window_start").select(
        pl.col(name).cast(kind) for name, kind in _COLUMNS.items()
    )


def events(flow: ChaosFlow) -> list[dict[str, Any]]:
    """Return what readers of the alerts topic keep: each event once, by its id."""
    found = [json.loads(record.value) for record in records(flow.kafka, flow.topics["alerts"])]
    return list({event["id"]: event | {"_id": event["id"]} for event in found}.values())


def alert_seconds(flow: ChaosFlow, feed: Feed, since: int) -> list[float]:
    """Return how long each alert took that was due to fire after the second ``since``.

    From when the feed wrote the second by which the slowest partition has passed the end of the
    second window that is anomalous, up to when the event was written to its topic.
    """
    taken = []
    for record in records(flow.kafka, flow.topics["alerts"]):
        event = json.loads(record.value)
        if event["status"] == "firing":
            start = datetime.fromisoformat(event["startsAt"]).timestamp() - BEGIN
            due = round(start + 2 * WINDOW + DISORDER + max(SKEW))
            begun = feed.begun(due)
            if begun is not None and due > since:
                taken.append(record.timestamp / 1000 - begun)
    return taken


def document_differences(
    found: Sequence[Mapping[str, Any]], expected: Sequence[Mapping[str, Any]]
) -> str:
    """Say how two sets of documents differ, by their ids; nothing if they don't."""
    said = []
    ours, theirs = ({str(doc["_id"]): doc for doc in docs} for docs in (found, expected))
    if len(ours) != len(found):
        said.append(f"{len(found) - len(ours)} are there twice")
    for word, some in (("missing", theirs.keys() - ours), ("too many", ours.keys() - theirs)):
        if some:
            example = (theirs | ours)[min(some)]
            said.append(f"{len(some)} of {len(theirs)} {word}, as {example}")
    unlike = [key for key in sorted(ours.keys() & theirs) if not _alike(ours[key], theirs[key])]
    if unlike:
        said.append(f"{len(unlike)} differ, as {ours[unlike[0]]} from {theirs[unlike[0]]}")
    return "\n".join(said)


def _alike(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_CLOSE)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_alike(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_alike, one, other))
    return bool(one == other)
