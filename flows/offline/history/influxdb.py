"""Rollups in InfluxDB, some windows of all series at a time.

InfluxDB keeps neither unit nor kind of a series, of which its id is made too. Of series that are
``known`` from elsewhere both are as in the flow. Any other that has a rate and no percentiles is a sum,
and judged by its rate; its id is that of the flow in the half that says its shard, and what only a unit
tells, such as that a value is no more than 1, is not known.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from influxdb_client.domain.dialect import Dialect
from influxdb_client.rest import ApiException
from numpy.typing import NDArray
from urllib3.exceptions import HTTPError

from flows.offline.history.base import FACTS, FORECAST, BadHistory, History, Readings
from operators.contracts.alert import rfc3339
from operators.contracts.frames import CUMULATIVE, DEFAULT_TENANT, GAUGE, KINDS, empty
from operators.series.labels import combined, hashes
from sinks.influxdb import InfluxDBSettings, bucket_name, connect, unavailable
from sinks.line_protocol import FIELDS

__all__ = ["InfluxHistory"]

_WINDOWS: Final = 360
"""Windows that are read at once: of eight thousand series three million rollups."""
_OWN: Final = ("", "result", "table", "_time", "_value", "_field", "_measurement")
_IDENTITY: Final = ("tenant", "name", "labels")
_RESERVED: Final = frozenset({*FIELDS, "tenant", "time"})
_PREFIX: Final = "label_"
_FIELDS: Final = ("mean", "rate", "p50")
_DIALECT: Final = Dialect(
    header=True, delimiter=",", annotations=[], date_time_format="RFC3339Nano"
)
_VALUES: Final = pl.Schema(
    {"tenant": pl.String, "name": pl.String, "labels": pl.String, "field": pl.String,
     "start": pl.Int64, "value": pl.Float64}
)  # fmt: skip


@dataclass(frozen=True)
class InfluxHistory(History):
    """The rollups of one resolution in InfluxDB.

    Attributes:
        settings: of ``sinks.influxdb``.
        length: of the windows, in nanoseconds.
        since, until: only windows that start in this span; nanoseconds.
        tenant: only this one's.
        known: what is known of series from elsewhere: a FACTS frame.
    """

    settings: InfluxDBSettings
    length: int
    since: int
    until: int
    tenant: str | None = None
    known: pl.DataFrame | None = field(default=None, compare=False, repr=False)
    _last: dict[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def window(self) -> int:
        """Length of the windows, in nanoseconds."""
        return self.length

    @property
    def source(self) -> str:
        """The bucket, and where it is."""
        return f"InfluxDB bucket {bucket_name(self.settings, self.length)}"

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield spans of some hundred windows.

        Raises:
            BadHistory: there is nothing in the span, or the server can't be asked.
        """
        first = self.since // self.length * self.length
        if not self._query(self.since, self.until, "|> first()").strip():
            raise BadHistory(f"{self.source}: no rollups in that span of time")
        step = _WINDOWS * self.length
        for since in range(first, self.until, step):
            yield max(since, self.since), min(since + step, self.until)

    def read(self, since: int, until: int) -> Readings:
        """Return the rollups of a span.

        Raises:
            BadHistory: the server can't be asked.
        """
        rows = self._rows(since, until)
        wide = rows.pivot("field", index=["series", "start"], values="value")
        missing = [pl.lit(None, pl.Float64).alias(n) for n in _FIELDS if n not in wide.columns]
        wide = wide.with_columns(*missing).with_columns(
            pl.col(name).cast(pl.Float64).fill_null(np.nan) for name in _FIELDS
        )
        return Readings(
            wide["series"].to_numpy(), wide["start"].to_numpy(),
            wide["mean"].to_numpy(), wide["rate"].to_numpy(),
        )  # fmt: skip

    def facts(self, series: NDArray[np.uint64], since: int, until: int) -> pl.DataFrame:
        """Return what is known of series."""
        rows = self._rows(since, until).filter(pl.col("series").is_in(pl.Series(series).implode()))
        found = (
            rows.group_by("tenant", "series", "name", "labels", maintain_order=True)
            .agg(
                unit=pl.lit(""),
                kind=pl.when((pl.col("field") == "rate").any() & (pl.col("field") != "p50").all())
                .then(pl.lit(KINDS[CUMULATIVE]))
                .otherwise(pl.lit(KINDS[GAUGE])),
            )
            .select(FACTS.names())
        )
        if self.known is None:
            return found
        return found.update(self.known.select("series", "unit", "kind"), on="series")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_last": {}}

    def _rows(self, since: int, until: int) -> pl.DataFrame:
        """Return values by ``_COLUMNS``, with ``series``; what was asked for last is kept."""
        if self._last.get("span") != (since, until):
            self._last.clear()
            rows = _parsed(self._query(since, until))
            if self.tenant is not None:
                rows = rows.filter(pl.col("tenant") == self.tenant)
            ids = combined(*(hashes(rows[column]) for column in _IDENTITY))
            rows = rows.with_columns(series=pl.Series(ids))
            if self.known is not None:
                ours = self.known.unique(_IDENTITY, keep="last").select(*_IDENTITY, id="series")
                rows = rows.join(ours, on=_IDENTITY, how="left", maintain_order="left")
                rows = rows.with_columns(series=pl.coalesce("id", "series")).drop("id")
            self._last.update(span=(since, until), rows=rows)
        found: pl.DataFrame = self._last["rows"]
        return found

    def _query(self, since: int, until: int, more: str = "") -> bytes:
        bucket = bucket_name(self.settings, self.length)
        fields = " or ".join(f"r._field == {_text(name)}" for name in _FIELDS)
        flux = (
            f"from(bucket: {_text(bucket)})\n"
            f"|> range(start: {rfc3339(since)}, stop: {rfc3339(until)})\n"
            f"|> filter(fn: (r) => {fields})\n"
            f'|> drop(columns: ["_start", "_stop"])\n{more}'
        )
        try:
            with connect(self.settings) as client:
                answer = client.query_api().query_raw(flux, self.settings.org, _DIALECT)
                return bytes(answer.data)
        except (ApiException, HTTPError, OSError) as error:
            raise BadHistory(str(unavailable(self.settings, error, bucket))) from None


def _text(value: str) -> str:
    """Return a text as Flux writes it."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("${", "\\${")
    return f'"{escaped}"'


def _parsed(answer: bytes) -> pl.DataFrame:
    """Return the values in an answer, by ``_VALUES``: tables of CSV, a header for each set of tags."""
    parts = [empty(_VALUES)]
    for block in answer.replace(b"\r\n", b"\n").split(b"\n\n"):
        if not block.strip():
            continue
        table = pl.read_csv(io.BytesIO(block), infer_schema=False)
        tags = [name for name in table.columns if name not in _OWN]
        whose = table.select("_measurement", *tags).unique(maintain_order=True)
        named = [_named(tags, row[1:]) for row in whose.rows()]
        whose = whose.with_columns(
            tenant=pl.Series([tenant for tenant, _ in named], dtype=pl.String),
            labels=pl.Series([labels for _, labels in named], dtype=pl.String),
        )
        parts.append(
            table.join(whose, on=["_measurement", *tags], how="left", nulls_equal=True)
            .select(
                "tenant", "labels", name="_measurement", field="_field",
                start=pl.col("_time").str.to_datetime(time_unit="ns", time_zone="UTC").dt.epoch("ns"),
                value=pl.col("_value").cast(pl.Float64),
            )
            .select(_VALUES.names())
        )  # fmt: skip
    found = pl.concat(parts)
    return found.filter(~pl.col("name").str.ends_with(FORECAST))


def _named(tags: Sequence[str], values: Sequence[str | None]) -> tuple[str, str]:
    """Return the tenant and the labels, as JSON, that the tags of a series say."""
    given = {tag: value for tag, value in zip(tags, values, strict=True) if value}
    tenant = given.pop("tenant", DEFAULT_TENANT)
    labels = {_label(tag): value for tag, value in given.items()}
    return tenant, orjson.dumps(labels, option=orjson.OPT_SORT_KEYS).decode()


def _label(tag: str) -> str:
    """Return the label that a tag was made of: what is InfluxDB's own got a prefix."""
    plain = tag.removeprefix(_PREFIX)
    return plain if plain in _RESERVED or plain.startswith("_") else tag
