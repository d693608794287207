"""Records of logs in ClickHouse, in the table that the OpenTelemetry Collector's exporter makes.

Its columns are there under their names, so what shows logs from it (Grafana's plugin, HyperDX) shows these.
Beside them stand what Headrace found out about a record, and where its message was.

Source: ``otel_logs`` of the clickhouseexporter, open-telemetry/opentelemetry-collector-contrib.
"""

from __future__ import annotations

from typing import Final

import polars as pl
import pyarrow as pa

from operators.contracts.batch_form import LOG_BATCHES
from sinks.clickhouse import LAST_SECOND, ClickHouse, ClickHouseSettings, literal
from sinks.clickhouse_maps import maps_of
from sinks.log_resources import hexadecimal, with_service

__all__ = ["ClickHouseLogs", "compile_kernels"]

_SECOND: Final = 1_000_000_000
_MOST_RANGES: Final = 64


class ClickHouseLogs(ClickHouse):
    """Writes GROUPED_LOGS frames."""

    name = "clickhouse_logs"
    # A topic that is made anew counts its messages anew: only the time tells them apart.
    identity = ("Topic", "Partition", "Offset", "Index", "Timestamp", "TimestampTime")

    def __init__(self, settings: ClickHouseSettings) -> None:
        super().__init__(settings, settings.tables.logs, LOG_BATCHES)

    def columns(self, frame: pl.DataFrame) -> pa.Table:
        """Return the columns of a GROUPED_LOGS frame."""
        # ClickHouse keeps no time before 1970 in the columns that are here.
        at = pl.when(pl.col("ts") > 0).then("ts").otherwise(pl.max_horizontal("observed", 0))
        plain = frame.select(
            Timestamp=pl.from_epoch(at, "ns"),
            TimestampTime=(at // _SECOND).clip(0, LAST_SECOND).cast(pl.UInt32),
            TraceId="trace_id",
            SpanId="span_id",
            SeverityText="severity_text",
            SeverityNumber="severity",
            ServiceName="service",
            Body="body",
            ScopeName="scope",
            Tenant="tenant",
            Template=_hexadecimal("template"),
            Shape=_hexadecimal("shape"),
            Exception="exception",
            Weight=pl.col("weight").fill_null(1),
            Marks="marks",
            Topic="topic",
            Partition="partition",
            Offset="offset",
            Index="index",
        ).to_arrow(compat_level=pl.CompatLevel.oldest())
        return plain.append_column("ResourceAttributes", _resources(frame)).append_column(
            "LogAttributes", maps_of(frame["attributes"])
        )

    def written_before(self, rows: pl.DataFrame) -> str:
        """Say where these records would be: when they happened, and where their messages were."""
        ranges = rows.group_by("Topic", "Partition").agg(
            pl.col("Offset").min().alias("first"), pl.col("Offset").max().alias("last")
        )
        if ranges.height > _MOST_RANGES:
            offsets = rows["Offset"].to_numpy()
            places = f"`Offset` BETWEEN {int(offsets.min())} AND {int(offsets.max())}"
        else:
            places = " OR ".join(
                f"(`Topic` = {literal(topic)} AND `Partition` = {partition} "
                f"AND `Offset` BETWEEN {first} AND {last})"
                for topic, partition, first, last in ranges.sort("Topic", "Partition").rows()
            )
        times = rows["TimestampTime"].to_numpy()
        return f"`TimestampTime` BETWEEN {int(times.min())} AND {int(times.max())} AND ({places})"


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a record."""
    maps_of(pl.Series(['{"a":1}']))


def _hexadecimal(name: str) -> pl.Expr:
    """Return numbers of 64 bits as 16 digits each, zero as an empty text."""
    number = pl.col(name)
    digits = number.reinterpret(signed=False) if name == "template" else number
    return (
        pl.when(number != 0)
        .then(digits.map_batches(hexadecimal, return_dtype=pl.String))
        .otherwise(pl.lit(""))
    )


def _resources(frame: pl.DataFrame) -> pa.Array:
    """Return what sent each record, with the name of its service; few are different."""
    on = ("resource", "service")
    keys = frame.select(on).unique(maintain_order=True).with_row_index("number")
    named = [with_service(*key) for key in keys.select(on).iter_rows()]
    of_row = frame.select(on).join(keys, on=on, how="left", maintain_order="left")["number"]
    return maps_of(pl.Series(named, dtype=pl.String)).take(of_row.to_arrow())
