"""Posting JSON to a receiver, and what its answer means. Shared by the channels over HTTP."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import orjson

from operators.contracts.clock import Clock, SystemClock
from sinks.base import cause
from sinks.channels.base import Delivered, Outcome, RefusedByReceiver, Retry, Unreachable

__all__ = ["Endpoint", "HttpAccess"]

# At level INFO, httpx logs the address of every request, and the address is the secret.
logging.getLogger("httpx").setLevel(logging.WARNING)
logging.getLogger("httpcore").setLevel(logging.WARNING)

_AGENT: Final = "Headrace"
_SHOWN: Final = 200
_TRY_LATER: Final = frozenset({408, 425, 429})
_FROM_A_PROXY: Final = frozenset({502, 504})


@dataclass(frozen=True, slots=True)
class HttpAccess:
    """How a receiver is reached: who we are, whom we trust, and through which proxy.

    ``headers`` and ``basic`` (a name and a password) are secrets.
    """

    headers: Mapping[str, str] = field(default_factory=dict)
    basic: tuple[str, str] | None = None
    tls: ssl.SSLContext | bool = True
    proxy: str | None = None

    def secrets(self) -> list[str]:
        """Return the texts to keep out of messages."""
        found = [value.removeprefix("Bearer ") for value in self.headers.values()]
        return found + ([self.basic[1]] if self.basic else [])


class Endpoint:
    """An address to post to.

    Args:
        url: the address; its path and query are kept out of messages.
        bearer_token: sent as ``Authorization``.
        timeout: seconds that one post may take.
        access: how it is reached.
        clock: tells how far off the date in ``Retry-After`` is.
    """

    def __init__(
        self,
        url: str,
        *,
        bearer_token: str | None = None,
        timeout: float,
        access: HttpAccess | None = None,
        clock: Clock | None = None,
    ) -> None:
        access = access or HttpAccess()
        headers = {"User-Agent": _AGENT, "Content-Type": "application/json", **access.headers}
        if bearer_token is not None:
            headers["Authorization"] = f"Bearer {bearer_token}"
        parts = urlsplit(url)
        self.host = parts.netloc.rpartition("@")[2]
        self.timeout = timeout
        self._url = url
        self._secrets = _secrets_of(url, bearer_token, *access.secrets())
        self._clock = clock or SystemClock()
        self._client = httpx.AsyncClient(
            headers=headers,
            timeout=timeout,
            auth=access.basic,
            verify=access.tls,
            proxy=access.proxy,
        )

    async def post(
        self, body: Mapping[str, Any] | bytes | list[Any], headers: Mapping[str, str] | None = None
    ) -> tuple[Outcome, str]:
        """Post ``body`` as JSON, once; bytes are posted as they are.

        Returns:
            How it went, and what was answered, fit for a message.
        """
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        request = self._client.build_request("POST", self._url, content=content, headers=headers)
        answer = await self._exchange(request)
        if isinstance(answer, Retry):
            return answer, ""
        said = self._redact(" ".join(answer.text.split()))
        return self._judge(answer, said), said

    async def ask(
        self, path: str, body: Mapping[str, Any] | None = None, **query: str
    ) -> tuple[Outcome, Any]:
        """Ask a method of an API below the address, once: by a body, or else by a query.

        Returns:
            How it went, and the JSON that was answered, None if it was none.
        """
        url = f"{self._url}/{path}"
        if body is None:
            request = self._client.build_request("GET", url, params=query)
        else:
            request = self._client.build_request("POST", url, content=orjson.dumps(body))
        answer = await self._exchange(request)
        if isinstance(answer, Retry):
            return answer, None
        try:
            found = orjson.loads(answer.content)
        except ValueError:
            found = None
        return self._judge(answer, self._redact(" ".join(answer.text.split()))), found

    async def _exchange(self, request: httpx.Request) -> httpx.Response | Retry:
        try:
            return await self._client.send(request)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout) as error:
            return Retry(f"{self.host} can't be reached: {self._redact(cause(error))}")
        except httpx.TimeoutException as error:
            reason = f"{self.host}: no answer in time ({type(error).__name__})"
            return Retry(reason, perhaps=True)
        except httpx.TransportError as error:
            return Retry(f"{self.host}: {self._redact(cause(error))}", perhaps=True)

    async def reach(self) -> str:
        """Ask for the head of the address: that posts nothing, and any answer shows it is there.

        Whether the address's secret is right only a notification can tell.

        Raises:
            Unreachable: there is no answer.
        """
        try:
            answer = await self._client.head(self._url)
        except httpx.TimeoutException:
            raise Unreachable(f"{self.host}: no answer in time") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(f"{self.host}: {self._redact(cause(error))}") from None
        return f"{self.host} answers ({answer.status_code}); nothing was sent"

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
        return RefusedByReceiver(reason)

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


def _secrets_of(url: str, *others: str | None) -> list[str]:
    """Return the texts to keep out of messages, the longest first."""
    parts = urlsplit(url)
    pieces = [url, parts.path, parts.query, parts.username, parts.password, *others]
    pieces += parts.path.split("/")
    pieces += [value for pair in parts.query.split("&") for value in pair.split("=")[1:]]
    return sorted({piece for piece in pieces if piece and len(piece) >= 8}, key=len, reverse=True)
