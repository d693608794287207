"""What carries requests of OTLP: the contract of the transports over HTTP and over gRPC."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Literal, Protocol

from pydantic import SecretStr

from sinks.base import Unavailable, address

__all__ = ["OTLPRefusal", "OTLPSettings", "OTLPTransport", "tls"]


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


def tls(settings: OTLPSettings) -> ssl.SSLContext:
    """Return whom the settings trust, and what they show.

    Raises:
        Unavailable: a file of certificates can't be read; the message says which.
    """
    place, authorities = f"otlp: {address(settings.endpoint)}", settings.ca_certs
    try:
        context = ssl.create_default_context(cafile=str(authorities) if authorities else None)
    except OSError as error:
        reason = "no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise Unavailable(f"{place}: sinks.otlp.ca_certs: {authorities}: {reason}") from None
    certificate, key = settings.client_certificate, settings.client_key
    if certificate is None or key is None:
        return context
    for name, path in (("client_certificate", certificate), ("client_key", key)):
        try:
            path.open("rb").close()
        except OSError as error:
            raise Unavailable(f"{place}: sinks.otlp.{name}: {path}: {error.strerror}") from None
    try:
        # Without a password OpenSSL would ask for one at the terminal.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise Unavailable(
            f"{place}: sinks.otlp.client_certificate and client_key: {certificate}, {key}: not a "
            f"certificate and its key without a password, both in PEM: {error}"
        ) from None
    return context
