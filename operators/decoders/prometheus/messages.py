"""The messages of a poll as Arrow, whether they are compressed or not, for both versions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.nested import offsets
from operators.columns.scanning import joined
from operators.contracts.decoder import UndecodableError, decode_or_reject
from operators.decoders.prometheus.snappy_block import NotSnappyError, decompress
from operators.decoders.protobuf.reading import LENGTH, REASONS, read_length, read_tag, skip
from operators.decoders.protobuf.wellformed import find_faults

__all__ = ["parse_messages", "parse_with"]

_SUSPICIOUS: Final = 12  # times larger once decompressed, as metrics rarely are
_LEAST_A_FIELD: Final = 6  # bytes, on average


def parse_messages(
    values: Sequence[bytes],
    parse: Callable[[Sequence[bytes]], pa.StructArray],
    layout: NDArray[np.int64],
) -> tuple[pa.StructArray, NDArray[np.uint32], dict[int, str]]:
    """Decompress and parse a poll.

    The protocol has every body compressed with Snappy. There are writers to Kafka that leave
    compressing to Kafka, so what is not a block of Snappy is taken as it is.

    Args:
        values: the messages.
        parse: makes an array with one row a message, or raises ``UndecodableError``.
        layout: of the messages that it parses, see ``find_faults``.

    Returns:
        The rows of the good messages, the index of each in ``values``, and the reasons of the bad.
    """
    bodies: list[bytes] = []
    indexes: list[int] = []
    rejected: dict[int, str] = {}
    bare: dict[int, str] = {}
    for index, value in enumerate(values):
        try:
            body = decompress(value)
        except NotSnappyError as error:
            body = value
            bare[index] = str(error)
        except UndecodableError as error:
            rejected[index] = str(error)
            continue
        if not body and index not in bare:
            continue  # a request without any series
        if len(body) > _SUSPICIOUS * len(value) and _is_bomb(body):
            rejected[index] = f"{len(body)} bytes once decompressed, most of them empty fields"
            continue
        bodies.append(body)
        indexes.append(index)
    faults = _faults(bodies, layout)
    for position in np.flatnonzero(faults).tolist():
        index = indexes[position]
        reason = f"not remote write in protobuf: {REASONS[int(faults[position])]}"
        rejected[index] = _both(reason, bare.get(index))
    whole = np.flatnonzero(faults == 0).tolist()
    bodies, indexes = [bodies[i] for i in whole], [indexes[i] for i in whole]
    parsed, kept, bad = decode_or_reject(bodies, parse)
    for position, reason in bad.items():
        rejected[indexes[position]] = _both(reason, bare.get(indexes[position]))
    return parsed, np.array(indexes, np.uint32)[kept], rejected


def _faults(bodies: Sequence[bytes], layout: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return why each message is not well-formed, 0 if it is."""
    buffer, bounds = joined(bodies)
    faults = np.empty(len(bodies), np.int64)
    find_faults(buffer.ctypes.data, np.stack((bounds[:-1], bounds[1:]), axis=1), layout, faults)
    return faults


def _both(reason: str, not_snappy: str | None) -> str:
    """Return why what is no block of Snappy is no message either."""
    return f"{reason}; not Snappy: {not_snappy}" if not_snappy else reason


def _is_bomb(body: bytes) -> bool:
    """Return whether a message is next to nothing but fields, and would be large as Arrow.

    An empty histogram is two bytes, and takes hundreds in columns. A label, a sample, a histogram
    that say something take six and more.
    """
    begin = np.frombuffer(body, np.uint8).ctypes.data
    return bool(_count_fields(begin, begin + len(body)) * _LEAST_A_FIELD > len(body))


@compiled
def _count_fields(at: int, end: int) -> int:
    """Return the number of fields of a message, and of the messages in it, one level down.

    It stops where the bytes are not protobuf.
    """
    fields = 0
    inner_end = 0
    while 0 <= at < end:
        tag, at = read_tag(at, end)
        if at < 0:
            break
        fields += 1
        if tag & 7 != LENGTH:
            at = skip(tag, at, end)
            continue
        start, after = read_length(at, end)
        # Into a message of the first level, over everything else.
        at, inner_end = (start, after) if at >= inner_end else (after, inner_end)
    return fields


def parse_with(handler: Any, values: Sequence[bytes], version: str) -> pa.StructArray:
    """Return the messages as ``handler`` decodes them.

    Raises:
        UndecodableError: one of them is not protobuf, or has none of the message's fields.
    """
    try:
        parsed = handler.list_to_record_batch(list(values)).to_struct_array()
    except ValueError as error:
        cause = str(error).removeprefix("failed to decode Protobuf message: ")
        raise UndecodableError(f"not remote write {version} in protobuf: {cause}") from None
    sizes = sum(np.diff(offsets(parsed.field(field.name))) for field in parsed.type)
    if len(parsed) and np.min(sizes) == 0:
        raise UndecodableError(f"not remote write {version} in protobuf: no series in it")
    return parsed
