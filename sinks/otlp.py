"""Kept spans to whatever takes OTLP: Jaeger, an OpenTelemetry Collector, a vendor.

A request holds spans as protobuf, in the bytes that they came in. What the backend can't take now it is sent
again; what it refuses for good is halved until what it refuses stands alone. That is tried once more with texts
that are UTF-8: backends refuse a whole request for a byte that is none. OTLP has no identity but the span's own: after a crash
some spans are sent twice, and the backend tells them by trace and span id. How a request gets there, over
HTTP or gRPC, is said by ``otlp_http`` and ``otlp_grpc``.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Sequence

import polars as pl
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from operators.contracts.batch_form import SPAN_BATCHES
from operators.contracts.monitoring import SINK_REFUSED_UNNAMED
from operators.decoders.protobuf.lenient import is_message, read_message
from sinks.base import Destination, Remainder, Unavailable, address, in_a_line
from sinks.otlp_encoding import encode_spans
from sinks.otlp_transport import OTLPRefusal, OTLPSettings, OTLPTransport
from sinks.refused_rows import refused_rows, restored_rows

__all__ = ["OTLP"]

_log = logging.getLogger(__name__)


class OTLP(Destination):
    """Writes SPANS frames. The payload of what is refused is a batch of one span."""

    name = "otlp"

    def __init__(self, settings: OTLPSettings) -> None:
        self._settings = settings
        self._place = f"otlp: {address(settings.endpoint)}"
        self._remainder = Remainder()
        self._transport = _transport(settings)

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a SPANS frame, one request after the other."""
        waiting = deque(self._batches(self._remainder.of(frame)))
        refused: list[pl.DataFrame] = []
        reasons: list[str] = []
        while waiting:
            batch = waiting.popleft()
            try:
                self._note_partial(self._send(batch))
            except OTLPRefusal as error:
                if batch.height == 1 and not (mended := _mended(batch)).equals(batch):
                    waiting.appendleft(mended)
                elif batch.height == 1:
                    refused.append(batch)
                    reasons.append(str(error))
                else:
                    middle = batch.height // 2
                    waiting.extendleft((batch[middle:], batch[:middle]))
            except Unavailable:
                # What is refused must come again as well: only a write that ends can say so.
                self._remainder.keep(frame, pl.concat([batch, *waiting, *refused]))
                raise
        return refused_rows(self.name, reasons, refused, SPAN_BATCHES)

    def reach(self) -> None:
        """Make sure that the backend takes spans, sending none.

        Raises:
            Unavailable: it does not; the message says why, and what to do.
        """
        try:
            self._transport.send(b"", {})
        except OTLPRefusal as error:
            raise Unavailable(str(error)) from None

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the SPANS frame of refused spans."""
        return restored_rows(self.name, payloads, SPAN_BATCHES)

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _batches(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """Cut the frame where a request would grow too large, and where tenants are told apart."""
        parts = [frame]
        if self._settings.tenant_header is not None:
            parts = frame.partition_by("tenant", maintain_order=True)
        found = []
        for part in parts:
            sizes = part["span"].bin.size().cast(pl.Int64)
            batch = (sizes.cum_sum() - sizes) // self._settings.batch_bytes
            found += part.with_columns(batch=batch).partition_by("batch", include_key=False)
        return found

    def _send(self, batch: pl.DataFrame) -> bytes:
        """Send a batch, all of one tenant if they are told apart, and return the response.

        Raises:
            OTLPRefusal: the backend refuses it, or the tenant's name can't be in a header.
            Unavailable: the backend can't take it now.
        """
        headers = {}
        if self._settings.tenant_header is not None:
            name, tenant = self._settings.tenant_header, batch["tenant"][0]
            if not (tenant.isascii() and tenant.isprintable()):
                raise OTLPRefusal(f"{self._place}: {name} can't be {tenant!r}: not printable ASCII")
            headers[name] = tenant
        return self._transport.send(encode_spans(batch), headers)

    def _note_partial(self, response: bytes) -> None:
        """Tell of spans that the backend left out without saying which: OTLP forbids to send them again."""
        try:
            partial = ExportTraceServiceResponse.FromString(response).partial_success
        except Exception:  # an answer without a body that is protobuf: all is well
            return
        if partial.rejected_spans > 0:
            SINK_REFUSED_UNNAMED.labels(self.name).inc(partial.rejected_spans)
            _log.warning(
                "%s: left out %d spans, and does not say which: %s", self._place,
                partial.rejected_spans, in_a_line(partial.error_message),
            )  # fmt: skip


def _mended(batch: pl.DataFrame) -> pl.DataFrame:
    """Return spans without what protobuf's parser refuses; those that it can't read at all as they are."""
    kinds = {"span": Span, "resource": Resource, "scope": InstrumentationScope}
    columns = []
    for name, kind in kinds.items():
        found = []
        for content in batch[name].to_list():
            read = read_message(kind, content)
            same = not read.ByteSize() or is_message(kind, content)
            found.append(content if same else read.SerializeToString())
        columns.append(pl.Series(name, found, pl.Binary))
    return batch.with_columns(columns)


def _transport(settings: OTLPSettings) -> OTLPTransport:
    """Return the transport that the settings name; only that one is imported."""
    if settings.protocol == "grpc":
        # Its core would write of each handshake that fails, beside the log; it looks when it is imported.
        os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
        from sinks.otlp_grpc import OTLPOverGRPC  # noqa: PLC0415

        return OTLPOverGRPC(settings)
    from sinks.otlp_http import OTLPOverHTTP  # noqa: PLC0415

    return OTLPOverHTTP(settings)
