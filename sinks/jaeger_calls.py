"""Calls between services to Elasticsearch, for Jaeger: each hour is put together where it is stored.

The edges of an hour come from several shards, at several times, and more than one reader may bring them. A
write reads the ledger of the hour, unless this process wrote it last, puts in what is new, and writes it
back only if nobody else has meanwhile. Then it writes the document that Jaeger reads, and its version is
the ledger's sequence number, so of two writers the one with the older ledger never has the last word.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import polars as pl
from elastic_transport import TransportError
from elasticsearch import ApiError, ConflictError, NotFoundError

from operators.columns.batches import decode_batch, encode_batches
from operators.contracts.batch_form import SERVICE_CALL_BATCHES
from operators.contracts.frames import SERVICE_CALLS
from sinks.base import Destination, Remainder, Unavailable, address, joined, rejects
from sinks.documents import instant
from sinks.elasticsearch import ElasticsearchSettings, connect, unavailable
from sinks.jaeger_earlier import earlier_calls, remove_earlier
from sinks.jaeger_hours import (
    by_hour,
    dependencies_of,
    hour_for,
    ledger_of,
    merged,
    read_ledger,
)

__all__ = ["JaegerCalls"]

_REMEMBERED: Final = 4
"""Hours whose ledger need not be read again: the one under way, and those that late spans come for."""
_TRIES: Final = 5
_KEY: Final = ["series", "window_start"]
_STATUS_TOO_LARGE: Final = 413
_REFUSED: Final = (400, _STATUS_TOO_LARGE)
_TOO_LARGE: Final = (
    "; the calls of an hour are more than http.max_content_length of Elasticsearch allows: raise it, or the "
    "last of rollups.windows, then redrive the dead letters"
)
_IN_A_LETTER: Final = 1_000
"""Rows: one that is refused is one of many, since it is their hour that can't be written."""


@dataclass(slots=True)
class _Hour:
    """An hour as it is stored.

    Attributes:
        rows: of its ledger.
        place: sequence number and primary term of the ledger; None if there is none yet.
        shown: whether the document for Jaeger was made of this ledger, as far as we know.
        earlier: ids of documents that it takes the place of.
    """

    rows: pl.DataFrame
    place: tuple[int, int] | None = None
    shown: bool = False
    earlier: Sequence[str] = ()


class JaegerCalls(Destination):
    """Writes SERVICE_CALLS frames. The payload of what is refused is a batch of rows of one hour.

    Args:
        settings: of Elasticsearch.
        prefix: of the names of indices.
        window: length of the windows that come, in nanoseconds.
    """

    name = "elasticsearch_jaeger_calls"

    def __init__(self, settings: ElasticsearchSettings, prefix: str, window: int) -> None:
        self._settings = settings
        self._client = connect(settings)
        self._indices = f"{prefix}jaeger-dependencies-"
        self._hour = hour_for(window)
        self._remainder = Remainder()
        self._hours: OrderedDict[int, _Hour] = OrderedDict()

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a SERVICE_CALLS frame, one hour after the other."""
        waiting = dict(by_hour(self._remainder.of(frame), self._hour))
        refused: list[pl.DataFrame] = []
        reasons: list[str] = []
        payloads: list[bytes] = []
        for begin, rows in list(waiting.items()):
            try:
                self._write_hour(begin, rows)
            except (ApiError, TransportError, Unavailable) as error:
                self._hours.pop(begin, None)
                if isinstance(error, ApiError) and error.meta.status in _REFUSED:
                    refused.append(rows)
                    letters = [
                        value
                        for part in rows.iter_slices(_IN_A_LETTER)
                        for value in encode_batches(part, SERVICE_CALL_BATCHES)
                    ]
                    reason = str(unavailable(self._settings, error))
                    reason += _TOO_LARGE if error.meta.status == _STATUS_TOO_LARGE else ""
                    reasons += [reason] * len(letters)
                    payloads += letters
                    del waiting[begin]
                    continue
                # What is refused must come again as well: only a write that ends can say so.
                self._remainder.keep(frame, pl.concat([*refused, *waiting.values()]))
                if isinstance(error, Unavailable):
                    raise
                raise unavailable(self._settings, error) from None
            del waiting[begin]
        return rejects(self.name, reasons, payloads) if refused else None

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the SERVICE_CALLS frame of refused rows."""
        found = joined([decode_batch(payload, SERVICE_CALL_BATCHES) for payload in payloads])
        if found is None or not found.height:
            raise ValueError(f"not a call that {self.name} refused")
        return found.select(SERVICE_CALLS.names())

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _write_hour(self, begin: int, rows: pl.DataFrame) -> None:
        stored = self._hours.get(begin) or self._read(begin)
        for _ in range(_TRIES):
            now = merged(stored.rows, rows)
            try:
                if not now.equals(stored.rows) or stored.place is None or stored.earlier:
                    stored = self._put_ledger(begin, now, stored)
            except ConflictError:
                # Another writer was there first. A row that it has set since then stays as it is.
                known, stored = stored.rows, self._read(begin)
                theirs = stored.rows.join(known, on=SERVICE_CALLS.names(), how="anti")
                rows = rows.join(theirs, on=_KEY, how="anti", maintain_order="left")
                continue
            if not stored.shown:
                self._show(begin, stored)
            self._remember(begin, stored)
            return
        raise Unavailable(
            f"elasticsearch: {self._place()}: others have written the calls of {instant(begin)} "
            f"{_TRIES} times meanwhile"
        )

    def _read(self, begin: int) -> _Hour:
        """Return an hour with what is there of it, also in documents of the layout before this."""
        index = self._index(begin)
        earlier, ids = earlier_calls(self._client, index, begin, begin + self._hour)
        try:
            found = self._client.get(index=index, id=_ledger_id(begin))
        except NotFoundError:
            return _Hour(earlier, earlier=ids)
        place = found["_seq_no"], found["_primary_term"]
        try:
            rows = read_ledger(found["_source"])
        except ValueError as error:
            raise Unavailable(
                f"elasticsearch: {self._place()}: {index}/{_ledger_id(begin)} can't be read: {error}; "
                "remove it, and what calls there were until now is not counted"
            ) from None
        return _Hour(merged(earlier, rows), place, earlier=ids)

    def _put_ledger(self, begin: int, rows: pl.DataFrame, stored: _Hour) -> _Hour:
        """Write the ledger, if it is as we know it.

        Raises:
            ConflictError: it is not.
        """
        if stored.place is None:
            only: dict[str, Any] = {"op_type": "create"}
        else:
            only = {"if_seq_no": stored.place[0], "if_primary_term": stored.place[1]}
        answer = self._client.index(
            index=self._index(begin), id=_ledger_id(begin), document=ledger_of(rows), **only
        )
        place = answer["_seq_no"], answer["_primary_term"]
        return _Hour(rows, place, earlier=stored.earlier)

    def _show(self, begin: int, stored: _Hour) -> None:
        """Write the document that Jaeger reads, and remove what it takes the place of."""
        assert stored.place is not None
        with suppress(ConflictError):  # another writer has shown a newer ledger
            self._client.index(
                index=self._index(begin),
                id=f"calls-{instant(begin)}",
                document=dependencies_of(stored.rows, begin),
                version=stored.place[0] + 1,
                version_type="external_gte",
            )
        remove_earlier(self._client, self._index(begin), stored.earlier)
        stored.shown, stored.earlier = True, ()

    def _remember(self, begin: int, stored: _Hour) -> None:
        self._hours[begin] = stored
        self._hours.move_to_end(begin)
        if len(self._hours) > _REMEMBERED:
            self._hours.popitem(last=False)

    def _index(self, begin: int) -> str:
        return f"{self._indices}{instant(begin)[:10]}"

    def _place(self) -> str:
        return ", ".join(address(host) for host in self._settings.hosts)


def _ledger_id(begin: int) -> str:
    return f"ledger-{instant(begin)}"
