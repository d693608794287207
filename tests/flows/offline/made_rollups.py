"""Rollups of a few series that do all that scoring has a rule for."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
import polars as pl

from operators.contracts.frames import ROLLUPS, SCORES

SECOND = 10**9
WINDOW = 10 * SECOND
DAY = 86_400 * SECOND
BEGIN = 1_790_000_000 * SECOND // DAY * DAY + 84_600 * SECOND


@dataclass(frozen=True)
class Made:
    """One series: at which windows it has rollups, and what they are."""

    name: str
    kind: str
    numbers: list[int]
    values: list[float]


def made(seed: int, windows: int = 340) -> list[Made]:
    """Return series with gaps, faults, silences, bounds and counters."""
    rng = np.random.default_rng(seed)
    found = []
    for number in range(12):
        name, kind = [
            ("cpu.utilization", "gauge"), ("latency", "gauge"), ("http.errors", "cumulative"),
            ("requests", "delta"), ("queue", "gauge"), ("headrace.own", "gauge"),
        ][number % 6]  # fmt: skip
        there = np.ones(windows, np.bool_)
        there[: rng.choice([0, 0, rng.integers(0, windows)])] = False
        for _ in range(rng.integers(0, 4)):  # silences, some long enough to be forgotten
            begin = rng.integers(0, windows)
            there[begin : begin + rng.choice([2, 7, 40, 130])] = False
        if number % 5 == 4:
            there &= rng.random(windows) < 0.2
        level = {"cpu.utilization": 0.4, "http.errors": 0.0}.get(name, 100.0)
        values = level + rng.normal(0, 0.05 * level + 0.01, windows)
        for _ in range(3):
            begin = rng.integers(60, windows)
            values[begin : begin + rng.integers(1, 30)] += rng.choice([3.0, 0.6]) * (level + 1)
        values = np.abs(values).round(4)
        values[rng.random(windows) < 0.01] = np.nan
        at = np.flatnonzero(there)
        found.append(Made(f"{name}.{number}", kind, at.tolist(), values[at].tolist()))
    return found


def frame(series: list[Made], identities: list[int]) -> pl.DataFrame:
    """Return their rollups as a SCORES frame, in the order of time; nothing is judged yet."""
    parts = []
    for one, identity in zip(series, identities, strict=True):
        size, numbers = len(one.numbers), one.values
        is_gauge = one.kind == "gauge"
        parts.append(
            pl.DataFrame(
                {
                    "tenant": ["default"] * size, "series": [identity] * size,
                    "name": [one.name] * size,
                    "labels": [json.dumps({"service.name": "shop"}, separators=(",", ":"))] * size,
                    "unit": ["1"] * size, "kind": [one.kind] * size, "window": [WINDOW] * size,
                    "window_start": [BEGIN + at * WINDOW for at in one.numbers],
                    "count": [1] * size, "mean": numbers if is_gauge else [-1.0] * size,
                    "rate": [None] * size if is_gauge else numbers, "revision": [0] * size,
                },
                schema_overrides=ROLLUPS,
            ).with_columns(pl.lit(None, kind).alias(name) for name, kind in SCORES.items()
                if name not in ("tenant", "series", "name", "labels", "unit", "kind", "window",
                                "window_start", "count", "mean", "rate", "revision"))
            .select(SCORES.names())
        )  # fmt: skip
    return pl.concat(parts).sort("window_start", maintain_order=True)
