"""ClickHouse: rows into a table, a batch of them as one insert of Arrow columns.

What makes a row one, whatever is written again:

- Before an insert the table is asked which of the rows it has, by columns that its indices know, and those
  are left out. That holds for batches that begin and end elsewhere than before a crash, and for records
  that a flow before this one wrote a second time. There is no window after which it does not.
- An insert has a token made of its content, which ClickHouse remembers (``non_replicated_deduplication_window``
  of the table). So one whose answer was lost, and which may still be under way when the table is asked,
  is dropped when it is sent again.
- The table is a ``ReplacingMergeTree`` ordered by what tells a row from all others. That is for the one case
  that is left: a process was killed, its insert still runs when the next one asks. Of two such
  rows one goes with the next merge of their parts, and ``FINAL`` shows one at once.

An insert is of one block, so ClickHouse takes all of a day's rows or none. What it refuses for good for one
row's sake is halved until that row stands alone.
"""

from __future__ import annotations

import io
import logging
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urlsplit

import clickhouse_connect
import polars as pl
import pyarrow as pa
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from pydantic import SecretStr

from operators.contracts.batch_form import BatchForm
from sinks.base import Destination, Remainder, Unavailable, address, cause, in_a_line
from sinks.refused_rows import refused_rows, restored_rows

__all__ = [
    "LAST_SECOND",
    "ClickHouse",
    "ClickHouseSettings",
    "asked",
    "connect",
    "literal",
    "quoted",
]

LAST_SECOND: Final = 2**32 - 1 - 2**30
"""In 2072: rows of clocks that run further ahead count as of then.

ClickHouse's seconds end in 2106, and the longest time to live after this one must not be past the end: it
would be in the past again, and the row gone at once.
"""
_FOR_GOOD: Final = frozenset({131, 349, 407, 469})
"""A text too large, a null, a decimal out of range, a constraint: what one row is refused for."""
_WAYS_OUT: Final = {
    16: "; run `headrace setup`, which adds columns",
    47: "; run `headrace setup`, which adds columns",
    53: "; the column has another type than `headrace setup` gives it",
    60: "; run `headrace setup` to make the table",
    70: "; the column has another type than `headrace setup` gives it",
    81: "; run `headrace setup` to make the database",
    164: "; the user of sinks.clickhouse may only read",
    192: "; set sinks.clickhouse.user and password",
    193: "; set sinks.clickhouse.user and password",
    243: "; its disk is full: make room, or shorten sinks.clickhouse.ttl and run `headrace setup`",
    252: "; it has more parts than it has merged yet, and takes rows again once it has",
    497: "; grant the user of sinks.clickhouse SELECT and INSERT on the table, and for `headrace setup` CREATE",
    516: "; set sinks.clickhouse.user and password",
}
"""By the number of ClickHouse's exception."""
_INSERT: Final = {
    "async_insert": 0,  # its answer comes before the rows are there
    "insert_deduplicate": 1,
    "max_partitions_per_insert_block": 0,  # records of a hundred days may come together
    "wait_end_of_query": 1,
}
_ANSWER: Final = {
    "max_query_size": 1 << 26,  # it names what was written
    "output_format_arrow_string_as_string": 1,
    "output_format_arrow_low_cardinality_as_dictionary": 0,
}


class _Tables(Protocol):
    logs: str
    spans: str


class ClickHouseSettings(Protocol):
    """What the sink needs to know; ``flows.settings.ClickHouseSection`` is one."""

    url: str
    database: str
    user: str
    password: SecretStr | None
    ttl: int
    ca_certs: Path | None
    timeout: int
    batch_rows: int

    @property
    def tables(self) -> _Tables:
        """Names of the tables."""


class ClickHouse(Destination):
    """Writes frames of one schema into one table. The payload of what is refused is a batch of one row.

    Args:
        settings: of ClickHouse.
        table: the name of the table.
        form: of the frames.
    """

    identity: tuple[str, ...]
    """The columns of the table that tell a row from all others."""

    def __init__(self, settings: ClickHouseSettings, table: str, form: BatchForm) -> None:
        self._settings = settings
        self._table = f"{quoted(settings.database)}.{quoted(table)}"
        self._form = form
        self._client: Client | None = None
        self._remainder = Remainder()

    @abstractmethod
    def columns(self, frame: pl.DataFrame) -> pa.Table:
        """Return the rows of a frame as columns of the table, those of ``identity`` among them."""

    @abstractmethod
    def written_before(self, rows: pl.DataFrame) -> str:
        """Return the condition, in SQL, that holds for rows of the table that may be among ``rows``.

        Args:
            rows: their columns of ``identity``, with the table's names.
        """

    def write(self, frame: pl.DataFrame) -> pl.DataFrame | None:
        """Write a frame, one insert after the other."""
        rest = self._remainder.of(frame)
        batches = list(rest.iter_slices(self._settings.batch_rows)) if rest.height else []
        refused: list[pl.DataFrame] = []
        reasons: list[str] = []
        for number, batch in enumerate(batches):
            done = len(refused)
            try:
                with asked(self._settings):
                    self._send_unknown(batch, refused, reasons)
            except Unavailable:
                # What is refused must come again as well: only a write that ends can say so.
                self._remainder.keep(frame, pl.concat([*batches[number:], *refused[:done]]))
                raise
        return refused_rows(self.name, reasons, refused, self._form)

    def restore(self, payloads: Sequence[bytes]) -> pl.DataFrame:
        """Return the frame of refused rows."""
        return restored_rows(self.name, payloads, self._form)

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()

    def _send_unknown(
        self, batch: pl.DataFrame, refused: list[pl.DataFrame], reasons: list[str]
    ) -> None:
        """Send the rows of a batch that the table does not have, each of them once."""
        if self._client is None:
            self._client = connect(self._settings)
        columns = self.columns(batch)
        ids = pl.DataFrame(pl.from_arrow(columns.select(self.identity))).with_row_index("row")
        ids = ids.unique(self.identity, keep="last", maintain_order=True)
        there = self._there(self._client, ids)
        if there.height:
            known = there.cast(pl.Schema(ids.select(self.identity).schema))
            ids = ids.join(known, on=self.identity, how="anti")
        if ids.height < batch.height:
            rows = ids["row"].sort()
            columns, batch = columns.take(rows.to_arrow()), batch[rows]
        if batch.height:
            self._send(self._client, batch, columns, refused, reasons)

    def _there(self, client: Client, ids: pl.DataFrame) -> pl.DataFrame:
        """Return the identities of rows of the table, those of ``ids`` that it has among them."""
        names = ", ".join(map(quoted, self.identity))
        where = self.written_before(ids)
        # Names are quoted, and texts are literals.
        query = f"SELECT {names} FROM {self._table} WHERE {where}"  # noqa: S608
        answer = client.raw_query(query, settings=_ANSWER, fmt="ArrowStream")
        if not answer:
            return ids.clear().drop("row")
        try:
            return pl.read_ipc_stream(io.BytesIO(answer))
        except pl.exceptions.PolarsError as error:
            raise Unavailable(
                f"{_place(self._settings)}: its answer was cut, or what answers there is no ClickHouse: "
                f"{in_a_line(error)}"
            ) from None

    def _send(
        self,
        client: Client,
        batch: pl.DataFrame,
        columns: pa.Table,
        refused: list[pl.DataFrame],
        reasons: list[str],
    ) -> None:
        """Send a batch; where one row's sake makes ClickHouse refuse it, its halves."""
        try:
            self._insert(client, columns)
        except ClickHouseError as error:
            if getattr(error, "code", None) not in _FOR_GOOD:
                raise
            if batch.height == 1:
                refused.append(batch)
                reasons.append(f"{_place(self._settings)}, {self._table}: {in_a_line(error)}")
                return
            middle = batch.height // 2
            self._send(client, batch[:middle], columns[:middle], refused, reasons)
            self._send(client, batch[middle:], columns[middle:], refused, reasons)

    def _insert(self, client: Client, columns: pa.Table) -> None:
        names = ", ".join(map(quoted, columns.column_names))
        body = _arrow(columns)
        token = blake2b(body, digest_size=16).hexdigest()
        client.command(
            f"INSERT INTO {self._table} ({names}) FORMAT Arrow",
            data=body,
            settings={**_INSERT, "insert_deduplication_token": token},
        )


def _arrow(columns: pa.Table) -> bytes:
    """Return columns as a file of Arrow in one block; a part of it can't be taken for the whole."""
    target = io.BytesIO()
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    whole = columns.combine_chunks()
    with pa.ipc.new_file(target, whole.schema, options=options) as writer:
        writer.write_table(whole)
    return target.getvalue()


def connect(settings: ClickHouseSettings) -> Client:
    """Return a client that leaves trying again to whoever uses it; it asks the server's version."""
    logging.getLogger("clickhouse_connect").setLevel(logging.ERROR)
    parts = urlsplit(settings.url)
    password = settings.password.get_secret_value() if settings.password else ""
    return clickhouse_connect.get_client(
        host=parts.hostname,
        port=parts.port or (8443 if parts.scheme == "https" else 8123),
        secure=parts.scheme == "https",
        username=settings.user,
        password=password,
        ca_cert=str(settings.ca_certs) if settings.ca_certs else None,
        connect_timeout=max(1, min(10, settings.timeout // 1_000_000_000)),
        send_receive_timeout=max(1, settings.timeout // 1_000_000_000),
        query_retries=0,
        autogenerate_session_id=False,
        show_clickhouse_errors="scrub",
        client_name="Headrace",
        dedicated_pool=True,
        proxy_path=parts.path.strip("/"),
    )


@contextmanager
def asked(settings: ClickHouseSettings) -> Iterator[None]:
    """Raise what goes wrong with a request as ``Unavailable``, which says what can be done."""
    try:
        yield
    except (ClickHouseError, OSError) as error:
        code = getattr(error, "code", None)
        why = f"{in_a_line(error)}{_WAYS_OUT.get(code, '')}" if code else cause(error)
        raise Unavailable(f"{_place(settings)}: {why}") from None


def quoted(name: str) -> str:
    """Return a name for SQL.

    >>> quoted("otel_logs")
    '`otel_logs`'
    """
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def literal(text: str) -> str:
    """Return a text for SQL.

    >>> literal("it's")
    "'it\\\\'s'"
    """
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _place(settings: ClickHouseSettings) -> str:
    return f"clickhouse: {address(settings.url)}"
