"""What ClickHouse needs before rows can be written: the database, the tables, and how long they keep rows.

The tables have the columns, partitions, primary keys and indices of the OpenTelemetry Collector's exporter, so
what reads its tables reads these. What differs is what keeps a row one, see ``sinks.clickhouse``: the engine,
the end of the order, and columns of our own behind theirs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from clickhouse_connect.driver.client import Client

from sinks.base import Unavailable, address
from sinks.clickhouse import ClickHouseSettings, asked, connect, quoted

__all__ = ["check", "ensure"]

_SECOND: Final = 1_000_000_000
_ENGINE: Final = "ReplacingMergeTree"
_TEXT: Final = "String CODEC(ZSTD(1))"
_WORD: Final = "LowCardinality(String) CODEC(ZSTD(1))"
_MAP: Final = "Map(LowCardinality(String), String) CODEC(ZSTD(1))"
_INSTANT: Final = "DateTime64(9) CODEC(Delta(8), ZSTD(1))"
_EXACT: Final = "bloom_filter(0.001) GRANULARITY 1"
_BLOOM: Final = "bloom_filter(0.01) GRANULARITY 1"


@dataclass(frozen=True)
class _Layout:
    """How a table is made.

    Attributes:
        columns: their types.
        indices: expression and type of each.
        day: what a partition has of one value.
        key: the primary key, which the order begins with.
        order: the whole order.
        time: the column, of seconds, that says how old a row is.
    """

    columns: dict[str, str]
    indices: dict[str, tuple[str, str]]
    day: str
    key: str
    order: str
    time: str


_LOGS: Final = _Layout(
    columns={
        "Timestamp": _INSTANT,
        "TimestampTime": "DateTime DEFAULT toDateTime(Timestamp)",
        "TraceId": _TEXT,
        "SpanId": _TEXT,
        "TraceFlags": "UInt8",
        "SeverityText": _WORD,
        "SeverityNumber": "UInt8",
        "ServiceName": _WORD,
        "Body": _TEXT,
        "ResourceSchemaUrl": _WORD,
        "ResourceAttributes": _MAP,
        "ScopeSchemaUrl": _WORD,
        "ScopeName": _TEXT,
        "ScopeVersion": _WORD,
        "ScopeAttributes": _MAP,
        "LogAttributes": _MAP,
        # Of our own:
        "Tenant": _WORD,
        "Template": _WORD,
        "Shape": _TEXT,
        "Exception": _WORD,
        "Weight": "Int64 DEFAULT 1 CODEC(ZSTD(1))",
        "Marks": "UInt8 CODEC(ZSTD(1))",
        "Topic": _WORD,
        "Partition": "Int32 CODEC(ZSTD(1))",
        "Offset": "Int64 CODEC(Delta(8), ZSTD(1))",
        "Index": "UInt32 CODEC(ZSTD(1))",
    },
    indices={
        "idx_trace_id": ("TraceId", _EXACT),
        "idx_res_attr_key": ("mapKeys(ResourceAttributes)", _BLOOM),
        "idx_res_attr_value": ("mapValues(ResourceAttributes)", _BLOOM),
        "idx_scope_attr_key": ("mapKeys(ScopeAttributes)", _BLOOM),
        "idx_scope_attr_value": ("mapValues(ScopeAttributes)", _BLOOM),
        "idx_log_attr_key": ("mapKeys(LogAttributes)", _BLOOM),
        "idx_log_attr_value": ("mapValues(LogAttributes)", _BLOOM),
        "idx_body": ("Body", "tokenbf_v1(32768, 3, 0) GRANULARITY 8"),
        "idx_offset": ("Offset", "minmax GRANULARITY 1"),
    },
    day="toDate(TimestampTime)",
    key="ServiceName, TimestampTime",
    order="ServiceName, TimestampTime, Timestamp, Topic, Partition, Offset, Index",
    time="TimestampTime",
)


_NESTED: Final = {
    "Events.Timestamp": "Array(DateTime64(9)) CODEC(ZSTD(1))",
    "Events.Name": "Array(LowCardinality(String)) CODEC(ZSTD(1))",
    "Events.Attributes": "Array(Map(LowCardinality(String), String)) CODEC(ZSTD(1))",
    "Links.TraceId": "Array(String) CODEC(ZSTD(1))",
    "Links.SpanId": "Array(String) CODEC(ZSTD(1))",
    "Links.TraceState": "Array(String) CODEC(ZSTD(1))",
    "Links.Attributes": "Array(Map(LowCardinality(String), String)) CODEC(ZSTD(1))",
}
"""What ``Nested`` columns are: arrays of one length."""
_SPANS: Final = _Layout(
    columns={
        "Timestamp": _INSTANT,
        "TraceId": _TEXT,
        "SpanId": _TEXT,
        "ParentSpanId": _TEXT,
        "TraceState": _TEXT,
        "SpanName": _WORD,
        "SpanKind": _WORD,
        "ServiceName": _WORD,
        "ResourceAttributes": _MAP,
        "ScopeName": _TEXT,
        "ScopeVersion": _TEXT,
        "SpanAttributes": _MAP,
        "Duration": "UInt64 CODEC(ZSTD(1))",
        "StatusCode": _WORD,
        "StatusMessage": _TEXT,
        **_NESTED,
        # Of our own:
        "Tenant": _WORD,
        "Operation": _WORD,
        "Reason": _WORD,
        "AdjustedCount": "Float64 DEFAULT 1 CODEC(ZSTD(1))",
    },
    indices={
        "idx_trace_id": ("TraceId", _EXACT),
        "idx_res_attr_key": ("mapKeys(ResourceAttributes)", _BLOOM),
        "idx_res_attr_value": ("mapValues(ResourceAttributes)", _BLOOM),
        "idx_span_attr_key": ("mapKeys(SpanAttributes)", _BLOOM),
        "idx_span_attr_value": ("mapValues(SpanAttributes)", _BLOOM),
        "idx_duration": ("Duration", "minmax GRANULARITY 1"),
        "idx_lower_span_name": ("lower(SpanName)", "tokenbf_v1(32768, 3, 0) GRANULARITY 8"),
    },
    day="toDate(Timestamp)",
    key="ServiceName, SpanName, toDateTime(Timestamp)",
    order="ServiceName, SpanName, toDateTime(Timestamp), Timestamp, Tenant, TraceId, SpanId, SpanKind",
    time="toDateTime(Timestamp)",
)


def _layouts(settings: ClickHouseSettings, *, logs: bool, spans: bool) -> dict[str, _Layout]:
    chosen = {settings.tables.logs: _LOGS} if logs else {}
    return chosen | ({settings.tables.spans: _SPANS} if spans else {})


def ensure(settings: ClickHouseSettings, *, logs: bool, spans: bool) -> list[str]:
    """Make the database and the tables, add columns that are missing, and set how long rows are kept.

    Args:
        settings: of ClickHouse.
        logs: records of logs go there.
        spans: kept spans go there.

    Returns:
        What was done, a line each; empty if all was as it should be.

    Raises:
        sinks.base.Unavailable: ClickHouse can't be reached, does not let us, or has a table of that name in
            which a row could be twice.
    """
    done = []
    with asked(settings):
        client = connect(settings)
        try:
            if not _rows(
                client, "SELECT 1 FROM system.databases WHERE name = %(database)s", settings
            ):
                client.command(f"CREATE DATABASE IF NOT EXISTS {quoted(settings.database)}")
                done.append(f"clickhouse: created database {settings.database}")
            for table, layout in _layouts(settings, logs=logs, spans=spans).items():
                done += _ensure_table(client, settings, table, layout)
            if spans:
                done += _ensure_lookup(client, settings)
        finally:
            client.close()
    return done


def check(settings: ClickHouseSettings, *, logs: bool, spans: bool) -> None:
    """Make sure that ClickHouse can be reached, and has the tables with all columns.

    Raises:
        sinks.base.Unavailable: rows can't be written; the message says why, and what to do.
    """
    with asked(settings):
        client = connect(settings)
        try:
            for table, layout in _layouts(settings, logs=logs, spans=spans).items():
                _judge(client, settings, table, layout)
                if missing := _missing(client, settings, table, layout):
                    raise Unavailable(
                        f"{_place(settings, table)}: lacks {', '.join(missing)}; run `headrace setup`"
                    )
        finally:
            client.close()


def _ensure_table(
    client: Client, settings: ClickHouseSettings, table: str, layout: _Layout
) -> list[str]:
    """Return what had to be done, in words."""
    name = f"{quoted(settings.database)}.{quoted(table)}"
    seconds = settings.ttl // _SECOND
    ttl = f"{layout.time} + toIntervalSecond({seconds})"
    kept = f"kept {seconds // 86_400}d" if seconds % 86_400 == 0 else f"kept {seconds}s"
    made = _described(client, settings, table)
    if made is None:
        client.command(_statement(name, layout, ttl))
        return [f"clickhouse: created table {settings.database}.{table}, {kept}"]
    _judge(client, settings, table, layout)
    done = []
    if missing := _missing(client, settings, table, layout):
        types = layout.columns
        added = ", ".join(
            f"ADD COLUMN IF NOT EXISTS {quoted(each)} {types[each]}" for each in missing
        )
        client.command(f"ALTER TABLE {name} {added}")
        done.append(f"clickhouse: table {settings.database}.{table} now has {', '.join(missing)}")
    if f"TTL {ttl}" not in made["create_table_query"]:
        client.command(f"ALTER TABLE {name} MODIFY TTL {ttl}")
        done.append(f"clickhouse: table {settings.database}.{table} is now {kept}")
    return done


def _ensure_lookup(client: Client, settings: ClickHouseSettings) -> list[str]:
    """Make the table that says when each trace was, by which readers find one; a view fills it."""
    table = f"{settings.tables.spans}_trace_id_ts"
    database, spans = quoted(settings.database), quoted(settings.tables.spans)
    ttl = f"Start + toIntervalSecond({settings.ttl // _SECOND})"
    made = _described(client, settings, table)
    if made is None:
        instant = "DateTime) CODEC(ZSTD(1))"
        client.command(
            f"CREATE TABLE IF NOT EXISTS {database}.{quoted(table)} (TraceId {_TEXT}, "
            f"Start SimpleAggregateFunction(min, {instant}, End SimpleAggregateFunction(max, {instant}) "
            f"ENGINE = AggregatingMergeTree PARTITION BY toStartOfWeek(Start) ORDER BY (TraceId) "
            f"TTL {ttl} SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1"
        )
    elif f"TTL {ttl}" not in made["create_table_query"]:
        client.command(f"ALTER TABLE {database}.{quoted(table)} MODIFY TTL {ttl}")
    # A repeated insert does no harm here: the first and the last of the same are the same.
    times = "min(toDateTime(Timestamp)) AS Start, max(toDateTime(Timestamp)) AS End"
    source = f"{database}.{spans} WHERE TraceId != '' GROUP BY TraceId"
    client.command(
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {database}.{quoted(f'{table}_mv')} "  # noqa: S608 - they are quoted
        f"TO {database}.{quoted(table)} AS SELECT TraceId, {times} FROM {source}"
    )
    return [] if made else [f"clickhouse: created table {settings.database}.{table}"]


def _statement(name: str, layout: _Layout, ttl: str) -> str:
    columns = [f"{quoted(each)} {kind}" for each, kind in layout.columns.items()]
    indices = [f"INDEX {each} {of} TYPE {kind}" for each, (of, kind) in layout.indices.items()]
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({', '.join([*columns, *indices])}) "
        f"ENGINE = {_ENGINE} PARTITION BY {layout.day} PRIMARY KEY ({layout.key}) "
        f"ORDER BY ({layout.order}) TTL {ttl} SETTINGS index_granularity = 8192, "
        "ttl_only_drop_parts = 1, non_replicated_deduplication_window = 1000"
    )


def _judge(client: Client, settings: ClickHouseSettings, table: str, layout: _Layout) -> None:
    """Refuse a table in which a row could be twice, or different rows be taken for one."""
    made = _described(client, settings, table)
    if made is None:
        raise Unavailable(
            f"{_place(settings, table)}: is not there; run `headrace setup` to make it"
        )
    if _ENGINE not in made["engine"].replace("Shared", "").replace("Replicated", ""):
        raise Unavailable(
            f"{_place(settings, table)}: is there with engine {made['engine']}, in which a row could be "
            "twice; name another one in sinks.clickhouse.tables"
        )
    if made["sorting_key"].replace("`", "") != layout.order:
        raise Unavailable(
            f"{_place(settings, table)}: is there with the order {made['sorting_key']}, in which different rows "
            "would be taken for one; name another one in sinks.clickhouse.tables"
        )


def _missing(
    client: Client, settings: ClickHouseSettings, table: str, layout: _Layout
) -> list[str]:
    there = {
        row["name"]
        for row in _rows(
            client,
            "SELECT name FROM system.columns WHERE database = %(database)s AND table = %(table)s",
            settings,
            table,
        )
    }
    return [name for name in layout.columns if name not in there]


def _described(client: Client, settings: ClickHouseSettings, table: str) -> dict[str, Any] | None:
    found = _rows(
        client,
        "SELECT engine, sorting_key, create_table_query FROM system.tables "
        "WHERE database = %(database)s AND name = %(table)s",
        settings,
        table,
    )
    return found[0] if found else None


def _rows(
    client: Client, query: str, settings: ClickHouseSettings, table: str = ""
) -> list[dict[str, Any]]:
    parameters = {"database": settings.database, "table": table}
    return list(client.query(query, parameters=parameters).named_results())


def _place(settings: ClickHouseSettings, table: str) -> str:
    return f"clickhouse: {address(settings.url)}: table {settings.database}.{table}"
