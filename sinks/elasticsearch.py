"""Elasticsearch: documents into data streams, by bulk requests.

Every document is created under its own id, so one that is there already answers 409. Then it is
looked up: if it says the same it is done, else what is written now takes its place.

Elasticsearch compares ids within one backing index only, so after a rollover it would create a
document a second time. Where a write may be a repetition, after a start, after an answer that was
not clear and after a rollover, ids are therefore looked up in the whole stream before anything is
created. A rollover is seen by the names of the indices that were written to: what went to a new one
is looked up afterwards, and what is there twice is removed.
"""

from __future__ import annotations

import logging
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

from operators.contracts.clock import Clock, SystemClock
from operators.contracts.frames import DOCUMENTS
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
from sinks.known_documents import KnownDocuments

__all__ = ["Elasticsearch", "ElasticsearchSettings", "connect", "unavailable"]

_ANSWER: Final = (
    "errors", "items.*._index", "items.*.status", "items.*.error", "items.*.failure_store"
)  # fmt: skip
_log = logging.getLogger(__name__)

_UNSURE_SECONDS: Final = 60.0
"""After a start or an unclear answer, as long as what is written may have been written before."""
_NEW_INDEX_SECONDS: Final = 300.0
"""After a rollover, as long as what is written may be a repetition of what was before it."""
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
    data_streams = True
    """Whether it writes into data streams; else into indices, made as they are needed."""

    def __init__(self, settings: ElasticsearchSettings, clock: Clock | None = None) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._known = KnownDocuments(self._client)
        self._remainder = Remainder()
        self._may_look = True
        self._clock = clock or SystemClock()
        self._unsure_until = self._clock.monotonic() + _UNSURE_SECONDS
        self._written_to: dict[str, str] = {}  # by stream, the index that it wrote to last

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a DOCUMENTS frame, one bulk request after the other."""
        left = _Left()
        for batch in self._batches(_last_of_each(self._remainder.of(frame))):
            if left.trouble is None:
                self._send_unknown(batch, left)
            else:
                left.waiting.append(batch)
        if left.trouble is not None:
            self._unsure_until = self._clock.monotonic() + _UNSURE_SECONDS
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

    def _send_unknown(self, batch: pl.DataFrame, left: _Left) -> None:
        """Send a batch; first, where it may be a repetition, leave out what is there already."""
        if self._clock.monotonic() >= self._unsure_until:
            self._send(batch, left)
            return
        there = self._bring_up_to_date(batch, left)
        rest = batch.filter(~pl.Series(there, dtype=pl.Boolean))
        if rest.height and left.trouble is None:
            self._send(rest, left)

    def _send(self, batch: pl.DataFrame, left: _Left) -> None:
        """Send a batch, and note which of its documents were not written."""
        try:
            answer = self._client.bulk(
                operations=cast(Any, _body(batch)),
                filter_path=_ANSWER,
                require_data_stream=self.data_streams or None,
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
        bad, waiting, twice = self._sorted(batch["stream"].to_list(), outcomes)
        if twice:
            self._bring_up_to_date(batch[twice], left)
            self._note_indices(batch["stream"].to_list(), outcomes)
        if bad:
            left.refused.append(batch[bad])
            left.reasons += [_reason(outcomes[row]) for row in bad]
        if waiting:
            left.waiting.append(batch[waiting])
            first = outcomes[waiting[0]]
            way_out = _WAYS_OUT.get(first["status"], "")
            left.trouble = Unavailable(f"{_place(self._settings)}: {_reason(first)}{way_out}")

    def _sorted(
        self, streams: Sequence[str], outcomes: Sequence[Mapping[str, Any]]
    ) -> tuple[list[int], list[int], list[int]]:
        """Return the rows that are refused for good, those that have to wait, and those to look up."""
        bad: list[int] = []
        waiting: list[int] = []
        twice: list[int] = []
        # A look at each outcome: little beside what client and server did for each.
        for row, outcome in enumerate(outcomes):
            status = outcome["status"]
            if status < 300 and "failure_store" not in outcome:
                if outcome.get("_index") != self._written_to.get(streams[row]):
                    twice.append(row)
            elif status == 409:
                twice.append(row)
            elif status in _WAYS_OUT or status == 429 or status >= 500:
                waiting.append(row)
            else:
                bad.append(row)
        return bad, waiting, twice

    def _note_indices(self, streams: Sequence[str], outcomes: Sequence[Mapping[str, Any]]) -> None:
        """Remember which index each stream writes to; a new one is doubted for a while."""
        for stream, outcome in zip(streams, outcomes, strict=True):
            index = outcome.get("_index", "")
            if outcome["status"] >= 300 or self._written_to.get(stream) == index:
                continue
            if stream in self._written_to:
                until = self._clock.monotonic() + _NEW_INDEX_SECONDS
                self._unsure_until = max(self._unsure_until, until)
            self._written_to[stream] = index

    def _bring_up_to_date(self, batch: pl.DataFrame, left: _Left) -> list[bool]:
        """Look at what is there already, replace what says something else; say which are there."""
        nothing = [False] * batch.height
        if not self._may_look:
            return nothing
        try:
            there = self._known.look_up(batch)
            refused = self._known.replace(batch, there)
        except (ApiError, TransportError) as error:
            if isinstance(error, ApiError) and error.meta.status == 403:
                self._may_look = False
                _log.warning(
                    "%s: the credentials may create documents and not look at them, so after a crash "
                    "one may stay as it was, or be there twice: give them read, maintenance and index",
                    _place(self._settings),
                )
                return nothing
            left.waiting.append(batch)
            left.trouble = unavailable(self._settings, error)
            return nothing
        if refused:
            left.refused.append(batch[list(refused)])
            left.reasons += refused.values()
        return there

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


def _last_of_each(frame: pl.DataFrame) -> pl.DataFrame:
    """Leave the last of several documents of the same id: a bulk request would take the first."""
    if frame.select(pl.struct("stream", "id").n_unique()).item() == frame.height:
        return frame
    return frame.unique(["stream", "id"], keep="last", maintain_order=True)


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
    reason = error.message or ""  # an answer may have no body
    if isinstance(error.body, Mapping) and isinstance(error.body.get("error"), Mapping):
        reason = f"{error.body['error'].get('type')}: {error.body['error'].get('reason')}"
    return Unavailable(
        f"{place}: {status} {in_a_line(reason, 500)}".rstrip() + _WAYS_OUT.get(status, ""),
        seconds_of(error.meta.headers.get("retry-after")),
    )


def _place(settings: ElasticsearchSettings) -> str:
    return f"elasticsearch: {', '.join(address(host) for host in settings.hosts)}"
