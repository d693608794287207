"""OTLP traces in protobuf: a message is a ``TracesData``, or a request to export one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from operators.columns.messages import Messages
from operators.columns.scanning import joined
from operators.contracts.span_decoder import SPAN_ROW, DecodedSpans
from operators.decoders.otlp.groups import groups_of
from operators.decoders.otlp.traces_scan import hashes_of_keys, scan_traces
from operators.decoders.protobuf.reading import REASONS

__all__ = ["OtlpTraces", "key_hashes", "scan"]


class OtlpTraces:
    """Decodes OTLP traces in protobuf."""

    def decode(self, values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
        """Decode a poll."""
        return scan(values, identifying)

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([b""], key_hashes(["key"]))


def key_hashes(keys: Iterable[str]) -> NDArray[np.uint64]:
    """Return the hashes of keys of attributes, as a scan is asked for them."""
    texts = Messages.of([key.encode() for key in keys])
    return hashes_of_keys(texts.buffer, texts.bounds)


def scan(values: Sequence[bytes], identifying: NDArray[np.uint64]) -> DecodedSpans:
    """Scan messages of OTLP's protobuf."""
    buffer, bounds = joined(values)
    entries, resources, scopes, status = groups_of(buffer, bounds)
    rows = np.empty(len(entries), SPAN_ROW)
    rows = rows[: scan_traces(buffer.ctypes.data, entries, resources, rows, identifying, status)]
    rejected = {
        row: f"not a TracesData of OTLP: {REASONS[int(status[row])]}"
        for row in np.flatnonzero(status).tolist()
    }
    return DecodedSpans(buffer, rows, resources, scopes, rejected)
