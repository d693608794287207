"""Posting JSON to a receiver, and what its answer means. Shared by the channels over HTTP."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from operators.clock import Clock, SystemClock
from sinks.base import cause
from sinks.channels.base import Delivered, Outcome, Refused, Retry

__all__ = ["Endpoint"]

# At level INFO, httpx logs the address of every request, and the address is the secret.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

_AGENT: Final = "Headrace"
_SHOWN: Final = 200
_TRY_LATER: Final = frozenset({408, 425, 429})
_FROM_A_PROXY: Final = frozenset({502, 504})


class Endpoint:
    """An address to post to.

    Args:
        url: the address; its path and query are kept out of messages.
        bearer_token: sent as ``Authorization``.
        timeout: seconds that one post may take.
        clock: tells how far off the date in ``Retry-After`` is.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        timeout: float,
        clock: Clock | None = None,
    ) -> None:
        headers = {"User-Agent": _AGENT, "Content-Type": "application/json"}
        if bearer_token is not None:
            headers["Authorization"] = f"Bearer {bearer_token}"
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        self.timeout = timeout
        self._url = url
        self._secrets = _secrets_of(url, bearer_token)
        self._clock = clock or SystemClock()
        self._client = httpx.AsyncClient(headers=headers, timeout=timeout)

    async def post(self, body: Mapping[str, Any]) -> tuple[Outcome, str]:
        """Post ``body`` as JSON, once.

        Returns:
            How it went, and what was answered, fit for a message.
        """
        try:
            answer = await self._client.post(self._url, content=orjson.dumps(body))
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Retry(f"{self.host} can't be reached: {self._redact(cause(error))}"), ""
        except httpx.TimeoutException as error:
            reason = f"{self.host}: no answer in time ({type(error).__name__})"
            return Retry(reason, perhaps=True), ""
        except httpx.TransportError as error:
            return Retry(f"{self.host}: {self._redact(cause(error))}", perhaps=True), ""
        said = self._redact(" ".join(answer.text.split()))
        return self._judge(answer, said), said

    async def close(self) -> None:
        """Release the connections."""
        await self._client.aclose()

    def _judge(self, answer: httpx.Response, said: str) -> Outcome:
        if answer.is_success:
            return Delivered()
        reason = f"{self.host} answered {answer.status_code}" + (f": {said}" if said else "")
        if answer.is_server_error or answer.status_code in _TRY_LATER:
            after = self._retry_after(answer.headers.get("Retry-After"))
            return Retry(reason, after, perhaps=answer.status_code in _FROM_A_PROXY)
        if answer.is_redirect:
            reason += " (a redirection: write the address that it leads to in the settings)"
        return Refused(reason)

    def _retry_after(self, text: str | None) -> float | None:
        """Read ``Retry-After``: seconds, or a date."""
        if text is None:
            return None
        try:
            return max(0.0, float(text))
        except ValueError:
            pass
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock.now() / 1e9)
        except ValueError:
            return None

    def _redact(self, text: str) -> str:
        """Mask what an answer repeats of the address or the token, and cut it short."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text[:_SHOWN]


def _secrets_of(url: str, bearer_token: str | None) -> list[str]:
    """Return the texts to keep out of messages, the longest first."""
    parts = urlsplit(url)
    pieces = [url, parts.path, parts.query, parts.username, parts.password, bearer_token]
    pieces += parts.path.split("/")
    pieces += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    return sorted({piece for piece in pieces if piece and len(piece) >= 8}, key=len, reverse=True)
