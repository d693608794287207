"""InfluxDB: a point a rollup, the anomaly score among its fields.

Measurement = metric name, tags = labels (and ``tenant``, unless it is the default one), time =
start of the window, one bucket a window. Writing the same series and time again overwrites the
point, field by field, so a replay changes nothing and a revision replaces what was there. Only
where late data leaves a histogram's window without observations (``count`` is 0) do ``mean`` and
percentiles stay what they were: a field can't be taken back.

InfluxDB has no place for a unit, and Grafana wants one: measurement ``headrace_units`` has a point
a day for each metric and unit, as ``headrace_units,metric=system.memory.usage,unit=By seen=1i``.

The v2 write API is used, which InfluxDB 3 and VictoriaMetrics take as well. Its fields are those
of ``sinks.line_protocol.FIELDS``; null ones are absent.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import Final, Protocol

import polars as pl
from influxdb_client.client.influxdb_client import InfluxDBClient
from influxdb_client.rest import ApiException
from influxdb_client.service.write_service import WriteService
from isal import igzip
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from operators.contracts.durations import format_duration
from sinks.base import (
    Destination,
    Remainder,
    Unavailable,
    address,
    cause,
    in_a_line,
    rejects,
    seconds_of,
)
from sinks.line_protocol import LineProtocol, UnitLines
from sinks.rollup_json import decode_rollups, encode_rollups
from sinks.versions import best_only

__all__ = ["InfluxDB", "InfluxDBSettings", "bucket_name", "connect", "unavailable"]

_log = logging.getLogger(__name__)

_DROPPED: Final = re.compile(r"dropped=(\d+)")
_GZIP_LEVEL: Final = 1  # of isal: a third of the time that zlib takes, and smaller


class InfluxDBSettings(Protocol):
    """What the sink needs to know; ``flows.settings.InfluxDB`` is one."""

    url: str
    org: str
    bucket: str
    token: SecretStr
    retention: dict[str, int]
    ca_certs: Path | None
    timeout: int
    batch_lines: int
    requests: int
    gzip: bool


@dataclass(frozen=True, slots=True)
class _Batch:
    """What goes out in one request: rows, and a line for each."""

    bucket: str
    rows: pl.DataFrame
    lines: pl.Series

    def halves(self) -> tuple[_Batch, _Batch]:
        middle = len(self.lines) // 2
        return (
            _Batch(self.bucket, self.rows[:middle], self.lines[:middle]),
            _Batch(self.bucket, self.rows[middle:], self.lines[middle:]),
        )

    def by_time(self) -> _Batch:
        order = self.rows["window_start"].arg_sort()
        return _Batch(self.bucket, self.rows[order], self.lines[order])


class InfluxDB(Destination):
    """Writes SCORES frames. What it refuses for good has the rollup's JSON for a payload."""

    name = "influxdb"

    def __init__(self, settings: InfluxDBSettings) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._service = WriteService(self._client.api_client)
        self._protocol = LineProtocol()
        self._units = UnitLines()
        self._remainder = Remainder()
        self._senders = ThreadPoolExecutor(settings.requests, "influxdb")

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a SCORES frame, a few requests at a time, which have no order among themselves."""
        batches = self._batches(best_only(self._remainder.of(frame)))
        failed = Event()
        sent = [self._senders.submit(self._send_unless, failed, batch) for batch in batches]
        refused: list[pl.DataFrame] = []
        unsent: list[pl.DataFrame] = []
        trouble: list[Unavailable] = []
        for batch, future in zip(batches, sent, strict=True):
            try:
                result = future.result()
            except Unavailable as error:
                trouble.append(error)
                unsent.append(batch.rows)
                continue
            if result is None:
                unsent.append(batch.rows)
            elif result:
                # Should others of this frame have to wait, this one is refused again.
                unsent.append(batch.rows)
                refused += result
        if trouble:
            self._remainder.keep(frame, pl.concat(unsent))
            raise trouble[0]
        self._write_units(frame)
        return pl.concat(refused) if refused else None

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the SCORES frame of refused rollups."""
        frame = decode_rollups(payloads)
        if frame.height != len(payloads):
            raise ValueError(f"not a rollup that {self.name} refused")
        return frame

    def close(self) -> None:
        """Close the connections."""
        self._senders.shutdown()
        self._client.close()

    def _batches(self, rows: pl.DataFrame) -> list[_Batch]:
        size = self._settings.batch_lines
        batches = []
        for (window,), part in rows.partition_by("window", as_dict=True).items():
            bucket = bucket_name(self._settings, window)
            lines = self._protocol.lines(part)
            batches += [
                _Batch(bucket, part[start : start + size], lines[start : start + size])
                for start in range(0, part.height, size)
            ]
        return batches

    def _write_units(self, frame: pl.DataFrame) -> None:
        """Write the units that are due, after the rows; a write that fails is tried again whole."""
        size = self._settings.batch_lines
        for window, lines in self._units.due(frame):
            bucket = bucket_name(self._settings, window)
            try:
                for start in range(0, len(lines), size):
                    self._post(bucket, lines[start : start + size])
            except (ApiException, HTTPError, OSError) as error:
                if _refusal(error) is None:
                    self._remainder.keep(frame, frame.clear())
                    raise unavailable(self._settings, error, bucket) from None
                # Older than the bucket keeps, as the rows are: of those it was said already.
            self._units.written()

    def _send_unless(self, failed: Event, batch: _Batch) -> list[pl.DataFrame] | None:
        """Send, or return None at once if another request of this write has failed."""
        if failed.is_set():
            return None
        try:
            return self._send(batch)
        except Unavailable:
            failed.set()
            raise

    def _send(self, batch: _Batch) -> list[pl.DataFrame]:
        """Send a batch, and return REJECTS frames of the lines that InfluxDB refuses for good."""
        try:
            self._post(batch.bucket, batch.lines)
        except (ApiException, HTTPError, OSError, UnicodeDecodeError) as error:
            refusal = _refusal(error)
            if refusal is None:
                raise unavailable(self._settings, error, batch.bucket) from None
            return self._isolate(batch, refusal)
        return []

    def _post(self, bucket: str, lines: pl.Series) -> None:
        body = lines.str.join("\n").item().encode()
        encoding = {}
        if self._settings.gzip:
            body = igzip.compress(body, _GZIP_LEVEL)
            encoding = {"content_encoding": "gzip"}
        self._service.post_write(
            self._settings.org,
            bucket,
            body,
            precision="ns",
            content_type="text/plain; charset=utf-8",
            **encoding,
        )

    def _isolate(self, batch: _Batch, refusal: str) -> list[pl.DataFrame]:
        """Find the lines to blame by halving, so that the others are written.

        Where InfluxDB says that it dropped all of them, that is known already.
        """
        dropped = _DROPPED.search(refusal)
        if len(batch.lines) == 1 or (dropped and int(dropped[1]) == len(batch.lines)):
            reason = f"{address(self._settings.url)}, bucket {batch.bucket}: {refusal}"
            payloads = [line.encode() for line in encode_rollups(batch.rows)]
            return [rejects(self.name, [reason] * len(payloads), payloads)]
        if "retention" in refusal and not batch.rows["window_start"].is_sorted():
            batch = batch.by_time()  # then what is too old is in few halves
        return [frame for half in batch.halves() for frame in self._send(half)]


def _refusal(error: Exception) -> str | None:
    """Return what InfluxDB has against lines of the request, None if its fault is another.

    Its own answers are JSON. What a proxy, or a TLS port asked in clear, answers with 400 is not,
    and says nothing of the lines.
    """
    if not isinstance(error, ApiException):
        return None
    if error.status == 413:
        return f"413 {_answer(error)}"
    if error.status in (400, 422) and isinstance(_document(error), Mapping):
        return _answer(error)
    return None


def _document(error: ApiException) -> object:
    try:
        return json.loads(error.body or "")
    except ValueError:
        return None


def _answer(error: ApiException) -> str:
    """Return the message in the body of an answer, else what stands for one."""
    document = _document(error)
    text = None
    if isinstance(document, Mapping):
        text = document.get("message") or document.get("error")
    return in_a_line(text or error.body or error.reason or "no reason given", 500)


def connect(settings: InfluxDBSettings) -> InfluxDBClient:
    """Return a client that leaves trying again to whoever uses it."""
    return InfluxDBClient(
        settings.url.rstrip("/"),
        settings.token.get_secret_value(),
        org=settings.org,
        timeout=settings.timeout // 1_000_000,
        ssl_ca_cert=str(settings.ca_certs) if settings.ca_certs else None,
        retries=False,
    )


def bucket_name(settings: InfluxDBSettings, window: int) -> str:
    """Return the bucket of rollups of ``window`` nanoseconds.

    >>> from types import SimpleNamespace
    >>> bucket_name(SimpleNamespace(bucket="rollups_{window}"), 60_000_000_000)
    'rollups_1m'
    """
    return settings.bucket.replace("{window}", format_duration(window))


def unavailable(settings: InfluxDBSettings, error: Exception, bucket: str = "") -> Unavailable:
    """Return the exception that says what is wrong with a request, and what can be done."""
    where = f"influxdb: {address(settings.url)}"
    if not isinstance(error, ApiException) or not error.status:
        return Unavailable(f"{where}: {cause(error)}")
    place = f"{where}, org {settings.org}" + (f", bucket {bucket}" if bucket else "")
    ways_out = {
        401: "; set sinks.influxdb.token to one that may write there",
        403: "; the token of sinks.influxdb may not do this: give it the permission",
        404: "; run `headrace setup` to create the buckets, or correct sinks.influxdb",
    }
    message = f"{place}: {error.status} {_answer(error)}{ways_out.get(error.status, '')}"
    return Unavailable(message, seconds_of(error.retry_after))
