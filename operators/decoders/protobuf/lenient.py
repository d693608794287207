"""Messages with texts that are not UTF-8: protobuf's parser refuses one for a single byte, and all that it says.

Producers in C++ and Rust send such texts, as a statement with binary values in it. It also refuses what is nested
too deeply, as an attribute may be.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import DecodeError

__all__ = ["is_message", "read_message"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_DEEPEST: Final = 90
"""Messages within messages that are read; protobuf's parser takes 100."""
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_NO_BYTES: Final = {0xDC80 + byte: "\ufffd" for byte in range(128)}
"""What Python makes of bytes that are no part of a character, by what is written for them."""


def read_message(kind: Any, content: bytes) -> Any:
    """Return a message; what is none at all comes as an empty one.

    Args:
        kind: its class.
        content: as it came. In texts U+FFFD stands for each byte that is no part of a character, and what is
            nested too deeply is empty.

    >>> from opentelemetry.proto.trace.v1.trace_pb2 import Span
    >>> read_message(Span, bytes([0x2A, 3, 0x61, 0xFF, 0x62])).name
    'a\ufffdb'
    """
    try:
        return kind.FromString(content)
    except DecodeError:
        pass
    try:
        return kind.FromString(_mended(kind.DESCRIPTOR, content))
    except (DecodeError, IndexError, RecursionError, ValueError):
        return kind()


def is_message(kind: Any, content: bytes) -> bool:
    """Say whether protobuf's parser takes a message as it is."""
    try:
        kind.FromString(content)
    except DecodeError:
        return False
    return True


def _mended(descriptor: Descriptor, content: bytes, depth: int = 0) -> bytes:
    if depth >= _DEEPEST:
        return b""
    found = bytearray()
    at = 0
    while at < len(content):
        key, after = _number(content, at)
        wire = key & 7
        if wire == _LENGTH:
            size, begin = _number(content, after)
            end = begin + size
            if end > len(content):
                raise ValueError("cut off")
            field = descriptor.fields_by_number.get(key >> 3)
            part = _part(field, content[begin:end], depth + 1)
            found += content[at:after] + _encoded(len(part)) + part
        else:
            end = (
                _number(content, after)[1] if wire == _VARINT else after + _SIZES.get(wire, 1 << 62)
            )
            if end > len(content):
                raise ValueError("cut off, or a type that is not known")
            found += content[at:end]
        at = end
    return bytes(found)


def _part(field: FieldDescriptor | None, content: bytes, depth: int) -> bytes:
    if field is None:
        return content
    if field.message_type is not None:
        return _mended(field.message_type, content, depth)
    if field.type == FieldDescriptor.TYPE_STRING:
        return content.decode(errors="surrogateescape").translate(_NO_BYTES).encode()
    return content


def _number(content: bytes, at: int) -> tuple[int, int]:
    """Return a number and where it ends."""
    number = shift = 0
    while True:
        byte = content[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at


def _encoded(number: int) -> bytes:
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)
