"""ClickHouse's HTTP interface before chDB, the engine of ClickHouse as a library.

``python -m tests.backends.clickhouse_http PORT DIRECTORY PASSWORD`` serves what clients ask of a server: a query
as parameter or body, data behind an INSERT, settings as parameters, the code of an exception as a
header. Users are not the engine's: there is one, ``default``. Queries run one after the other.
"""

from __future__ import annotations

import re
import sys
from base64 import b64encode
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit
from uuid import uuid4

from chdb.session import Session

_INSERT: Final = re.compile(
    rb"\s*(INSERT INTO .+?)\s+FORMAT\s+(\w+)\s*\n", re.DOTALL | re.IGNORECASE
)
_READS: Final = re.compile(rb"\s*(SELECT|WITH)\b", re.IGNORECASE)
_CODE: Final = re.compile(r"Code: (\d+)\.")
_NO_SETTINGS: Final = frozenset(
    {
        "query", "database", "query_id", "session_id", "wait_end_of_query", "client_protocol_version",
        "send_progress_in_http_headers", "http_headers_progress_interval_ms", "enable_http_compression",
    }
)  # fmt: skip
_STATUS: Final = {516: 401, 497: 403, 60: 404, 81: 404}
"""As the server has them; other exceptions are a 500."""


class Engine:
    """The engine, with its tables in a directory."""

    def __init__(self, directory: Path) -> None:
        self._session = Session(str(directory / "data"))
        self._body = directory / "body"
        self._lock = Lock()

    def run(self, query: bytes, settings: dict[str, str]) -> bytes:
        """Return the answer to a query, which may have data behind it.

        Raises:
            RuntimeError: the engine's exception.
        """
        chosen = ", ".join(f"{name}={_value(value)}" for name, value in settings.items())
        clause = f" SETTINGS {chosen}" if chosen else ""
        with self._lock:
            insert = _INSERT.match(query)
            if insert is not None and insert[2].lower() != b"values":
                path = self._body.with_name(f"body-{uuid4().hex}")
                path.write_bytes(query[insert.end() :])
                text = (
                    f"{insert[1].decode()} FROM INFILE '{path}'{clause} FORMAT {insert[2].decode()}"
                )
                try:
                    return self._answer(text)
                finally:
                    path.unlink()
            text = query.decode()
            return self._answer(text + clause if _READS.match(query) else text)

    def _answer(self, text: str) -> bytes:
        found = self._session.query(text, "TabSeparated")
        return bytes(found.bytes()) if found is not None else b""


def _value(value: str) -> str:
    return value if re.fullmatch(r"-?\d+(\.\d+)?", value) else f"'{value}'"


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    engine: Engine
    authorization: str

    def do_GET(self) -> None:
        """Say that the server is there, or run a query that reads."""
        if self.path == "/ping":
            self._send(200, b"Ok.\n", {})
        else:
            self.do_POST()

    def do_POST(self) -> None:
        """Run a query."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parameters = dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True))
        settings = {key: value for key, value in parameters.items() if key not in _NO_SETTINGS}
        if self.headers.get("Authorization") != self.authorization:
            self._fail(
                "Code: 516. DB::Exception: default: Authentication failed. (AUTHENTICATION_FAILED)"
            )
            return
        query = parameters.get("query", "").encode()
        try:
            answer = self.engine.run(query + b"\n" + body if query else body, settings)
        except RuntimeError as error:
            self._fail(str(error))
            return
        self._send(200, answer, {"X-ClickHouse-Summary": "{}"})

    def _fail(self, text: str) -> None:
        found = _CODE.search(text)
        code = int(found[1]) if found else 1000
        headers = {"X-ClickHouse-Exception-Code": str(code)}
        self._send(_STATUS.get(code, 500), text.encode(), headers)

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing of requests."""


def main() -> None:
    """Serve until told to stop."""
    port, directory, password = sys.argv[1:]
    Handler.engine = Engine(Path(directory))
    Handler.authorization = "Basic " + b64encode(f"default:{password}".encode()).decode()
    ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()


if __name__ == "__main__":
    main()
