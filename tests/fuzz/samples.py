"""Valid messages of each format, written by its official libraries: what is damaged."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from influxdb_client import Point

from tests.operators import test_decoder_influx as influx
from tests.operators import test_decoder_remote_write as remote_write
from tests.operators import test_decoders as otlp

__all__ = ["influx_lines", "otlp_json", "otlp_proto", "remote_write_v1", "remote_write_v2"]

T = TypeVar("T")


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


Samples = Callable[[int], list[bytes]]
