"""Requests of OTLP over HTTP.

Source: OpenTelemetry protocol, "OTLP/HTTP Response" and "Failures".
"""

from __future__ import annotations

import logging
from typing import Final

import httpx
from isal import igzip

from sinks.base import Unavailable, address, cause, in_a_line, seconds_of
from sinks.otlp_transport import OTLPRefusal, OTLPSettings, tls

__all__ = ["OTLPOverHTTP"]

_PATH: Final = "/v1/traces"
_GZIP_LEVEL: Final = 1
_FOR_GOOD: Final = frozenset({400, 411, 413, 414, 415, 422})
"""Answers about what was sent; all others are about who sends, where to, and when."""
_WAYS_OUT: Final = {
    401: "; set sinks.otlp.headers",
    403: "; the credentials in sinks.otlp.headers may not do this",
    404: "; sinks.otlp.endpoint is the address without /v1/traces",
}


class OTLPOverHTTP:
    """Posts requests, one after the other."""

    def __init__(self, settings: OTLPSettings) -> None:
        self._gzip = settings.gzip
        self._url = settings.endpoint.rstrip("/") + _PATH
        self._place = f"otlp: {address(settings.endpoint)}"
        logging.getLogger("httpx").setLevel(logging.WARNING)  # it logs the whole address
        self._settings = settings
        self._client: httpx.Client | None = None

    def _open(self) -> httpx.Client:
        settings = self._settings
        return httpx.Client(
            timeout=settings.timeout / 1e9,
            verify=tls(settings),
            headers={
                "User-Agent": "Headrace",
                "Content-Type": "application/x-protobuf",
                **({"Content-Encoding": "gzip"} if settings.gzip else {}),
                **{name: value.get_secret_value() for name, value in settings.headers.items()},
            },
        )

    def send(self, request: bytes, headers: dict[str, str]) -> bytes:
        """Send a request; see ``OTLPTransport``."""
        if self._client is None:
            self._client = self._open()
        try:
            answer = self._client.post(
                self._url,
                content=igzip.compress(request, _GZIP_LEVEL) if self._gzip else request,
                headers=headers,
            )
        except httpx.HTTPError as error:
            no_http = isinstance(error, httpx.RemoteProtocolError)
            way_out = "; if gRPC answers there, set sinks.otlp.protocol: grpc" if no_http else ""
            raise Unavailable(f"{self._place}: {cause(error)}{way_out}") from None
        if answer.status_code < 300:
            return answer.content
        said = f"{self._place}: {answer.status_code} {in_a_line(answer.text)}"
        said += _WAYS_OUT.get(answer.status_code, "")
        if answer.status_code in _FOR_GOOD:
            raise OTLPRefusal(said)
        raise Unavailable(said, seconds_of(answer.headers.get("retry-after")))

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None
