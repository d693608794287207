"""Telemetry for the benchmarks, made as fast as a broker takes it.

One message a group of series is encoded by OpenTelemetry's own protobuf classes, with marked
times and values; further ones are copies in which NumPy overwrites the marks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

__all__ = ["Load"]

_TIME_MARK = 0x7A7A_0000_0000_0000
_VALUE_MARK = 0x7B7B_0000_0000_0000
SERIES_A_MESSAGE = 800


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


@dataclass(frozen=True, slots=True)
class _Template:
    payload: NDArray[np.uint8]
    times: NDArray[np.intp]
    values: NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class Load:
    """``series`` series, half of them gauges and half counters, one point each a second.

    Counters rise by their number (1 to 8) a second since ``begin``; gauges are a walk that is a
    function of series and time, so that any point can be recomputed.
    """

    series: int
    seconds: int
    begin: int = 1_700_000_000

    @property
    def points(self) -> int:
        """Number of points in all."""
        return self.series * self.seconds

    def messages(self) -> Iterator[bytes]:
        """Yield OTLP messages in order of time."""
        groups = [self._template(group) for group in range(self.series // SERIES_A_MESSAGE)]
        for second in range(self.seconds):
            for group, template in enumerate(groups):
                yield self._fill(template, group, second)

    def _template(self, group: int) -> _Template:
        data = MetricsData()
        mark = 0
        for host in range(10):
            resource = data.resource_metrics.add()
            number = group * 10 + host
            resource.resource.attributes.extend(
                [
                    _attribute("service.name", f"service-{number % 20}"),
                    _attribute("host.name", f"host-{number}"),
                    _attribute("deployment.environment.name", "production"),
                ]
            )
            scope = resource.scope_metrics.add()
            scope.scope.name = "bench"
            for metric_number in range(10):
                metric = scope.metrics.add()
                metric.name = f"bench.metric.{metric_number}"
                metric.unit = "1"
                if metric_number % 2:
                    points = metric.gauge.data_points
                else:
                    metric.sum.aggregation_temporality = 2
                    metric.sum.is_monotonic = True
                    points = metric.sum.data_points
                for route in range(8):
                    point = points.add()
                    point.time_unix_nano = _TIME_MARK + mark
                    point.start_time_unix_nano = self.begin * 10**9
                    point.as_double = float(np.uint64(_VALUE_MARK + mark).view(np.float64))
                    point.attributes.extend(
                        [
                            _attribute("http.request.method", "GET" if route % 2 else "PUT"),
                            _attribute("http.route", f"/api/{route}"),
                            _attribute("http.response.status_code", "200"),
                        ]
                    )
                    mark += 1
        encoded = data.SerializeToString()
        return _Template(
            np.frombuffer(encoded, np.uint8).copy(),
            _offsets(encoded, _TIME_MARK, mark),
            _offsets(encoded, _VALUE_MARK, mark),
        )

    def _fill(self, template: _Template, group: int, second: int) -> bytes:
        payload = template.payload.copy()
        time = (self.begin + second + 1) * 10**9
        number = np.arange(SERIES_A_MESSAGE)
        counter = (second + 1.0) * (number % 8 + 1)
        gauge = 50 + 40 * np.sin((number + group * SERIES_A_MESSAGE) * 0.7 + second * 0.01)
        value = np.where((number // 8) % 2 == 1, gauge, counter)
        _overwrite(payload, template.times, np.full(len(number), time, np.int64))
        _overwrite(payload, template.values, value)
        return payload.tobytes()


def _offsets(encoded: bytes, mark: int, count: int) -> NDArray[np.intp]:
    return np.array(
        [encoded.index((mark + number).to_bytes(8, "little")) for number in range(count)]
    )


def _overwrite(
    payload: NDArray[np.uint8], at: NDArray[np.intp], values: NDArray[np.generic]
) -> None:
    payload[at[:, None] + np.arange(8)] = values.view(np.uint8).reshape(-1, 8)
