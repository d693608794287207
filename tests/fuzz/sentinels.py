"""Good messages that stand among damaged ones, with what must come of them, by hand."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import Histogram, HistogramDataPoint, Metric

from tests.operators.decoders import test_remote_write as remote_write
from tests.operators.decoders.otlp_reference import as_json
from tests.operators.decoders.test_otlp import batch, gauge, kv, point

__all__ = ["SENTINELS", "Sentinel", "Told"]

TS: Final = 1_700_000_000_000_000_000
RFC_3339: Final = "2023-11-14T22:13:20Z"  # the same time
_SERIES: Final = range(4)


@dataclass(frozen=True)
class Told:
    """One data point: a number, or the count, sum and segments of a histogram."""

    ts: int
    value: float | tuple[int, float, tuple[tuple[float, float, int], ...]]
    name: str
    labels: str  # as JSON


@dataclass(frozen=True)
class Sentinel:
    """A message and what it tells."""

    message: bytes
    told: tuple[Told, ...]


INF: Final = float("inf")


def _told(number: int, *, histogram: bool) -> tuple[Told, ...]:
    labels = f'{{"host":"é{number}"}}'
    numbers = Told(TS + number * 10**6, number + 0.5, "sentinel", labels)
    segments = ((-INF, 1.5, 3), (2.5, INF, number + 1))
    buckets = Told(TS, (number + 4, 9.25, segments), "spread", labels)
    return (numbers, buckets) if histogram else (numbers,)


def _influx(number: int) -> bytes:
    return f"sentinel,host=é{number} value={number}.5 {TS + number * 10**6}".encode()


def _json(number: int) -> tuple[Told, ...]:
    """Return what is told in JSON, where all points have one time."""
    return (Told(TS, number + 0.5, "sentinel", f'{{"host":"é{number}"}}'),)


def _prometheus_json(number: int) -> dict[str, Any]:
    labels = {"__name__": "sentinel", "host": f"é{number}"}
    return {"value": f"{number}.5", "timestamp": RFC_3339, "name": "sentinel", "labels": labels}


def _telegraf_json(number: int) -> dict[str, Any]:
    return {"fields": {"value": number + 0.5}, "name": "sentinel", "tags": {"host": f"é{number}"},
            "timestamp": TS // 10**9}  # fmt: skip


def _collectd_json(number: int) -> list[dict[str, Any]]:
    return [{"values": [number + 0.5], "dstypes": ["gauge"], "dsnames": ["value"], "time": TS // 10**9,
             "host": f"é{number}", "plugin": "sent", "type": "inel"}]  # fmt: skip


def _vector_json(number: int) -> dict[str, Any]:
    return {"name": "sentinel", "tags": {"host": f"é{number}"}, "timestamp": RFC_3339,
            "kind": "absolute", "gauge": {"value": number + 0.5}}  # fmt: skip


def _in_json(
    write: Callable[[int], Any], told: Callable[[int], tuple[Told, ...]]
) -> tuple[Sentinel, ...]:
    return tuple(Sentinel(json.dumps(write(n)).encode(), told(n)) for n in _SERIES)


def _otlp(number: int) -> Metric:
    host = [kv("host", f"é{number}")]
    spread = HistogramDataPoint(
        time_unix_nano=TS, count=number + 4, sum=9.25, attributes=host,
        bucket_counts=[3, 0, number + 1], explicit_bounds=[1.5, 2.5],
    )  # fmt: skip
    return batch(
        gauge(point(number + 0.5, TS + number * 10**6, attributes=host), name="sentinel"),
        Metric(name="spread", histogram=Histogram(data_points=[spread])),
    )


def _remote_write(encoding: str, number: int) -> bytes:
    host = [("host", f"é{number}")]
    milliseconds = TS // 10**6
    spread = {
        "timestamp": milliseconds, "sum": 9.25, "count_int": number + 4, "schema": -53,
        "custom_values": [1.5, 2.5], "positive_spans": [{"offset": 0, "length": 3}],
        "positive_deltas": [3, -3, number + 1],
    }  # fmt: skip
    made = remote_write.request(
        encoding,
        remote_write.one_series(
            "sentinel", {"value": number + 0.5, "timestamp": milliseconds + number}, labels=host
        ),
        {"labels": [("__name__", "spread"), *host], "histograms": [spread]},
    ).SerializeToString()
    return remote_write.compress(made) if number % 2 else made


SENTINELS: Final[Mapping[str, tuple[Sentinel, ...]]] = {
    "influx": tuple(Sentinel(_influx(n), _told(n, histogram=False)) for n in _SERIES),
    "otlp_proto": tuple(
        Sentinel(_otlp(n).SerializeToString(), _told(n, histogram=True)) for n in _SERIES
    ),
    "otlp_json": tuple(Sentinel(as_json(_otlp(n)), _told(n, histogram=True)) for n in _SERIES),
    "prometheus_json": _in_json(_prometheus_json, _json),
    "telegraf_json": _in_json(_telegraf_json, _json),
    "collectd_json": _in_json(_collectd_json, lambda n: (replace(_json(n)[0], name="sent_inel"),)),
    "vector_json": _in_json(_vector_json, _json),
    **{
        encoding: tuple(
            Sentinel(_remote_write(encoding, n), _told(n, histogram=True)) for n in _SERIES
        )
        for encoding in (remote_write.V1, remote_write.V2)
    },
}
