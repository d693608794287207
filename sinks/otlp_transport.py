"""What carries requests of OTLP: the contract of the transports over HTTP and over gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

__all__ = ["OTLPRefusal", "OTLPSettings", "OTLPTransport"]


class OTLPSettings(Protocol):
    """What the sink needs to know; ``flows.settings.sinks.OTLPSection`` is one."""

    protocol: Literal["http", "grpc"]
    endpoint: str
    headers: dict[str, SecretStr]
    tenant_header: str | None
    ca_certs: Path | None
    client_certificate: Path | None
    client_key: Path | None
    timeout: int
    batch_bytes: int
    gzip: bool


class OTLPRefusal(Exception):
    """The backend refuses for good what was sent; the text names it and says why."""


class OTLPTransport(Protocol):
    """One connection to one backend, used by one thread."""

    def send(self, request: bytes, headers: dict[str, str]) -> bytes:
        """Send an ``ExportTraceServiceRequest`` and return the response, once it has come.

        Args:
            request: in protobuf.
            headers: beside those of the settings.

        Raises:
            OTLPRefusal: the backend refuses for good what was sent.
            Unavailable: it can't take it now; the message says why, and what to do.
        """
        ...

    def close(self) -> None:
        """Close the connections."""
        ...
