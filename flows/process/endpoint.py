"""The HTTP endpoint of a flow's process: ``/metrics`` for Prometheus, ``/health`` for a watchdog.

A flow may offer documents of its own there, as flow ``alerting`` does with ``/api/v1/rules``.
"""

from __future__ import annotations

import errno
import logging
import platform
import socket
import socketserver
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import ThreadingHTTPServer
from threading import Thread
from typing import ClassVar, Final
from urllib.parse import parse_qs, urlsplit

import orjson
from prometheus_client import MetricsHandler

from flows.process.health import Pulse

__all__ = ["EndpointError", "MonitoringEndpoint", "offer"]

_log = logging.getLogger(__name__)

_ANYWHERE: Final = ("", "0.0.0.0", "::")  # noqa: S104 - compared with, not bound to


Answer = Callable[[Mapping[str, list[str]]], object]
"""Gives a document for the parameters of a query."""

_offered: dict[str, Answer] = {}


def offer(path: str, answer: Answer) -> None:
    """Have the endpoint of this process answer GET requests for a path with a document."""
    _offered[path] = answer


class EndpointError(Exception):
    """The endpoint can't listen where the settings say; the message names the key and a way out."""


class MonitoringEndpoint:
    """Answers on a thread of its own, from the moment it is made.

    ``/health`` answers 200 if the process had better be left alone, with its ``state`` and, of a
    blocked flow, which sinks wait; 503 if nothing has moved for a minute and nothing says why.

    Args:
        flow: named in ``/health``.
        pulse: tells how the process is.
        host: where to listen.
        port: 0 takes a free one, and so does one that is taken, with a warning.

    Raises:
        EndpointError: ``host`` is none of this machine's, or the port is not allowed.
    """

    def __init__(self, flow: str, pulse: Pulse, host: str, port: int) -> None:
        handler = type("Handler", (_Handler,), {"flow": flow, "pulse": pulse})
        self._server = _listen(host, port, handler)
        self.port = int(self._server.server_address[1])
        shown = platform.node() if host in _ANYWHERE else host
        self.address = f"http://{f'[{shown}]' if ':' in shown else shown}:{self.port}/metrics"
        self._thread = Thread(target=self._server.serve_forever, name="headrace-http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Handler(MetricsHandler):
    flow: ClassVar[str]
    pulse: ClassVar[Pulse]
    protocol_version = "HTTP/1.0"
    timeout = 10  # a peer that says nothing does not hold a thread for ever

    def do_GET(self) -> None:  # noqa: N802 - http.server's name
        asked = urlsplit(self.path)
        path = asked.path.rstrip("/")
        if path == "/metrics":
            super().do_GET()
        elif path == "/health":
            self._health()
        elif (answer := _offered.get(path)) is not None:
            self._answer(HTTPStatus.OK, answer(parse_qs(asked.query)))
        else:
            paths = ["/metrics", "/health", *_offered]
            self._answer(HTTPStatus.NOT_FOUND, {"paths": paths})

    def _health(self) -> None:
        health = self.pulse.look()
        status = HTTPStatus.OK if health.is_alive else HTTPStatus.SERVICE_UNAVAILABLE
        document = {
            "flow": self.flow,
            "state": health.state,
            "quiet_seconds": round(health.quiet, 3),
            "blocked": list(health.blocked),
        }
        self._answer(status, document)

    def _answer(self, status: HTTPStatus, document: object) -> None:
        body = orjson.dumps(document) + b"\n"
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        # HTTPServer's own would look up the name of the host, which may take seconds.
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = "headrace", self.server_address[1]

    def handle_error(self, _request: object, _client: object) -> None:
        """A peer that goes away in the middle is nobody's trouble."""
        _log.debug("a request was not answered", exc_info=True)


def _listen(host: str, port: int, handler: type[_Handler]) -> _Server:
    try:
        return _bind(host, port, handler)
    except OSError as error:
        if error.errno != errno.EADDRINUSE or port == 0:
            raise EndpointError(
                f'monitoring: cannot listen on "{host}", port {port}: {error.strerror or error} '
                "(write host: 127.0.0.1, or 0.0.0.0 for all interfaces; port: 0 for a free one)"
            ) from None
    server = _bind(host, 0, handler)
    _log.warning(
        "port %d of %s is taken: /metrics and /health are on port %d (monitoring.ports has one "
        "a flow; port: 0 says that this is meant)",
        port,
        host,
        server.server_address[1],
    )
    return server


def _bind(host: str, port: int, handler: type[_Handler]) -> _Server:
    family = socket.getaddrinfo(
        host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0][0]

    class Server(_Server):
        address_family = family

    return Server((host, port), handler)
