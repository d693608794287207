"""Good messages that stand among damaged ones, with what must come of them, by hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from opentelemetry.proto.metrics.v1.metrics_pb2 import Histogram, HistogramDataPoint, Metric

from tests.operators import test_decoder_remote_write as remote_write
from tests.operators.otlp_reference import as_json
from tests.operators.test_decoders import batch, gauge, kv, point

__all__ = ["SENTINELS", "Sentinel", "Told"]

TS: Final = 1_700_000_000_000_000_000
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
    **{
        encoding: tuple(
            Sentinel(_remote_write(encoding, n), _told(n, histogram=True)) for n in _SERIES
        )
        for encoding in (remote_write.V1, remote_write.V2)
    },
}
