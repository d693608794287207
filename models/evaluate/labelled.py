"""Series with labelled anomalies: those of the Numenta Anomaly Benchmark, and plain CSV."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

__all__ = ["BadData", "Labelled", "nab_series", "plain_series"]

_LABELS: Final = ("label", "anomaly", "is_anomaly")
_VALUES: Final = ("value", "mean")
_TIMES: Final = ("timestamp", "time", "ts")
_PROBATION: Final = 0.15
_LONGEST: Final = 5000
"""NAB's probation: 15 % of a series, of at most so many rows."""
_DAY: Final = 86_400 * 10**9


class BadData(ValueError):
    """A file that is no labelled series; the text says which, and what is wrong."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """One series.

    Attributes:
        name: as its file, with the folder.
        times: nanoseconds since the Unix epoch, a row each.
        values: finite, a row each.
        windows: first and last row of each labelled anomaly, in order.
        probation: rows at the beginning that count for nothing.
    """

    name: str
    times: NDArray[np.int64]
    values: NDArray[np.float64]
    windows: tuple[tuple[int, int], ...]
    probation: int

    def __len__(self) -> int:
        return len(self.values)

    @property
    def category(self) -> str:
        """The folder of its file."""
        return self.name.rpartition("/")[0] or "-"

    @property
    def days(self) -> float:
        """How long it is after its probation, in days."""
        return float(self.times[-1] - self.times[self.probation]) / _DAY if len(self) else 0.0


def nab_series(data: Path, labels: Path) -> list[Labelled]:
    """Return the series that a file of NAB's windows names, from the folder of NAB's data.

    Args:
        data: with ``<category>/<series>.csv``, columns ``timestamp`` and ``value``.
        labels: JSON; for each of these names a list of ``[from, to]``.

    Raises:
        BadData: a file is missing, or not of this form.
    """
    try:
        named: Mapping[str, list[list[str]]] = json.loads(labels.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadData(f"{labels}: {error}") from None
    return [_nab_series(data / name, name, windows) for name, windows in sorted(named.items())]


def _nab_series(path: Path, name: str, windows: list[list[str]]) -> Labelled:
    frame = _read(path)
    times, values = _times(path, frame), _values(path, frame)
    found = []
    for begin, end in windows:
        first = int(np.searchsorted(times, _instant(path, begin)))
        last = int(np.searchsorted(times, _instant(path, end), side="right")) - 1
        if last < first:
            raise BadData(f"{path}: no row lies in the window {begin} to {end}")
        found.append((first, last))
    return Labelled(name, times, values, tuple(found), _probation(len(times)))


def plain_series(data: Path) -> list[Labelled]:
    """Return the series of a CSV file, or of all in a folder, with a column of labels.

    Columns: ``timestamp`` (or ``time``, ``ts``; text or a number of seconds), ``value``, and
    ``label`` (or ``anomaly``, ``is_anomaly``), which is 1 or true in anomalous rows.

    Raises:
        BadData: a file lacks a column, or there is none.
    """
    paths = sorted(data.rglob("*.csv")) if data.is_dir() else [data]
    if not paths:
        raise BadData(f"{data}: no CSV file in this folder")
    return [_plain_series(path, data) for path in paths]


def _plain_series(path: Path, root: Path) -> Labelled:
    frame = _read(path)
    label = frame[_column(path, frame, _LABELS)]
    marked = label.cast(pl.String).str.to_lowercase().is_in(["1", "1.0", "true", "yes"]).to_numpy()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], marked, [False]]).astype(np.int8)))
    windows = tuple((int(first), int(after) - 1) for first, after in edges.reshape(-1, 2))
    name = str(path.relative_to(root)) if root.is_dir() else path.name
    return Labelled(
        name, _times(path, frame), _values(path, frame), windows, _probation(frame.height)
    )


def _probation(rows: int) -> int:
    return int(min(_PROBATION * rows, _PROBATION * _LONGEST))


def _read(path: Path) -> pl.DataFrame:
    try:
        return pl.read_csv(path, infer_schema_length=None)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise BadData(f"{path}: {error}") from None


def _column(path: Path, frame: pl.DataFrame, names: tuple[str, ...]) -> str:
    for name in names:
        if name in frame.columns:
            return name
    raise BadData(f'{path}: has no column "{names[0]}" (it has: {", ".join(frame.columns)})')


def _values(path: Path, frame: pl.DataFrame) -> NDArray[np.float64]:
    column = frame[_column(path, frame, _VALUES)]
    values: NDArray[np.float64] = column.cast(pl.Float64, strict=False).to_numpy().copy()
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise BadData(f"{path}: row {wrong[0] + 1}: the value is no number")
    return values


def _times(path: Path, frame: pl.DataFrame) -> NDArray[np.int64]:
    column = frame[_column(path, frame, _TIMES)]
    if column.dtype.is_numeric():
        return (column.cast(pl.Float64).to_numpy() * 1e9).astype(np.int64)
    try:
        return column.str.to_datetime(time_unit="ns").to_physical().to_numpy().copy()
    except pl.exceptions.PolarsError as error:
        raise BadData(f"{path}: {error}") from None


def _instant(path: Path, text: str) -> int:
    try:
        instant = datetime.fromisoformat(text + "+00:00")
    except ValueError as error:
        raise BadData(f"{path}: a window has no time in it: {error}") from None
    return int(instant.timestamp()) * 10**9 + instant.microsecond * 1000
