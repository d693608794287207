"""Where the demo's notifications arrive: what a team would have a chat or a pager for."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import orjson

from tests.backends.process import LOCALHOST

__all__ = ["Notification", "Receiver"]


@dataclass(frozen=True, slots=True)
class Notification:
    """A message as it was received.

    Attributes:
        at: when it arrived, in seconds since the Unix epoch.
        channel: `webhook` or `slack`.
        body: the JSON document.
    """

    at: float
    channel: str
    body: dict[str, Any]


class Receiver:
    """Takes notifications on a free port of 127.0.0.1, and keeps them."""

    def __init__(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                channel = self.path.strip("/")
                receiver.notifications.append(
                    Notification(time.time(), channel, orjson.loads(body))
                )
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"ok")

            def log_message(self, *_: object) -> None:
                pass

        self.notifications: list[Notification] = []
        self._server = ThreadingHTTPServer((LOCALHOST, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOCALHOST}:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
