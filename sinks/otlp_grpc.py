"""Requests of OTLP over gRPC; needs the extra ``otlp-grpc``.

Requests are bytes already, so a call takes and gives bytes, and no message is made of a span. A channel
that could not reach its backend, or waited in vain, is closed, and the next request opens another: it looks
the name up, reads the certificates, and does not wait for gRPC's own pauses beside those of the flow.

Source: OpenTelemetry protocol, "OTLP/gRPC Response", "Failures" and "OTLP/gRPC Throttling".
"""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from sinks.base import Unavailable, address, in_a_line
from sinks.otlp_transport import OTLPRefusal, OTLPSettings, tls

__all__ = ["OTLPOverGRPC"]

_METHOD: Final = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_PORT: Final = 4317
_DETAILS: Final = "grpc-status-details-bin"
_Code: Final = grpc.StatusCode
_LOST: Final = frozenset({_Code.UNAVAILABLE, _Code.DEADLINE_EXCEEDED, _Code.CANCELLED})
"""After these another channel is opened."""
_FOR_GOOD: Final = frozenset(
    {
        _Code.INVALID_ARGUMENT,
        _Code.ALREADY_EXISTS,
        _Code.FAILED_PRECONDITION,
        _Code.INTERNAL,  # what a collector says of an error that is permanent
        _Code.UNKNOWN,
    }
)
"""What may not be sent again, unless it is about who sends and where to: an operator can mend that."""
_WAYS_OUT: Final = {
    _Code.UNAUTHENTICATED: "; set sinks.otlp.headers",
    _Code.PERMISSION_DENIED: "; the credentials in sinks.otlp.headers may not do this",
    _Code.UNIMPLEMENTED: "; nothing there takes traces over gRPC: see sinks.otlp.endpoint",
    _Code.NOT_FOUND: "; see sinks.otlp.endpoint",
}
_NAME: Final = re.compile(r"^[A-Z_]+: ")
"""Of a status, before what an attempt to connect came to."""
_WITH_TLS: Final = (
    ("CERTIFICATE_VERIFY_FAILED", "; set sinks.otlp.ca_certs"),
    ("WRONG_VERSION_NUMBER", "; there is no TLS there: write http:// in sinks.otlp.endpoint"),
    # With TLS 1.3 a backend that wants a certificate says no more than this.
    (
        "Socket closed",
        "; if it asks for a certificate, set sinks.otlp.client_certificate and client_key",
    ),
)
_WITHOUT_TLS: Final = (
    ("parsing HTTP/2", "; what answers there speaks HTTP/1: set sinks.otlp.protocol: http"),
    ("Socket closed", "; if there is TLS there, write https:// in sinks.otlp.endpoint"),
)


class OTLPOverGRPC:
    """Calls the backend, one request after the other."""

    def __init__(self, settings: OTLPSettings) -> None:
        self._settings = settings
        self._place = f"otlp: {address(settings.endpoint)}"
        parts = urlsplit(settings.endpoint)
        self._target = f"{parts.netloc}" if parts.port else f"{parts.netloc}:{_PORT}"
        self._secure = parts.scheme == "https"
        self._metadata = [
            (name.lower(), value.get_secret_value()) for name, value in settings.headers.items()
        ]
        self._channel: grpc.Channel | None = None
        self._export: Any = None

    def send(self, request: bytes, headers: dict[str, str]) -> bytes:
        """Send a request; see ``OTLPTransport``."""
        metadata = [*self._metadata, *((name.lower(), text) for name, text in headers.items())]
        if self._channel is None:
            self._open()
        try:
            answer: bytes = self._export(
                request, timeout=self._settings.timeout / 1e9, metadata=metadata
            )
        except grpc.RpcError as error:
            raise self._failure(error) from None
        return answer

    def close(self) -> None:
        """Close the connections."""
        if self._channel is not None:
            self._channel.close()
            self._channel = self._export = None

    def _open(self) -> None:
        options = [
            # The backend says what is too much, and then gets less at a time.
            ("grpc.max_send_message_length", -1),
            ("grpc.primary_user_agent", "Headrace"),
            # Sending again is the flow's business.
            ("grpc.enable_retries", 0),
            # Channels to one address would share a connection, also one that is lost.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        gzip = grpc.Compression.Gzip if self._settings.gzip else grpc.Compression.NoCompression
        if self._secure:
            self._channel = grpc.secure_channel(self._target, self._credentials(), options, gzip)
        else:
            self._channel = grpc.insecure_channel(self._target, options, gzip)
        self._export = self._channel.unary_unary(_METHOD)

    def _credentials(self) -> grpc.ChannelCredentials:
        settings = self._settings
        roots = _system_roots(tls(settings))  # which says what is wrong with a file; gRPC does not
        try:
            return grpc.ssl_channel_credentials(
                _read(settings.ca_certs) or roots,
                _read(settings.client_key),
                _read(settings.client_certificate),
            )
        except OSError as error:
            raise Unavailable(f"{self._place}: {error.filename}: {error.strerror}") from None

    def _failure(self, error: grpc.RpcError) -> OTLPRefusal | Unavailable:
        """Return what a failed call means, and close the channel if it is of no more use."""
        call: Any = error  # one that ended so is both
        code, said = call.code(), call.details() or ""
        pause = _pause(call.trailing_metadata() or ())
        way_out = _WAYS_OUT.get(code, "")
        if code in _LOST:
            said = _NAME.sub("", said.rpartition("last error: ")[2])
            hints = _WITH_TLS if self._secure else _WITHOUT_TLS
            way_out = next((hint for sign, hint in hints if sign in said), "")
            self.close()
        text = f"{self._place}: {code.name} {in_a_line(said)}{way_out}"
        # Of what it lacks room for, only what it asks for again may come again.
        if code in _FOR_GOOD or (code == _Code.RESOURCE_EXHAUSTED and pause is None):
            return OTLPRefusal(text)
        return Unavailable(text, pause)


def _pause(metadata: Any) -> float | None:
    """Return the seconds after which a backend wants a request again; None if it says nothing of it."""
    for name, content in metadata:
        if name != _DETAILS:
            continue
        try:
            for detail in Status.FromString(content).details:
                info = RetryInfo()
                if detail.Unpack(info):
                    return float(info.retry_delay.seconds + info.retry_delay.nanos / 1e9)
        except DecodeError:
            return None
    return None


def _read(path: Path | None) -> bytes | None:
    return path.read_bytes() if path is not None else None


def _system_roots(context: ssl.SSLContext) -> bytes | None:
    """Return the certificates that OTLP over HTTP would trust; None: those of gRPC."""
    known = context.get_ca_certs(binary_form=True)
    return "".join(map(ssl.DER_cert_to_PEM_cert, known)).encode() or None
