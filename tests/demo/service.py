"""A small shop with a database, instrumented as services are: what the demo watches.

    python -m tests.demo.service PORT COLLECTOR DATABASE

It answers `/`, `/products` (reads) and `/checkout` (a short transaction that writes). Whoever
waits longer than a quarter of a second for the database gets a 503, and one checkout in fifty a
502, as when a payment provider does not answer: no real service is without errors. Each request is a
trace: the request itself, and what it asks the database and the payment provider. What it does it also
writes to its log, which goes to the collector as the rest does.
"""

from __future__ import annotations

import logging
import random
import signal
import sqlite3
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar, Final
from urllib.parse import urlsplit

import psutil
from opentelemetry._logs import Logger, SeverityNumber
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer

from tests.backends.process import LOCALHOST
from tests.demo.telemetry import logs_of, metrics_of, traces_of

__all__ = ["LATENCY", "ROUTES", "SERVICE", "main"]

SERVICE: Final = "shop"
ROUTES: Final = ("/", "/products", "/checkout")
LATENCY: Final = "http.server.request.latency"

_PRODUCTS: Final = 500
_LOCK_SECONDS: Final = 0.25
_PAGE_SECONDS: Final = 0.003
_PAYMENT_SECONDS: Final = 0.02
_UNPAID: Final = 0.02
_OF_DATABASE: Final = {"db.system.name": "sqlite", "db.namespace": "products"}
_SEVERITIES: Final = {
    logging.INFO: SeverityNumber.INFO,
    logging.WARNING: SeverityNumber.WARN,
    logging.ERROR: SeverityNumber.ERROR,
}
_OF_PAYMENT: Final = {"server.address": "payments.example"}


class Shop:
    """The products and the orders, in SQLite. Every thread has a connection of its own."""

    def __init__(self, database: Path, tracer: Tracer, log: logging.Logger) -> None:
        self._database = database
        self._tracer = tracer
        self._log = log
        self._local = threading.local()
        with self._connection() as connection:
            # With a write-ahead log those who read need not wait for the one who writes.
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("CREATE TABLE product (id INTEGER PRIMARY KEY, stock INTEGER)")
            connection.execute("CREATE TABLE orders (product INTEGER, at REAL)")
            rows = [(number, 1_000_000) for number in range(_PRODUCTS)]
            connection.executemany("INSERT INTO product VALUES (?, ?)", rows)

    def home(self) -> HTTPStatus:
        """Make a page without a look at the database."""
        _work(_PAGE_SECONDS)
        return HTTPStatus.OK

    def look(self) -> HTTPStatus:
        """Read a page of products."""
        _work(_PAGE_SECONDS)
        first = random.randrange(_PRODUCTS)
        with self._asks("SELECT product", _OF_DATABASE):
            self._connection().execute(
                "SELECT id, stock FROM product WHERE id >= ? ORDER BY id LIMIT 20", (first,)
            ).fetchall()
        return HTTPStatus.OK

    def order(self) -> HTTPStatus:
        """Have the order paid, take the product out of the stock, and keep the order."""
        with self._asks("POST payment", _OF_PAYMENT):
            _work(_PAYMENT_SECONDS)
        connection = self._connection()
        product = random.randrange(_PRODUCTS)
        with self._asks("BEGIN IMMEDIATE", _OF_DATABASE) as span:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:  # database is locked
                span.set_status(StatusCode.ERROR, str(error))
                self._log.exception("order of product %d failed", product)
                return HTTPStatus.SERVICE_UNAVAILABLE
        with self._asks("UPDATE product, INSERT orders", _OF_DATABASE):
            connection.execute("UPDATE product SET stock = stock - 1 WHERE id = ?", (product,))
            connection.execute("INSERT INTO orders VALUES (?, ?)", (product, time.time()))
            connection.execute("COMMIT")
        if random.random() < _UNPAID:
            self._log.warning("payment of product %d was not confirmed in time", product)
            return HTTPStatus.BAD_GATEWAY
        self._log.info("order of product %d stored", product)
        return HTTPStatus.OK

    def _asks(self, name: str, whom: dict[str, str]) -> AbstractContextManager[Span]:
        return self._tracer.start_as_current_span(name, kind=SpanKind.CLIENT, attributes=whom)

    def _connection(self) -> sqlite3.Connection:
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(
                self._database, timeout=_LOCK_SECONDS, isolation_level=None
            )
            connection.execute("PRAGMA synchronous = OFF")
            self._local.connection = connection
        found: sqlite3.Connection = self._local.connection
        return found


class Instruments:
    """What the service says of itself, by route."""

    def __init__(self, meter: Meter) -> None:
        self._requests = meter.create_counter("http.server.requests", "{request}")
        self._errors = meter.create_counter("http.server.errors", "{error}")
        self.active = meter.create_up_down_counter("http.server.active_requests", "{request}")
        meter.create_observable_gauge(LATENCY, [self._latencies], "ms")
        meter.create_observable_gauge("process.cpu.utilization", [self._cpu], "1")
        meter.create_observable_gauge("process.memory.usage", [self._memory], "By")
        self._process = psutil.Process()
        self._lock = threading.Lock()
        self._spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        for route in ROUTES:  # a counter exists before the first thing that it counts
            self._errors.add(0, {"http.route": route})

    def answered(self, route: str, status: HTTPStatus, seconds: float) -> None:
        """Count one request."""
        self._requests.add(1, {"http.route": route, "http.response.status_code": int(status)})
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            self._errors.add(1, {"http.route": route})
        with self._lock:
            spent = self._spent[route]
            spent[0] += seconds
            spent[1] += 1

    def _latencies(self, _: CallbackOptions) -> Iterable[Observation]:
        """Give the mean of the requests answered since the last time, in milliseconds."""
        with self._lock:
            spent = dict(self._spent)
            self._spent.clear()
        for route, (seconds, number) in spent.items():
            yield Observation(1000 * seconds / number, {"http.route": route})

    def _cpu(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._process.cpu_percent() / 100)

    def _memory(self, _: CallbackOptions) -> Iterable[Observation]:
        yield Observation(self._process.memory_info().rss)


class LogHandler(logging.Handler):
    """Hands what is logged to OpenTelemetry's SDK, within the trace of the request."""

    def __init__(self, logger: Logger) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and the exception that it is about if there is one."""
        self._logger.emit(
            timestamp=int(record.created * 1e9),
            severity_number=_SEVERITIES[record.levelno],
            severity_text=record.levelname,
            body=record.getMessage(),
            exception=record.exc_info[1] if record.exc_info else None,
        )


class Handler(BaseHTTPRequestHandler):
    """Answers, and measures how long that took."""

    protocol_version = "HTTP/1.1"
    # Or the body would wait for the acknowledgement of the headers, 40 ms on Linux.
    disable_nagle_algorithm = True
    wbufsize = -1
    answers: ClassVar[dict[str, Callable[[], HTTPStatus]]]
    instruments: ClassVar[Instruments]
    tracer: ClassVar[Tracer]
    log: ClassVar[logging.Logger]

    def do_GET(self) -> None:
        """Answer one of the routes."""
        route = urlsplit(self.path).path
        answer = self.answers.get(route)
        if answer is None:
            self._send(HTTPStatus.NOT_FOUND)
            return
        begun = time.perf_counter()
        self.instruments.active.add(1, {"http.route": route})
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        said = {"http.request.method": "GET", "http.route": route}
        try:
            with self.tracer.start_as_current_span(
                f"GET {route}", kind=SpanKind.SERVER, attributes=said
            ) as span:
                status = answer()
                span.set_attribute("http.response.status_code", int(status))
                if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    span.set_status(StatusCode.ERROR)
                took = 1000 * (time.perf_counter() - begun)
                self.log.info("GET %s %d in %.1f ms", route, status, took)
        finally:
            self.instruments.active.add(-1, {"http.route": route})
            self.instruments.answered(route, status, time.perf_counter() - begun)
            self._send(status)

    def _send(self, status: HTTPStatus) -> None:
        body = f"{status.phrase}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet: there are metrics."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True


def _work(seconds: float) -> None:
    """Take about so long, as what a service asks others for does."""
    time.sleep(seconds * random.lognormvariate(0, 0.25))


def main(port: int, collector: str, database: Path) -> None:
    """Serve until SIGTERM."""
    provider = metrics_of(SERVICE, collector)
    traces = traces_of(SERVICE, collector)
    logs = logs_of(SERVICE, collector)
    Handler.tracer = traces.get_tracer("headrace.demo.shop")
    Handler.log = logging.getLogger("headrace.demo.shop")
    Handler.log.setLevel(logging.INFO)
    Handler.log.addHandler(LogHandler(logs.get_logger("headrace.demo.shop")))
    shop = Shop(database, Handler.tracer, Handler.log)
    Handler.instruments = Instruments(provider.get_meter("headrace.demo.shop"))
    Handler.answers = dict(zip(ROUTES, (shop.home, shop.look, shop.order), strict=True))
    server = _Server((LOCALHOST, port), Handler)
    # shutdown() waits for serve_forever(), which this thread is in.
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    print("ready", flush=True)
    server.serve_forever()
    provider.shutdown()
    traces.shutdown()
    logs.shutdown()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
