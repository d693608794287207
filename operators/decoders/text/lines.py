"""Logs as text: a record a message, or a line.

What a text says of itself (JSON of a shipper, syslog, a head) is found by ``operators.logs.parsing.records``,
for it does not depend on how the text came here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from operators.columns.compiling import compiled
from operators.columns.scanning import joined
from operators.columns.text_column import texts_of
from operators.contracts.log_decoder import DecodedLogs, log_records

__all__ = ["NOT_UTF8", "Lines", "QuotedTexts", "TextLines", "without_newline"]

NOT_UTF8: Final = 4
"""The mark of a record whose bytes were not UTF-8, see ``operators.logs.parsing.marks``."""


class TextLines:
    """Decodes texts; every message is a record, also an empty one."""

    by_line = False
    quoted = False

    def decode(self, values: Sequence[bytes], times: NDArray[np.int64]) -> DecodedLogs:
        """Decode a poll."""
        buffer, bounds = joined(values)
        starts, ends = bounds[:-1], bounds[1:]
        message = np.arange(len(starts), dtype=np.uint32)
        index = np.zeros(len(starts), np.uint32)
        if self.by_line:
            rows = _lines(buffer, bounds, np.empty((0, 4), np.int64))
            lines = np.empty((rows, 4), np.int64)
            _lines(buffer, bounds, lines)
            message, index = lines[:, 0].astype(np.uint32), lines[:, 1].astype(np.uint32)
            starts, ends = np.ascontiguousarray(lines[:, 2]), np.ascontiguousarray(lines[:, 3])
        body, broken = texts_of(buffer, starts, without_newline(buffer, starts, ends))
        if self.quoted:
            body = _unquoted(body)
        columns: dict[str, pl.Series | NDArray[Any]] = {
            "message": message,
            "index": index,
            "observed": times[message],
            "body": body,
            "marks": np.where(broken, NOT_UTF8, 0).astype(np.uint8),
        }
        return DecodedLogs(log_records(columns, len(starts)))

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        self.decode([b"x\n\xff"], np.zeros(1, np.int64))


class Lines(TextLines):
    """Decodes lines; each line of a message is a record, but a blank one is none."""

    by_line = True


class QuotedTexts(TextLines):
    """Decodes texts that may be JSON strings, as the collector's encoding ``raw`` writes them."""

    quoted = True


@compiled
def without_newline(
    buffer: NDArray[np.uint8], starts: NDArray[np.int64], ends: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return where texts end, line ends at their end left aside."""
    result = ends.copy()
    for row in range(len(starts)):
        while result[row] > starts[row] and (
            buffer[result[row] - 1] == 10 or buffer[result[row] - 1] == 13
        ):
            result[row] -= 1
    return result


@compiled
def _lines(buffer: NDArray[np.uint8], bounds: NDArray[np.int64], lines: NDArray[np.int64]) -> int:
    """Write message, number in it, start and end of each line that is not blank, as far as there is room."""
    found = 0
    for message in range(len(bounds) - 1):
        at, end = bounds[message], bounds[message + 1]
        number = 0
        while at < end:
            start = at
            blank = True
            while at < end and buffer[at] != 10:
                blank = blank and buffer[at] <= 32
                at += 1
            if not blank:
                if found < len(lines):
                    lines[found, 0] = message
                    lines[found, 1] = number
                    lines[found, 2] = start
                    lines[found, 3] = at
                found += 1
                number += 1
            at += 1
    return found


def _unquoted(body: pl.Series) -> pl.Series:
    rows = (body.str.starts_with('"') & body.str.ends_with('"')).arg_true()
    if not len(rows):
        return body
    return body.scatter(rows, pl.Series([_unquote(text) for text in body.gather(rows)]))


def _unquote(text: str) -> str:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return text
    return value if isinstance(value, str) else text
