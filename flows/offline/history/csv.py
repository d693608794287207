"""Rollups from CSV files: a timestamp and a value a row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from flows.offline.history.base import FACTS, BadHistory, History, Readings
from operators.contracts.frames import DEFAULT_TENANT, GAUGE, KINDS

__all__ = ["CsvHistory", "read_csv", "read_times"]

_TIME, _VALUE, _NAME, _UNIT = "timestamp", "value", "name", "unit"
_LARGEST_SECONDS: Final = 100_000_000_000
"""Whole numbers beyond are no seconds since 1970 of any near century: they are milliseconds."""


@dataclass(frozen=True)
class CsvHistory(History):
    """Values of CSV files, as ``read_csv`` read them.

    Attributes:
        path: where they are from.
        length: of the windows, in nanoseconds.
        rows: ``series``, ``window_start`` and ``value``, in the order of time.
        series: a FACTS frame.
    """

    path: Path
    length: int
    rows: pl.DataFrame
    series: pl.DataFrame

    @property
    def window(self) -> int:
        """Length of the windows, in nanoseconds."""
        return self.length

    @property
    def source(self) -> str:
        """The path."""
        return str(self.path)

    def stretches(self) -> Iterator[tuple[int, int]]:
        """Yield all of it."""
        starts = self.rows["window_start"]
        first, last = int(starts[0]), int(starts[-1])
        yield first, last + self.length

    def read(self, since: int, until: int) -> Readings:
        """Return the values of a span."""
        rows = self.rows.filter(pl.col("window_start").is_between(since, until, closed="left"))
        values = rows["value"].to_numpy()
        return Readings(
            rows["series"].to_numpy(), rows["window_start"].to_numpy(), values,
            np.full(len(values), np.nan),
        )  # fmt: skip

    def facts(self, series: NDArray[np.uint64], since: int, until: int) -> pl.DataFrame:  # noqa: ARG002
        """Return what is known of series."""
        return self.series.filter(pl.col("series").is_in(pl.Series(series).implode()))


def read_csv(
    path: Path, *, window: int | None = None, since: int | None = None, until: int | None = None
) -> CsvHistory:
    """Read a file, or all ``*.csv`` files in a folder and those below it.

    A file has the columns ``timestamp`` (RFC 3339, ``2026-01-31 10:00:00`` in UTC, or seconds or
    milliseconds since 1970) and ``value``. ``name`` is the metric, the file's name without it;
    ``unit`` is its unit; every other column is a label. Values of one window become their mean.

    Args:
        path: of the file or folder.
        window: its length in nanoseconds; the usual distance of two rows of a series if left out.
        since, until: only windows that start in this span.

    Raises:
        BadHistory: a file can't be read, a column is missing, or there is nothing in it.
    """
    files = sorted(path.rglob("*.csv")) if path.is_dir() else [path]
    if not files:
        raise BadHistory(f"{path}: there is no *.csv file in it")
    parts = [_read(file) for file in files]
    rows = pl.concat(parts).drop_nulls().filter(pl.col("value").is_finite())
    length = window or _usual_distance(rows, path)
    rows = (
        rows.with_columns(window_start=pl.col("ts") // length * length)
        .filter(pl.col("window_start") >= since if since is not None else pl.lit(value=True))
        .filter(pl.col("window_start") < until if until is not None else pl.lit(value=True))
        .group_by("name", "labels", "unit", "window_start", maintain_order=True)
        .agg(pl.col("value").mean())
    )
    if rows.is_empty():
        raise BadHistory(f"{path}: there are no values in it, or none in that span of time")
    texts = rows.select("name", "labels", "unit").unique(maintain_order=True)
    series = texts.with_columns(
        tenant=pl.lit(DEFAULT_TENANT),
        series=pl.Series([_identity(*row) for row in texts.iter_rows()], dtype=pl.UInt64),
        kind=pl.lit(KINDS[GAUGE]),
    ).select(FACTS.names())
    rows = rows.join(series, on=["name", "labels", "unit"], maintain_order="left")
    return CsvHistory(
        path, length, rows.select("series", "window_start", "value").sort("window_start"), series
    )


def _read(file: Path) -> pl.DataFrame:
    try:
        rows = pl.read_csv(file, infer_schema=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadHistory(f"{file}: cannot be read as CSV: {str(error).splitlines()[0]}") from None
    for column in (_TIME, _VALUE):
        if column not in rows.columns:
            raise BadHistory(
                f'{file}: there is no column "{column}" (there are: {", ".join(rows.columns)})'
            )
    own = [name for name in rows.columns if name not in (_TIME, _VALUE, _NAME, _UNIT)]
    value = rows[_VALUE].cast(pl.Float64, strict=False)
    at = read_times(rows[_TIME])
    wrong = (at.is_null() & rows[_TIME].is_not_null()) | (value.is_null() & rows[_VALUE].is_not_null())  # fmt: skip
    if wrong.any():
        line = int(wrong.arg_max() or 0)
        raise BadHistory(
            f"{file}: line {line + 2}: {rows[_TIME][line]}, {rows[_VALUE][line]} is no time and number"
        )
    return pl.DataFrame(
        {
            "name": rows[_NAME] if _NAME in rows.columns else [file.stem] * rows.height,
            "labels": _labels(rows, own),
            "unit": rows[_UNIT].fill_null("") if _UNIT in rows.columns else [""] * rows.height,
            "ts": at,
            "value": value,
        },
        schema={"name": pl.String, "labels": pl.String, "unit": pl.String, "ts": pl.Int64,
                "value": pl.Float64},
    )  # fmt: skip


def read_times(texts: pl.Series) -> pl.Series:
    """Return the nanoseconds that texts stand for, null where one is no time; see ``read_csv``."""
    numbers = texts.cast(pl.Float64, strict=False)
    if 2 * numbers.null_count() <= len(texts):
        scale = pl.when(pl.col("n").abs() > _LARGEST_SECONDS).then(10**6).otherwise(10**9)
        return pl.DataFrame({"n": numbers}).select((pl.col("n") * scale).round().cast(pl.Int64))[
            "n"
        ]
    whole = texts.str.strip_chars().str.replace(" ", "T").str.replace("Z$", "+00:00")
    zoned = whole.str.contains(r"T.*[+-]\d\d:\d\d$")
    whole = pl.select(pl.when(zoned).then(whole).otherwise(whole + "+00:00")).to_series()
    return whole.str.to_datetime(
        "%Y-%m-%dT%H:%M:%S%.f%:z", time_unit="ns", strict=False
    ).to_physical()


def _labels(rows: pl.DataFrame, own: Sequence[str]) -> list[str]:
    known: dict[tuple[str | None, ...], str] = {}
    found = []
    for values in rows.select(own).iter_rows() if own else [()] * rows.height:
        if values not in known:
            pairs = {name: value for name, value in sorted(zip(own, values, strict=True)) if value}
            known[values] = orjson.dumps(pairs).decode()
        found.append(known[values])
    return found


def _identity(name: str, labels: str, unit: str) -> int:
    text = "\0".join((DEFAULT_TENANT, name, labels, unit))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def _usual_distance(rows: pl.DataFrame, path: Path) -> int:
    gaps = (
        rows.sort("name", "labels", "unit", "ts")
        .select(pl.col("ts").diff().over("name", "labels", "unit").alias("gap"))
        .filter(pl.col("gap") > 0)["gap"]
    )
    if gaps.is_empty():
        raise BadHistory(f"{path}: no series has two values: give --window")
    return int(gaps.median() or 0)  # type: ignore[arg-type]
