"""Valid messages of each format, written by its official libraries: what is damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from influxdb_client import Point

from tests.operators.decoders import test_collectd_json as collectd
from tests.operators.decoders import test_influx as influx
from tests.operators.decoders import test_otlp as otlp
from tests.operators.decoders import test_prometheus_json as prometheus
from tests.operators.decoders import test_remote_write as remote_write
from tests.operators.decoders import test_telegraf_json as telegraf
from tests.operators.decoders import test_vector_json as vector
from tests.operators.decoders.json_reference import written

__all__ = [
    "Samples",
    "collectd_json",
    "influx_lines",
    "otlp_json",
    "otlp_proto",
    "prometheus_json",
    "remote_write_v1",
    "remote_write_v2",
    "telegraf_json",
    "vector_json",
]

T = TypeVar("T")
Samples = Callable[[int], list[bytes]]
"""Gives messages, the same for the same number."""


def drawn(strategy: st.SearchStrategy[T], count: int, number: int) -> list[T]:
    """Return ``count`` examples of a strategy, the same for the same ``number``."""
    found: list[T] = []

    @seed(number)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def note(example: T) -> None:
        found.append(example)

    note()
    return found


def otlp_proto(number: int) -> list[bytes]:
    return [data.SerializeToString() for data in drawn(otlp.batches, 300, number)]


def otlp_json(number: int) -> list[bytes]:
    return [otlp.as_json(data) for data in drawn(otlp.batches, 300, number)]


def _remote_write(encoding: str, number: int) -> list[bytes]:
    bodies = [
        made.SerializeToString() for made in drawn(remote_write.requests(encoding), 300, number)
    ]
    return bodies + [remote_write.compress(body) for body in bodies[::8]]


def remote_write_v1(number: int) -> list[bytes]:
    return _remote_write(remote_write.V1, number)


def remote_write_v2(number: int) -> list[bytes]:
    return _remote_write(remote_write.V2, number)


points = st.fixed_dictionaries(
    {
        "measurement": influx.names.filter(lambda name: not name.startswith("#")),
        "tags": st.dictionaries(influx.names, influx.names, max_size=3),
        "fields": st.dictionaries(
            influx.names, st.one_of(influx.numbers, st.text(max_size=6)), min_size=1, max_size=4
        ),
        "time": st.integers(-(2**63), 2**63 - 1),
    }
)


def influx_lines(number: int) -> list[bytes]:
    """Return what the Python client writes of any points, one to three a message."""
    return [
        "\n".join(map(_line, one)).encode("utf-8", "surrogatepass")
        for one in drawn(st.lists(points, min_size=1, max_size=3), 200, number)
    ] + [text.encode() for texts in influx.WRONG.values() for text in texts]


def _line(told: dict[str, Any]) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Point.from_dict(told).to_line_protocol()  # type: ignore[no-any-return]


def _written(documents: st.SearchStrategy[Any]) -> Samples:
    """Return what writes any of these documents, in one of the many ways that JSON allows."""
    texts = documents.flatmap(written)
    return lambda number: [text.encode() for text in drawn(texts, 300, number)]


_batches = st.lists(telegraf.metrics(), max_size=3).map(lambda batch: {"metrics": batch})
prometheus_json = _written(prometheus.samples())
telegraf_json = _written(telegraf.metrics() | _batches)
collectd_json = _written(collectd.documents)
vector_json = _written(vector.metrics())
