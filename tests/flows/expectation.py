"""What rollups ought to be, computed without any of the flow's code.

``from_points`` goes from one point to the next, in the words of OpenTelemetry's data model;
``from_load`` computes the same for the benchmark's load, whole columns at once. Both give a frame
of the points that InfluxDB should hold: ``series`` (name and sorted tags), ``time`` and fields.
"""

from __future__ import annotations

import itertools
import json
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType

import numpy as np
import polars as pl
from numpy.typing import NDArray

from bench.load import SERIES_A_MESSAGE, Load
from tests.flows.telemetry import SECOND, Histogram, Point

FIELDS = ("count", "sum", "min", "max", "mean", "last", "increase", "rate", "revision")
RESOURCE_LABELS = (
    "service.name",
    "service.namespace",
    "host.name",
    "deployment.environment.name",
)
HORIZON = 300 * SECOND
SCHEMA = {"series": pl.String, "time": pl.Int64} | {
    name: pl.Int64 if name in ("count", "revision") else pl.Float64 for name in FIELDS
}
RELATIVE_ERROR = 1e-12
"""Sums of floats depend on the order of adding, which the flow does not promise."""


def series_key(name: str, tags: Mapping[str, str]) -> str:
    """Return the identity of a series in InfluxDB."""
    return f"{name} {json.dumps(dict(sorted(tags.items())))}"


def from_points(
    points: Iterable[Point], window: int, *, dropped: Sequence[str] = ()
) -> pl.DataFrame:
    """Return the rollups of these points; ``dropped`` labels are taken off after counting."""
    identities: dict[object, list[Point]] = defaultdict(list)
    for point in points:
        identities[
            point.name,
            point.unit,
            point.kind,
            point.scope,
            frozenset(point.resource.items()),
            frozenset(point.attributes.items()),
        ].append(point)
    cells: dict[tuple[str, int], list[tuple[Point, float | None]]] = defaultdict(list)
    for stream in identities.values():
        stream.sort(key=lambda point: point.ts)
        for point, increase in zip(stream, _increases(stream), strict=True):
            labels = {k: v for k, v in point.resource.items() if k in RESOURCE_LABELS}
            labels |= point.attributes
            tags = {k: v for k, v in labels.items() if k not in dropped and v}
            start = point.ts // window * window
            cells[series_key(point.name, tags), start].append((point, increase))
    rows = [
        {"series": series, "time": start} | _fields(cell, window)
        for (series, start), cell in cells.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


def _increases(stream: Sequence[Point]) -> Iterator[float | None]:
    """Yield what each point of one stream, in order of time, adds to its sum."""
    for before, point in itertools.pairwise([None, *stream]):
        assert point is not None
        known_start = 0 < point.start < point.ts
        if point.kind == "gauge":
            yield None
        elif point.kind == "delta":
            yield point.value
        elif before is None:
            yield point.value if known_start and point.ts - point.start <= HORIZON else 0.0
        elif point.start != before.start and point.start >= before.ts:
            yield point.value if known_start else 0.0
        elif point.value < before.value:
            yield point.value
        else:
            yield point.value - before.value


def _fields(cell: Sequence[tuple[Point, float | None]], window: int) -> dict[str, float | None]:
    values = [point.value for point, _ in cell]
    increases = [increase for _, increase in cell if increase is not None]
    increase = math.fsum(increases) if increases else None
    return {
        "count": len(values),
        "sum": math.fsum(values),
        "min": min(values),
        "max": max(values),
        "mean": math.fsum(values) / len(values),
        "last": max((point.ts, point.value) for point, _ in cell)[1],
        "increase": increase,
        "rate": None if increase is None else increase / (window / SECOND),
        "revision": 0,
    }


def observed(
    points: Iterable[Histogram], window: int
) -> dict[tuple[str, int], tuple[Histogram | None, Histogram]]:
    """Return the last point before, and the last one in, each window of each cumulative histogram,
    by series and start. What was observed in the window is what the latter has more.

    They never start anew, and the first point of each starts from zero.
    """
    streams: dict[str, list[Histogram]] = defaultdict(list)
    for point in points:
        labels = {k: v for k, v in point.resource.items() if k in RESOURCE_LABELS}
        streams[series_key(point.name, labels | point.attributes)].append(point)
    found: dict[tuple[str, int], tuple[Histogram | None, Histogram]] = {}
    for series, stream in streams.items():
        assert len({point.start for point in stream}) == 1
        before: Histogram | None = None
        by_window = itertools.groupby(
            sorted(stream, key=lambda point: point.ts), lambda point: point.ts // window * window
        )
        for start, inside in by_window:
            *_, last = inside
            found[series, start] = before, last
            before = last
    return found


def from_histograms(points: Iterable[Histogram], window: int) -> pl.DataFrame:
    """Return the rollups of cumulative histograms, percentiles aside."""
    rows = []
    for (series, start), (before, last) in observed(points, window).items():
        count = last.count - (before.count if before else 0)
        total = last.sum - (before.sum if before else 0.0)
        rows.append(
            {
                "series": series, "time": start, "count": count, "sum": total,
                "mean": total / count if count else None, "increase": float(count),
                "rate": count / (window / SECOND), "revision": 0,
            }
        )  # fmt: skip
    return pl.DataFrame(rows, schema=SCHEMA)


def from_load(load: Load, window: int) -> pl.DataFrame:
    """Return the rollups of all of the load's points."""
    groups = load.series // SERIES_A_MESSAGE
    frames = [_of_group(load, group, window) for group in range(groups)]
    return pl.concat(frames)


def _of_group(load: Load, group: int, window: int) -> pl.DataFrame:
    second = np.arange(load.seconds)[:, None]
    number = np.arange(SERIES_A_MESSAGE)[None, :]
    is_gauge = (number // 8) % 2 == 1
    counter = (second + 1.0) * (number % 8 + 1)
    gauge = 50 + 40 * np.sin((number + group * SERIES_A_MESSAGE) * 0.7 + second * 0.01)
    value = np.where(is_gauge, gauge, counter)
    increase = np.diff(value, axis=0, prepend=0.0)  # they start with the load, from zero

    start = (load.begin + second[:, 0] + 1) * SECOND // window * window
    starts, first = np.unique(start, return_index=True)
    ends = np.append(first[1:], load.seconds)
    count = np.broadcast_to((ends - first)[:, None], (len(first), SERIES_A_MESSAGE))
    total = np.add.reduceat(value, first)
    gained = np.where(is_gauge, np.nan, np.add.reduceat(increase, first))
    columns: dict[str, NDArray[np.generic]] = {
        "count": count,
        "sum": total,
        "min": np.minimum.reduceat(value, first),
        "max": np.maximum.reduceat(value, first),
        "mean": total / count,
        "last": value[ends - 1],
        "increase": gained,
        "rate": gained / (window / SECOND),
        "revision": np.zeros_like(count),
    }
    names = pl.Series([_load_series(group, n) for n in range(SERIES_A_MESSAGE)])
    return pl.DataFrame(
        {"series": pl.concat([names] * len(first)), "time": np.repeat(starts, SERIES_A_MESSAGE)}
        | {name: column.ravel() for name, column in columns.items()},
        schema=SCHEMA,
    ).with_columns(pl.col("increase", "rate").fill_nan(None))


def _load_series(group: int, number: int) -> str:
    host, metric, route = group * 10 + number // 80, number // 8 % 10, number % 8
    tags = {
        "service.name": f"service-{host % 20}",
        "host.name": f"host-{host}",
        "deployment.environment.name": "production",
        "http.request.method": "GET" if route % 2 else "PUT",
        "http.route": f"/api/{route}",
        "http.response.status_code": "200",
    }
    return series_key(f"bench.metric.{metric}", tags)


def differences(
    found: pl.DataFrame, expected: pl.DataFrame, more: Mapping[str, float] = MappingProxyType({})
) -> str:
    """Say how two frames of rollups differ, in a few lines; nothing if they don't.

    ``more`` fields than FIELDS are compared too, each with the error it may have, relative to the
    value or to 1, if that is larger.
    """
    both = found.join(expected, on=["series", "time"], how="full", suffix="_expected")
    missing = both.filter(pl.col("series").is_null())
    unknown = both.filter(pl.col("series_expected").is_null())
    shared = both.filter(pl.col("series").is_not_null() & pl.col("series_expected").is_not_null())
    said = []
    if found.height != found.select("series", "time").n_unique():
        said.append("a rollup is there twice")
    for word, rows, name in (("missing", missing, "_expected"), ("too many", unknown, "")):
        if rows.height:
            at = rows.select(f"series{name}", f"time{name}").sort(f"time{name}").rows()
            said.append(f"{rows.height} of {expected.height} {word}: {at[:3]} … {at[-1]}")
    for name, relative in {**dict.fromkeys(FIELDS, RELATIVE_ERROR), **more}.items():
        is_value, should = pl.col(name), pl.col(f"{name}_expected")
        size = pl.max_horizontal(should.abs(), 1.0 if name in more else 1e-9)
        error = (is_value - should).abs() > relative * size
        wrong = shared.filter(
            error.fill_null(value=False) | (is_value.is_null() != should.is_null())
        )
        if wrong.height:
            first = wrong.select("series", "time", name, f"{name}_expected").sort("time").rows()[:3]
            said.append(f"{name} differs in {wrong.height} of {expected.height}: {first}")
    return "\n".join(said)
