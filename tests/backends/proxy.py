"""A proxy between a flow and a backend that can be told to misbehave.

It speaks just enough HTTP/1.1: requests with a Content-Length, one at a time, each over a
connection of its own to the backend, whose answer is passed on as it is.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from tests.backends.process import LOCALHOST, free_port

Behaviour = Literal["pass", "answer", "hang", "cut"]

_LENGTH: Final = re.compile(rb"\r\ncontent-length:\s*(\d+)", re.IGNORECASE)
_CONNECTION: Final = re.compile(rb"\r\nconnection:[^\r]*", re.IGNORECASE)
_REASONS: Final = {429: "Too Many Requests", 503: "Service Unavailable"}


@dataclass(frozen=True, slots=True)
class Mode:
    """What becomes of a request.

    =======  ================================================================================
    pass     the backend gets it, and the client the answer
    answer   the client gets ``status`` at once, the backend nothing
    hang     it is taken, and never answered
    cut      the backend gets it; the connection breaks in the middle of the answer
    =======  ================================================================================
    """

    behaviour: Behaviour = "pass"
    status: int = 0
    retry_after: int | None = None

    def __str__(self) -> str:
        asked = "" if self.retry_after is None else f", Retry-After {self.retry_after}"
        return f"{self.behaviour} {self.status or ''}{asked}".strip()


PASS: Final = Mode()


@dataclass(slots=True)
class _Counts:
    """Changed by the proxy's thread alone."""

    affected: int = 0
    hanging: int = 0


class Proxy:
    """Listens on a port of its own, in a thread of its own, until it is closed.

    Args:
        url: of the backend, as ``http://127.0.0.1:8086``.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._backend = (parts.hostname, parts.port)
        self._mode = PASS
        self._counts = _Counts()
        self._tasks: set[asyncio.Task[None]] = set()  # the loop itself holds them weakly
        self.port = free_port()
        self._loop = asyncio.new_event_loop()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"proxy of {url}", daemon=True)

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOCALHOST}:{self.port}"

    @property
    def affected(self) -> int:
        """Number of requests that were not simply passed on."""
        return self._counts.affected

    @property
    def hanging(self) -> int:
        """Number of requests that wait for an answer that will not come."""
        return self._counts.hanging

    @contextlib.contextmanager
    def misbehaving(self, mode: Mode) -> Iterator[Callable[[], int]]:
        """Treat requests so for a while; gives how many were, up to now."""
        before = self._counts.affected
        self._mode = mode
        try:
            yield lambda: self._counts.affected - before
        finally:
            self._mode = PASS

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10), "the proxy does not listen"
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(
            asyncio.start_server(self._accept, LOCALHOST, self.port, limit=1 << 20)
        )
        self._listening.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.close()

    def _accept(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        task = self._loop.create_task(self._serve(client, answer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, client: asyncio.StreamReader, answer: asyncio.StreamWriter) -> None:
        try:
            head = await client.readuntil(b"\r\n\r\n")
            length = _LENGTH.search(head)
            body = await client.readexactly(int(length[1]) if length else 0)
            await self._treat(head, body, client, answer)
        except (OSError, asyncio.IncompleteReadError):
            answer.transport.abort()  # the client sees what we have seen of the backend
        finally:
            answer.close()

    async def _treat(
        self, head: bytes, body: bytes, client: asyncio.StreamReader, answer: asyncio.StreamWriter
    ) -> None:
        mode = self._mode
        self._counts.affected += mode.behaviour != "pass"
        match mode.behaviour:
            case "answer":
                answer.write(_answer(mode))
                await answer.drain()
            case "hang":
                self._counts.hanging += 1
                try:
                    await client.read()  # until the client gives up
                finally:
                    self._counts.hanging -= 1
            case "cut":
                whole = await self._ask(head, body)
                answer.write(whole[: len(whole) // 2])
                await answer.drain()
                answer.transport.abort()
            case _:
                answer.write(await self._ask(head, body))
                await answer.drain()

    async def _ask(self, head: bytes, body: bytes) -> bytes:
        """Return the backend's answer, which ends where its connection does."""
        reader, writer = await asyncio.open_connection(*self._backend)
        try:
            once = _CONNECTION.sub(b"", head[:-2]) + b"Connection: close\r\n\r\n"
            writer.write(once + body)
            await writer.drain()
            # A backend need not say that it closes; a client that keeps connections would try this one.
            return (await reader.read()).replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
        finally:
            writer.close()


def _answer(mode: Mode) -> bytes:
    asked = "" if mode.retry_after is None else f"Retry-After: {mode.retry_after}\r\n"
    body = b'{"error": "told to by the chaos harness"}'
    return (
        f"HTTP/1.1 {mode.status} {_REASONS[mode.status]}\r\n{asked}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    ).encode() + body
