"""OTLP protobuf as the OpenTelemetry Collector writes it: ten hosts, 800 points a message."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from bench.load import SERIES_A_MESSAGE, Load

__all__ = ["Otlp"]

_TIME_MARK = 0x7A7A_0000_0000_0000
_VALUE_MARK = 0x7B7B_0000_0000_0000
_HOSTS = 10


@dataclass(frozen=True, slots=True)
class _Template:
    """A message, and where in it each point's time and value and each host's number are.

    ``times`` and ``values`` are of shape (points, 8), ``hosts`` of shape (hosts, digits).
    """

    payload: NDArray[np.uint8]
    times: NDArray[np.intp]
    values: NDArray[np.intp]
    hosts: NDArray[np.intp]


class Otlp:
    """Encodes with OpenTelemetry's own classes, once for each length that messages have."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._templates: dict[tuple[int, int], _Template] = {}

    def write(self, second: int) -> list[bytes]:
        """Return a message for each ten hosts."""
        load = self._load
        value = np.where(load.gauges(), load.gauge(second), load.counter(second))
        time = np.full(1, load.time(second) * 10**9).view(np.uint8)
        return [
            self._fill(group, time, value[group * SERIES_A_MESSAGE :][:SERIES_A_MESSAGE])
            for group in range(load.series // SERIES_A_MESSAGE)
        ]

    def _fill(self, group: int, time: NDArray[np.uint8], value: NDArray[np.float64]) -> bytes:
        template = self._template(group)
        payload = template.payload.copy()
        payload[template.times] = time
        payload[template.values] = value.view(np.uint8).reshape(-1, 8)
        numbers = "".join(str(group * _HOSTS + host) for host in range(_HOSTS))
        payload[template.hosts] = np.frombuffer(numbers.encode(), np.uint8).reshape(_HOSTS, -1)
        return payload.tobytes()

    def _template(self, group: int) -> _Template:
        # Services go by the last digits of the host's number, so two kinds of groups take turns.
        key = (len(str(group * _HOSTS)), group % 2)
        if key not in self._templates:
            self._templates[key] = _encode(group, self._load.begin)
        return self._templates[key]


def _encode(group: int, begin: int) -> _Template:
    data = MetricsData()
    mark = 0
    hosts = [group * _HOSTS + host for host in range(_HOSTS)]
    for number in hosts:
        resource = data.resource_metrics.add()
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
                point.start_time_unix_nano = begin * 10**9
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
    digits = len(str(hosts[0]))
    names = [encoded.index(b"host-%d" % n) + 5 for n in hosts]
    return _Template(
        np.frombuffer(encoded, np.uint8).copy(),
        _marks(encoded, _TIME_MARK, mark),
        _marks(encoded, _VALUE_MARK, mark),
        np.array(names)[:, None] + np.arange(digits),
    )


def _attribute(key: str, value: str) -> KeyValue:
    return KeyValue(key=key, value=AnyValue(string_value=value))


def _marks(encoded: bytes, mark: int, count: int) -> NDArray[np.intp]:
    found = [encoded.index((mark + number).to_bytes(8, "little")) for number in range(count)]
    return np.array(found)[:, None] + np.arange(8)
