"""The contract of a decoder of traces: messages of one wire format become spans in columns.

Whatever the format, a span is kept as OTLP's protobuf has it: a range of bytes in one buffer, and a row
of numbers. What texts it has is decoded for identities that are new, and for spans that are kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALWAYS", "RANGE", "SPAN_ROW", "DecodedSpans", "SpanDecoder"]

SPAN_ROW: Final = np.dtype(
    [
        ("trace_high", np.uint64),  # the trace id as a number of 128 bits
        ("trace_low", np.uint64),
        ("span", np.uint64),
        ("parent", np.uint64),  # 0 of a root
        ("raw", np.uint64),  # hash of what identifies its operation: a key within one process
        ("begun", np.int64),  # nanoseconds since the Unix epoch
        ("ended", np.int64),
        (
            "threshold",
            np.int64,
        ),  # OpenTelemetry's ``th`` as a number of 56 bits; ALWAYS without one
        ("randomness", np.int64),  # ``rv``, or the last 56 bits of the trace id
        ("start", np.int64),  # of its bytes in the buffer, and their end
        ("end", np.int64),
        ("resource", np.int64),  # rows of the poll's resources and scopes, -1 if there is none
        ("scope", np.int64),
        ("message", np.uint32),  # index in the poll of the message that held it
        ("kind", np.uint8),  # OTLP's numbers
        ("status", np.uint8),
        ("valid", np.bool_),  # it has both ids
    ],
    align=True,
)
"""One span a row."""

RANGE: Final = np.dtype([("start", np.int64), ("end", np.int64)])
"""A resource or scope: where its bytes lie in the buffer."""

ALWAYS: Final = -1
"""A threshold where none is said: nothing is known of spans that were left out."""


@dataclass(frozen=True, slots=True)
class DecodedSpans:
    """What a poll's messages held.

    Attributes:
        buffer: OTLP spans, resources and scopes in protobuf, and ``PADDING``.
        rows: SPAN_ROW, in the order of the messages; those without valid ids are among them.
        resources, scopes: RANGE.
        rejected: index of each message that is not of the format, and why. None of its spans is
            among ``rows``.
    """

    buffer: NDArray[np.uint8]
    rows: NDArray[Any]
    resources: NDArray[Any]
    scopes: NDArray[Any]
    rejected: Mapping[int, str] = field(default_factory=dict)


class SpanDecoder(Protocol):
    """One wire format. It keeps no state between calls, so any worker may decode any poll."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll's messages. Never raises because of what they hold.

        Args:
            values: the messages.
            identifying: hashes of the keys of attributes that tell operations apart, beside
                resource, name, kind and status; see ``operators.decoders.otlp.traces.key_hashes``.
        """
        ...

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        ...
