"""Erasing a person's records of logs from ClickHouse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clickhouse_connect.driver.client import Client

from sinks.clickhouse import ClickHouseSettings, asked, connect, literal, quoted
from sinks.erasing import Person

__all__ = ["erase_rows"]

_PAGE: Final = 1_000
_IDENTITY: Final = "Topic, Partition, Offset, Index, toUnixTimestamp64Nano(Timestamp)"
_TEXTS: Final = (
    "arrayConcat([Body], mapKeys(LogAttributes), mapValues(LogAttributes), "
    "mapKeys(ResourceAttributes), mapValues(ResourceAttributes))"
)


def erase_rows(settings: ClickHouseSettings, subject: Person, *, dry_run: bool) -> int:
    """Erase the records that name someone; return how many were found.

    Once this returns, the parts of the table that had any are written anew without them.

    Raises:
        Unavailable: ClickHouse can't be reached, or refuses; the message says why.
    """
    table = f"{quoted(settings.database)}.{quoted(settings.tables.logs)}"
    with asked(settings):
        client = connect(settings)
        try:
            found = list(_rows_of(client, table, subject))
            for start in range(0, 0 if dry_run else len(found), _PAGE):
                which = ", ".join(found[start : start + _PAGE])
                client.command(
                    f"ALTER TABLE {table} DELETE WHERE ({_IDENTITY}) IN ({which})",
                    settings={"mutations_sync": 2, "max_query_size": 1 << 26},
                )
        finally:
            client.close()
    return len(found)


def _rows_of(client: Client, table: str, subject: Person) -> Iterator[str]:
    """Yield the identities of a person's rows, as tuples of SQL."""
    tenant = f" AND Tenant = {literal(subject.tenant)}" if subject.tenant else ""
    # Names are quoted, and texts are literals. The expression finds perhaps more than it should.
    query = (
        f"SELECT {_IDENTITY}, {_TEXTS} AS texts FROM {table} "  # noqa: S608
        f"WHERE arrayExists(text -> match(text, {literal(subject.pattern)}), texts){tenant}"
    )
    with client.query_row_block_stream(query) as blocks:
        for block in blocks:
            for topic, *numbers, texts in block:
                if subject.is_in(list(texts)):
                    yield f"({literal(topic)}, {', '.join(map(str, numbers))})"
