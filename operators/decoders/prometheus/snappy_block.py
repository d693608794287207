"""Snappy's block format: the body of a remote write request, decompressed within limits.

A block begins with its decompressed length, so what it would take is known before any of it is
decompressed.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

from operators.contracts.decoder import UndecodableError

__all__ = ["LARGEST", "NotSnappyError", "decompress"]

LARGEST: Final = 16 << 20
"""Bytes that a message may have once decompressed: many times what any sender puts into one."""

# A copy of three bytes stands for 64 at most, and nothing in the format stands for more a byte.
_MOST_A_BYTE: Final = 22

_NOTHING: Final = b"\x00"
"""The block of nothing: Telegraf writes it for a batch that has no numbers."""


class NotSnappyError(UndecodableError):
    """Bytes are not a block of Snappy; they may be something else."""


def decompress(block: bytes) -> bytes:
    """Return the content of ``block``.

    Raises:
        NotSnappyError: it is not a block, is cut off or damaged.
        UndecodableError: it is larger than ``LARGEST`` once decompressed.
    """
    if block == _NOTHING:
        return b""
    length = 0
    for position, byte in enumerate(block[:5]):
        length |= (byte & 0x7F) << (7 * position)
        if byte < 0x80:
            break
    else:
        raise NotSnappyError("no length at its begin")
    if length > _MOST_A_BYTE * len(block):
        raise NotSnappyError(f"{len(block)} bytes cannot hold the {length} that it announces")
    if length > LARGEST:
        raise UndecodableError(f"{length} bytes once decompressed, and {LARGEST} are allowed")
    try:
        content: bytes = pa.decompress(block, length, "snappy", asbytes=True)
    except OSError:
        raise NotSnappyError("cut off or damaged") from None
    except pa.ArrowInvalid as error:
        raise NotSnappyError(str(error)) from None
    return content
