"""Other readers of each format, one message after the other: is it taken, and for what, as by them?

They are slow, so few messages of a poll are put before them. An oracle returns what is wrong, None
if nothing is. It is given the message, its points as ``(ts, value)`` in order, or None if it was
rejected, and the reason of that.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, Final

import orjson
import pyarrow as pa
from google.protobuf.message import DecodeError
from opentelemetry.proto.metrics.v1.metrics_pb2 import MetricsData

from operators.decoders.snappy_block import LARGEST
from tests.operators.otlp_reference import measured
from tests.operators.remote_write_reference import Reader, v1, v2

__all__ = ["Oracle", "of_influx", "of_json", "of_otlp_proto", "of_remote_write"]

Points = Sequence[tuple[int, float]]
Oracle = Callable[[bytes, Points | None, str], str | None]

_STRICTER: Final = ("a field is not of its type", "no resource metrics in it", "empty message")
"""Why a message is refused that OpenTelemetry's own classes take."""


def of_influx(message: bytes, points: Points | None, _: str) -> str | None:
    """Line protocol has its peer in ``test_decoder_influx_peers``; here only UTF-8 is asked for."""
    try:
        message.decode()
    except UnicodeDecodeError:
        return "taken, and it is not UTF-8" if points is not None else None
    return None


def of_json(message: bytes, points: Points | None, _: str) -> str | None:
    """Whatever is taken is JSON, as orjson has it."""
    if points is None:
        return None
    try:
        orjson.loads(message)
    except orjson.JSONDecodeError as error:
        return f"taken, and it is not JSON: {error}"
    return None


def of_otlp_proto(message: bytes, points: Points | None, reason: str) -> str | None:
    """Compare with OpenTelemetry's classes.

    These look also at what nobody uses (exemplars, descriptions), so they may refuse what is taken.
    """
    try:
        data = MetricsData.FromString(message)
    except DecodeError:
        return None
    if points is None:
        return None if reason.endswith(_STRICTER) else f"refused, and OpenTelemetry takes it: {reason}"
    expected = [
        (min(point.ts, 2**63 - 1), point.value) for point in measured([data])[0]
    ]
    return _difference(points, expected)


def of_remote_write(encoding: str) -> Oracle:
    """Compare with protobuf's classes."""
    kind = v1["WriteRequest"] if encoding == "prometheus_remote_write" else v2["Request"]

    def oracle(message: bytes, points: Points | None, reason: str) -> str | None:
        body = _decompressed(message)
        try:
            data = kind.FromString(body)
        except DecodeError:
            return None
        reader = Reader()
        if points is None:
            return None if _stricter(reason) else f"refused, and protobuf takes it: {reason}"
        try:
            (reader.read_v1 if kind is v1["WriteRequest"] else reader.read_v2)(0, data)
        except (IndexError, ValueError):
            return "taken, and a symbol is missing"
        samples = [(read.ts, read.value) for read in reader.found if isinstance(read.value, float)]
        return _difference(points, samples)

    return oracle


def _decompressed(message: bytes) -> bytes:
    length = 0
    for position, byte in enumerate(message[:5]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    if length > min(LARGEST, 22 * len(message)):
        return message
    try:
        return bytes(pa.decompress(message, length, "snappy", asbytes=True))
    except (OSError, pa.ArrowInvalid):
        return message


def _stricter(reason: str) -> bool:
    known = (
        "no series in it", "symbol that is not there", "empty message", "once decompressed",
        "more than 64 bits", "a label is not one",
    )  # fmt: skip
    return any(text in reason for text in known)


def _difference(found: Points, expected: Sequence[tuple[int, Any]]) -> str | None:
    if sorted(found) == sorted(expected):
        return None
    if any(math.isnan(value) for _, value in found):
        return "a value is NaN"
    return f"points {sorted(found)[:5]} instead of {sorted(expected)[:5]}"
