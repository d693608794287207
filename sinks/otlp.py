"""Kept spans to whatever takes OTLP over HTTP: Jaeger, an OpenTelemetry Collector, a vendor.

A request holds spans as protobuf, in the bytes that they came in. What the backend can't take now it is sent
again; what it refuses for good is halved until what it refuses stands alone. That is tried once more with texts
that are UTF-8: backends refuse a whole request for a byte that is none. OTLP has no identity but the span's own: after a crash
some spans are sent twice, and the backend tells them by trace and span id.

Source: OpenTelemetry protocol, "OTLP/HTTP Response" and "Failures".
"""

from __future__ import annotations

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, Protocol

import httpx
import polars as pl
from isal import igzip
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse
from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import SecretStr

from operators.columns.batches import decode_batch, encode_batches
from operators.contracts.batch_form import SPAN_BATCHES
from operators.contracts.frames import SPANS, empty
from operators.contracts.monitoring import SINK_REFUSED_UNNAMED
from operators.decoders.protobuf.lenient import is_message, read_message
from sinks.base import Destination, Remainder, Unavailable, address, cause, joined, rejects
from sinks.otlp_encoding import encode_spans

__all__ = ["OTLP", "OTLPSettings"]

_log = logging.getLogger(__name__)

_PATH: Final = "/v1/traces"
_GZIP_LEVEL: Final = 1
_SHOWN: Final = 300
_FOR_GOOD: Final = frozenset({400, 411, 413, 414, 415, 422})
"""Answers about what was sent; all others are about who sends, where to, and when."""
_WAYS_OUT: Final = {
    401: "; set sinks.otlp.headers",
    403: "; the credentials in sinks.otlp.headers may not do this",
    404: "; sinks.otlp.endpoint is the address without /v1/traces",
}


class OTLPSettings(Protocol):
    """What the sink needs to know; ``flows.settings.sinks.OTLPSection`` is one."""

    endpoint: str
    headers: dict[str, SecretStr]
    tenant_header: str | None
    ca_certs: Path | None
    timeout: int
    batch_bytes: int
    gzip: bool


class OTLP(Destination):
    """Writes SPANS frames. The payload of what is refused is a batch of one span."""

    name = "otlp"

    def __init__(self, settings: OTLPSettings) -> None:
        self._settings = settings
        self._url = settings.endpoint.rstrip("/") + _PATH
        self._place = f"otlp: {address(settings.endpoint)}"
        self._remainder = Remainder()
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the whole address
        trust = ssl.create_default_context(
            cafile=str(settings.ca_certs) if settings.ca_certs else None
        )
        self._client = httpx.Client(
            timeout=settings.timeout / 1e9,
            verify=trust,
            headers={
                "User-Agent": "Headrace",
                "Content-Type": "application/x-protobuf",
                **({"Content-Encoding": "gzip"} if settings.gzip else {}),
                **{name: value.get_secret_value() for name, value in settings.headers.items()},
            },
        )

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a SPANS frame, one request after the other."""
        rows = self._remainder.of(frame)
        batches = self._batches(rows)
        refused: list[pl.DataFrame] = []
        reasons: list[str] = []
        for number, batch in enumerate(batches):
            try:
                self._send(batch, refused, reasons)
            except Unavailable:
                # What is refused must come again as well: only a write that ends can say so.
                self._remainder.keep(frame, pl.concat([*batches[number:], *refused]))
                raise
        if not refused:
            return None
        payloads = [
            value for part in refused for row in part.iter_slices(1)
            for value in encode_batches(row, SPAN_BATCHES)
        ]  # fmt: skip
        return rejects(self.name, reasons, payloads)

    def reach(self) -> None:
        """Make sure that the backend takes spans, sending none.

        Raises:
            Unavailable: it does not; the message says why, and what to do.
        """
        answer = self._post(empty(SPANS))
        if answer.status_code >= 300:
            raise self._unavailable(answer)

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the SPANS frame of refused spans."""
        found = joined([decode_batch(memoryview(payload), SPAN_BATCHES) for payload in payloads])
        if found is None or found.height != len(payloads):
            raise ValueError(f"not a span that {self.name} refused")
        return found.select(SPANS.names())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

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

    def _send(self, batch: pl.DataFrame, refused: list[pl.DataFrame], reasons: list[str]) -> None:
        """Send a batch; where it is refused for good, its halves."""
        answer = self._post(batch)
        if answer.status_code < 300:
            self._note_partial(answer)
            return
        if answer.status_code not in _FOR_GOOD:
            raise self._unavailable(answer)
        if batch.height == 1:
            mended = _mended(batch)
            if not mended.equals(batch):
                self._send(mended, refused, reasons)
                return
            refused.append(batch)
            reasons.append(f"{self._place}: {_said(answer)}")
            return
        middle = batch.height // 2
        self._send(batch[:middle], refused, reasons)
        self._send(batch[middle:], refused, reasons)

    def _unavailable(self, answer: httpx.Response) -> Unavailable:
        after = answer.headers.get("retry-after", "")
        return Unavailable(
            f"{self._place}: {_said(answer)}{_WAYS_OUT.get(answer.status_code, '')}",
            float(after) if after.isdecimal() else None,
        )

    def _post(self, batch: pl.DataFrame) -> httpx.Response:
        body = encode_spans(batch)
        headers = {}
        if self._settings.tenant_header is not None and batch.height:
            headers[self._settings.tenant_header] = batch["tenant"][0]
        try:
            return self._client.post(
                self._url,
                content=igzip.compress(body, _GZIP_LEVEL) if self._settings.gzip else body,
                headers=headers,
            )
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._place}: {cause(error)}") from None

    def _note_partial(self, answer: httpx.Response) -> None:
        """Tell of spans that the backend left out without saying which: OTLP forbids to send them again."""
        try:
            partial = ExportTraceServiceResponse.FromString(answer.content).partial_success
        except Exception:  # an answer without a body that is protobuf: all is well
            return
        if partial.rejected_spans > 0:
            SINK_REFUSED_UNNAMED.labels(self.name).inc(partial.rejected_spans)
            _log.warning(
                "%s: left out %d spans, and does not say which: %s", self._place,
                partial.rejected_spans, partial.error_message[:_SHOWN],
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


def _said(answer: httpx.Response) -> str:
    return f"{answer.status_code} {' '.join(answer.text.split())[:_SHOWN]}"
