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
from typing import Any, NamedTuple

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
ADDING_ERROR = 1e-15
"""Of each value that was added: what is left where +3 and -3 cancel has the error of the threes."""


def series_key(name: str, tags: Mapping[str, str]) -> str:
    """Return the identity of a series in InfluxDB."""
    return f"{name} {json.dumps(dict(sorted(tags.items())))}"


def with_service(labels: Mapping[str, str]) -> dict[str, str]:
    """Return labels with the service of what names none, as the README says."""
    told = (labels[name] for name in ("job", "app", "host.name", "host") if labels.get(name))
    service = labels.get("service.name") or next(told, "").rpartition("/")[2]
    return {**labels, **({"service.name": service} if service else {})}


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
    cells: dict[tuple[str, int], list[Risen]] = defaultdict(list)
    for number, stream in enumerate(identities.values()):
        stream.sort(key=lambda point: point.ts)
        for point, increase, covers in _increases(stream):
            labels = {k: v for k, v in point.resource.items() if k in RESOURCE_LABELS}
            labels |= point.attributes
            tags = with_service({k: v for k, v in labels.items() if k not in dropped and v})
            start = point.ts // window * window
            cells[series_key(point.name, tags), start].append(
                Risen(number, point, increase, covers)
            )
    rows = [
        {"series": series, "time": start} | _fields(cell, window)
        for (series, start), cell in cells.items()
    ]
    return pl.DataFrame(rows, schema=SCHEMA)


class Risen(NamedTuple):
    """A point of a stream, what it adds to its sum, and the time in nanoseconds that this covers."""

    stream: int
    point: Any
    increase: float | None
    covers: int | None


def rate(cell: Sequence[Risen], window: int) -> float | None:
    """Return the increase a second of the time that the increments cover, as the README says."""
    risen = [each for each in cell if each.increase is not None]
    if not risen:
        return None
    total = math.fsum(each.increase or 0.0 for each in risen)
    covers = [each.covers for each in risen if each.covers is not None]
    if len(covers) < len(risen):
        return total / (window / SECOND)
    time = sum(covers)
    if len({each.stream for each in risen}) > 1:
        time = max(min(time, window), *covers)
    return total / (time / SECOND) if time else None


def _increases(stream: Sequence[Point]) -> Iterator[tuple[Point, float | None, int | None]]:
    """Yield each point of one stream, in order of time, what it adds, and which time that covers."""
    for before, point in itertools.pairwise([None, *stream]):
        assert point is not None
        known_start = 0 < point.start < point.ts
        whole = (point.value, point.ts - point.start) if known_start else (0.0, 0)
        if point.kind == "gauge":
            yield point, None, None
        elif point.kind == "delta":
            yield point, point.value, point.ts - point.start if known_start else None
        elif before is None:
            yield point, *(whole if point.ts - point.start <= HORIZON else (0.0, 0))
        elif point.start != before.start and point.start >= before.ts:
            yield point, *whole
        else:
            more = point.value if point.value < before.value else point.value - before.value
            yield point, more, point.ts - before.ts


def _fields(cell: Sequence[Risen], window: int) -> dict[str, float | None]:
    values = [each.point.value for each in cell]
    increases = [each.increase for each in cell if each.increase is not None]
    increase = math.fsum(increases) if increases else None
    return {
        "count": len(values),
        "sum": math.fsum(values),
        "min": min(values),
        "max": max(values),
        "mean": math.fsum(values) / len(values),
        "last": max((each.point.ts, each.point.value) for each in cell)[1],
        "increase": increase,
        "rate": rate(cell, window),
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
        streams[series_key(point.name, with_service(labels | point.attributes))].append(point)
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
                "rate": count / ((last.ts - (before.ts if before else last.start)) / SECOND),
                "revision": 0,
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
        "rate": gained / (ends - first)[:, None],  # an increment covers the second before it
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
        allowed = relative * size + (_adding_error(name) if name in {"sum", "mean"} else 0)
        error = (is_value - should).abs() > allowed
        wrong = shared.filter(
            error.fill_null(value=False) | (is_value.is_null() != should.is_null())
        )
        if wrong.height:
            first = wrong.select("series", "time", name, f"{name}_expected").sort("time").rows()[:3]
            said.append(f"{name} differs in {wrong.height} of {expected.height}: {first}")
    return "\n".join(said)


def _adding_error(name: str) -> pl.Expr:
    """Return what the sum or mean of these values may be off; 0 if their extremes are unknown."""
    largest = pl.max_horizontal(pl.col("min_expected").abs(), pl.col("max_expected").abs())
    added = pl.col("count_expected") if name == "sum" else 1
    return ADDING_ERROR * (largest * added).fill_null(0)
