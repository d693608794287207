"""Elasticsearch: documents into data streams, by bulk requests.

Every document is created under its own id, so what is there already answers 409 and is done.
Elasticsearch compares ids within one backing index only: a replay across a rollover of the
stream can write a document twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, cast

import orjson
import polars as pl
from elastic_transport import TransportError
from elastic_transport.client_utils import DEFAULT
from elasticsearch import ApiError
from elasticsearch import Elasticsearch as Client
from pydantic import SecretStr

from operators.frames import DOCUMENTS
from sinks.base import Destination, Remainder, Unavailable, address, cause, rejects

__all__ = ["Elasticsearch", "ElasticsearchSettings", "connect", "unavailable"]

_ANSWER: Final = ("errors", "items.*.status", "items.*.error", "items.*.failure_store")
_WAYS_OUT: Final = {
    401: "; set sinks.elasticsearch.api_key, or username and password",
    403: "; the credentials of sinks.elasticsearch may not do this: give them the privilege",
    404: "; run `headrace setup` to install the index templates",
}


class ElasticsearchSettings(Protocol):
    """What the sink needs to know; ``flows.settings.Elasticsearch`` is one."""

    hosts: tuple[str, ...]
    namespace: str
    api_key: SecretStr | None
    username: str | None
    password: SecretStr | None
    ca_certs: Path | None
    retention: int
    timeout: int
    batch_bytes: int
    gzip: bool


@dataclass(slots=True)
class _Left:
    """What a write could not write."""

    waiting: list[pl.DataFrame] = field(default_factory=list)
    refused: list[pl.DataFrame] = field(default_factory=list)
    reasons: list[str] = field(default_factory=list)
    """One for each refused document."""
    trouble: Unavailable | None = None
    """Why some are waiting."""


class Elasticsearch(Destination):
    """Writes DOCUMENTS frames. The payload of what it refuses is the document, with its place."""

    name = "elasticsearch"

    def __init__(self, settings: ElasticsearchSettings) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._remainder = Remainder()

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a DOCUMENTS frame, one bulk request after the other."""
        left = _Left()
        for batch in self._batches(self._remainder.of(frame)):
            if left.trouble is None:
                self._send(batch, left)
            else:
                left.waiting.append(batch)
        if left.trouble is not None:
            # What is refused must come again as well: only a write that ends can say so.
            self._remainder.keep(frame, pl.concat([*left.waiting, *left.refused]))
            raise left.trouble
        return self._rejects(pl.concat(left.refused), left.reasons) if left.refused else None

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the DOCUMENTS frame of refused documents."""
        try:
            parts = [orjson.loads(payload) for payload in payloads]
            rows = [[part[name] for name in DOCUMENTS] for part in parts]
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"not a document that {self.name} refused: {error}") from None
        return pl.DataFrame(rows, schema=DOCUMENTS, orient="row")

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _batches(self, frame: pl.DataFrame) -> list[pl.DataFrame]:
        """Cut the frame where a request would grow too large."""
        sizes = frame["document"].str.len_bytes().cast(pl.Int64)
        batch = (sizes.cum_sum() - sizes) // self._settings.batch_bytes
        return frame.with_columns(batch=batch).partition_by("batch", include_key=False)

    def _send(self, batch: pl.DataFrame, left: _Left) -> None:
        """Send a batch, and note which of its documents were not written."""
        try:
            answer = self._client.bulk(
                operations=cast(Any, _body(batch)), require_data_stream=True, filter_path=_ANSWER
            )
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and error.meta.status == 413:
                self._send_smaller(batch, left)
            else:
                left.waiting.append(batch)
                left.trouble = unavailable(self._settings, error)
            return
        outcomes = _outcomes(answer.body)
        if len(outcomes) != batch.height:
            left.waiting.append(batch)
            left.trouble = Unavailable(
                f"{_place(self._settings)}: told of {len(outcomes)} of {batch.height} documents; its "
                "answer was cut, or what answers there is no Elasticsearch"
            )
            return
        bad: list[int] = []
        waiting: list[int] = []
        # A look at each outcome: little beside what client and server did for each.
        for row, outcome in enumerate(outcomes):
            status = outcome["status"]
            if status == 409 or (status < 300 and "failure_store" not in outcome):
                continue
            if status in _WAYS_OUT or status == 429 or status >= 500:
                waiting.append(row)
            else:
                bad.append(row)
        if bad:
            left.refused.append(batch[bad])
            left.reasons += [_reason(outcomes[row]) for row in bad]
        if waiting:
            left.waiting.append(batch[waiting])
            first = outcomes[waiting[0]]
            way_out = _WAYS_OUT.get(first["status"], "")
            left.trouble = Unavailable(f"{_place(self._settings)}: {_reason(first)}{way_out}")

    def _send_smaller(self, batch: pl.DataFrame, left: _Left) -> None:
        """Send the halves of a batch that was too large for one request."""
        if batch.height == 1:
            size = batch["document"].str.len_bytes().item()
            left.refused.append(batch)
            left.reasons.append(f"413 {size} bytes are more than http.max_content_length")
            return
        middle = batch.height // 2
        self._send(batch[:middle], left)
        if left.trouble is None:
            self._send(batch[middle:], left)
        else:
            left.waiting.append(batch[middle:])

    def _rejects(self, documents: pl.DataFrame, reasons: list[str]) -> pl.DataFrame:
        place = address(self._settings.hosts[0])
        named = [
            f"{place}, {stream}: {reason}"
            for stream, reason in zip(documents["stream"], reasons, strict=True)
        ]
        payloads = [orjson.dumps(row) for row in documents.iter_rows(named=True)]
        return rejects(self.name, named, payloads)


def _body(batch: pl.DataFrame) -> bytes:
    """Return the lines of a bulk request: for each document an action, and the document."""
    action = pl.struct(
        pl.struct(pl.col("stream").alias("_index"), pl.col("id").alias("_id")).alias("create")
    )
    lines = pl.concat_str(
        action.struct.json_encode(),
        pl.lit("\n"),
        # Inside of strings JSON escapes line breaks, so those that there are mean nothing.
        pl.col("document").str.replace_all("\n", " ", literal=True),
        pl.lit("\n"),
    )
    body: str = batch.select(lines.str.join("")).item()
    return body.encode()


def _outcomes(answer: object) -> list[Mapping[str, Any]]:
    """Return what became of each document, nothing if this is no answer to a bulk request."""
    try:
        return [item["create"] for item in cast(Any, answer)["items"]]
    except (TypeError, KeyError):
        return []


def _reason(outcome: Mapping[str, Any]) -> str:
    """Say what Elasticsearch has against a document."""
    error = outcome.get("error")
    if error is None:
        return f"{outcome['status']} kept in the failure store of the data stream"
    causes = [error]
    while isinstance(deeper := causes[-1].get("caused_by"), Mapping):
        causes.append(deeper)
    reasons = dict.fromkeys(str(each.get("reason")) for each in (error, causes[-1]))
    return f"{outcome['status']} {error.get('type')}: {': '.join(reasons)}"[:500]


def connect(settings: ElasticsearchSettings) -> Client:
    """Return a client that leaves trying again to whoever uses it."""
    password = settings.password.get_secret_value() if settings.password else ""
    return Client(
        list(settings.hosts),
        api_key=settings.api_key.get_secret_value() if settings.api_key else None,
        basic_auth=(settings.username, password) if settings.username else None,
        ca_certs=str(settings.ca_certs) if settings.ca_certs else DEFAULT,
        request_timeout=settings.timeout / 1e9,
        http_compress=settings.gzip,
        # Of several nodes the others are asked before anybody has to wait.
        max_retries=len(settings.hosts) - 1,
        retry_on_timeout=False,
    )


def unavailable(settings: ElasticsearchSettings, error: ApiError | TransportError) -> Unavailable:
    """Return the exception that says what is wrong with a request, and what can be done."""
    place = _place(settings)
    if not isinstance(error, ApiError):
        return Unavailable(f"{place}: {cause(error)}")
    status = error.meta.status
    reason = error.message
    if isinstance(error.body, Mapping) and isinstance(error.body.get("error"), Mapping):
        reason = f"{error.body['error'].get('type')}: {error.body['error'].get('reason')}"
    after = error.meta.headers.get("retry-after") or ""
    return Unavailable(
        f"{place}: {status} {' '.join(str(reason).split())[:500]}{_WAYS_OUT.get(status, '')}",
        float(after) if after.isdecimal() else None,
    )


def _place(settings: ElasticsearchSettings) -> str:
    return f"elasticsearch: {', '.join(address(host) for host in settings.hosts)}"
