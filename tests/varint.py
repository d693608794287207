"""Unsigned variable-length integers, as Kafka's protocol and protobuf write them."""


def varint(content: bytes, at: int) -> tuple[int, int]:
    """Return the integer that begins at a place, and where it ends."""
    value = shift = 0
    while True:
        byte = content[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
