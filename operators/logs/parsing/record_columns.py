"""The columns of records that parsing fills, as arrays that are written to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.columns.changing_texts import ChangingTexts
from operators.columns.replacing import replaced
from operators.columns.text_column import TextColumn, texts_at
from operators.logs.parsing.body_signs import (
    UNSURE,
    signs_at,
)
from operators.logs.parsing.joined_objects import joined_objects
from operators.logs.parsing.marks import NO_TIME
from operators.logs.parsing.timestamps import WrittenTimes, complete, times_of

__all__ = ["RecordColumns", "columns_of"]


@dataclass(slots=True)
class RecordColumns:
    """The columns of a frame that parsing fills, as arrays that are written to."""

    ts: NDArray[np.int64]
    severity: NDArray[np.uint8]
    marks: NDArray[np.uint8]
    came: NDArray[np.int64]
    texts: dict[str, ChangingTexts]
    changed: NDArray[np.bool_]
    """Which bodies are others since this was looked at."""
    signs: NDArray[np.uint8]
    """Of the bodies, see ``operators.logs.parsing.body_signs``."""
    beginnings: bool
    """Those of how they begin alone."""

    def put_into(self, records: pl.DataFrame) -> pl.DataFrame:
        """Return the frame that these columns were taken from, with what they are now."""
        return replaced(
            records,
            ts=self.ts,
            severity=self.severity,
            marks=self.marks,
            **{name: texts.series() for name, texts in self.texts.items()},
        )

    @property
    def body(self) -> ChangingTexts:
        """The bodies."""
        return self.texts["body"]

    def series(self, name: str, rows: NDArray[np.intp]) -> pl.Series:
        """Return texts of some rows as a column of Polars."""
        return texts_at(*self.texts[name].at(rows))

    def look(self, rows: NDArray[np.intp]) -> None:
        """Look at bodies for their signs."""
        self.signs[rows] = signs_at(*self.body.at(rows), self.beginnings)

    def set_body(self, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put other bodies in."""
        self.body.put(rows, values)
        self.signs[rows] = signs_at(*values, self.beginnings)
        self.changed[rows] = True

    def beginning(self, rows: NDArray[np.intp], sign: int, expression: str) -> NDArray[np.bool_]:
        """Return which of the rows have a body that begins so, as an expression has it."""
        signs = self.signs[rows]
        found: NDArray[np.bool_] = (signs & sign) != 0
        at = np.flatnonzero(found & ((signs & UNSURE) != 0))
        if len(at):
            found[at] = self.series("body", rows[at]).str.contains(expression).to_numpy()
        return found

    def matching(self, rows: NDArray[np.intp], sign: int, which: pl.Expr) -> NDArray[np.bool_]:
        """Return which of the rows have a body of which an expression of ``body`` is true.

        Those without the sign have none.
        """
        found: NDArray[np.bool_] = (self.signs[rows] & sign) != 0
        at = np.flatnonzero(found)
        if len(at):
            bodies = self.series("body", rows[at]).alias("body").to_frame()
            found[at] = bodies.select(which).to_series().to_numpy()
        return found

    def set_text(self, name: str, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put texts in where there are any."""
        there = values.ends > values.starts
        if not there.all():
            rows = rows[there]
            values = values.of(there)
        self.texts[name].put(rows, values)

    def set_missing_text(self, name: str, rows: NDArray[np.intp], values: TextColumn) -> None:
        """Put texts in where there are any, and was none."""
        lacking = self.texts[name].absent(rows)
        if not lacking.all():
            rows = rows[lacking]
            values = values.of(lacking)
        self.set_text(name, rows, values)

    def add_attributes(
        self, rows: NDArray[np.intp], objects: TextColumn, *, once: bool = False
    ) -> None:
        """Put members behind those that are there; see ``joined_objects``."""
        attributes = self.texts["attributes"]
        if not attributes.absent(rows).all():
            objects = joined_objects(attributes.at(rows), objects, once=once)
        self.set_text("attributes", rows, objects)

    def set_severity(self, rows: NDArray[np.intp], numbers: NDArray[np.uint8]) -> None:
        """Put severities in where there was none; 0 is none."""
        lacking = (self.severity[rows] == 0) & (numbers > 0)
        self.severity[rows[lacking]] = numbers[lacking]

    def set_time(
        self, rows: NDArray[np.intp], times: WrittenTimes, zone: str, written: NDArray[np.bool_]
    ) -> None:
        """Put times in where there was none; mark where one was ``written`` that can't be read."""
        lacking = self.ts[rows] == 0
        found = complete(times, self.came[rows], zone)
        good = lacking & (found != 0)
        self.ts[rows[good]] = found[good]
        self.marks[rows[lacking & written & (found == 0)]] |= np.uint8(NO_TIME)

    def set_written_time(
        self, rows: NDArray[np.intp], texts: TextColumn, zone: str, written: NDArray[np.bool_]
    ) -> None:
        """Read texts that are a time each, and do the same."""
        if (self.ts[rows] == 0).any():
            self.set_time(rows, times_of(*texts), zone, written)


def columns_of(records: pl.DataFrame) -> RecordColumns:
    """Return copies of the columns of a LOG_RECORDS frame."""
    return RecordColumns(
        records["ts"].to_numpy().copy(),
        records["severity"].to_numpy().copy(),
        records["marks"].to_numpy().copy(),
        records["observed"].to_numpy(),
        {
            name: ChangingTexts(records[name])
            for name in (
                "body", "severity_text", "service", "attributes", "trace_id", "span_id", "stack",
            )
        },
        np.zeros(records.height, np.bool_),
        np.zeros(records.height, np.uint8),
        beginnings=False,
    )  # fmt: skip
