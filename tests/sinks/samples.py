"""Frames to write, and a reader of each backend: what a test compares is what came back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import polars as pl

from operators.contracts.frames import SCORES
from sinks.line_protocol import UNITS

SECOND = 1_000_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND
MIDNIGHT = 1_795_392_000 * SECOND
"""2026-11-23T00:00:00Z."""


def scores(*rows: Mapping[str, Any]) -> pl.DataFrame:
    """A SCORES frame; what a row does not say is an ordinary rollup of 10 s."""
    complete = []
    for number, row in enumerate(rows):
        labels = row.get("labels", {"host": f"web-{number}"})
        complete.append(
            {
                "tenant": "default", "series": number + 1, "name": "cpu.usage", "unit": "1",
                "kind": "gauge", "window": 10 * SECOND, "window_start": MIDNIGHT,
                "count": 4, "sum": 2.0, "min": 0.25, "max": 0.75, "mean": 0.5, "last": 0.625,
                "revision": 0,
            }
            | dict(row)
            | {"labels": json.dumps(labels, sort_keys=True, ensure_ascii=False)}
        )  # fmt: skip
    return pl.DataFrame(complete, schema=SCORES)


HISTOGRAM = {
    "name": "http.duration", "kind": "cumulative_histogram", "unit": "s", "count": 40, "sum": 20.0,
    "min": None, "max": None, "mean": 0.5, "last": None,
    "p50": 0.25, "p90": 1.5, "p95": 2.0, "p99": 4.5,
}  # fmt: skip
"""A rollup of a cumulative histogram: its points say neither extremes nor a last value."""


def points(url: str, token: str, bucket: str, **extra: str) -> list[dict[str, Any]]:
    """All rollups of a bucket, as InfluxQL gives them: name, tags, and the fields that are set."""
    answer = httpx.get(
        f"{url}/query",
        params={"db": bucket, "q": "SELECT * FROM /.*/ GROUP BY *", "epoch": "ns"} | extra,
        headers={"Authorization": f"Token {token}"},
        timeout=30,
    )
    answer.raise_for_status()
    found = []
    for series in answer.json()["results"][0].get("series", []):
        if series["name"] == UNITS:
            continue
        for values in series["values"]:
            fields = dict(zip(series["columns"], values, strict=True))
            found.append(
                {
                    "name": series["name"],
                    "tags": {key: value for key, value in series.get("tags", {}).items() if value},
                    "time": fields.pop("time"),
                    "fields": {key: value for key, value in fields.items() if value is not None},
                }
            )
    return found
