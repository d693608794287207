"""The contract of a decoder of logs: messages of one wire format become records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
import polars as pl
from numpy.typing import NDArray

from operators.contracts.frames import LOG_RECORDS

__all__ = ["DecodedLogs", "LogDecoder", "log_records"]

_NOTHING: Final = {
    name: pl.Series(name, ["" if kind == pl.String else 0], dtype=kind)
    for name, kind in LOG_RECORDS.items()
}
"""One row of each column that says nothing."""


@dataclass(frozen=True, slots=True)
class DecodedLogs:
    """What a poll's messages held.

    Attributes:
        records: a LOG_RECORDS frame in the order of the messages, of which only what the format itself
            says is filled: ``ts`` and ``severity`` are 0 and texts empty where it does not.
        rejected: index of each message that is not of the format, and why. None of its records
            is among ``records``.
    """

    records: pl.DataFrame
    rejected: Mapping[int, str] = field(default_factory=dict)


class LogDecoder(Protocol):
    """One wire format. It keeps no state between calls, so any worker may decode any poll."""

    def decode(self, values: Sequence[bytes], times: NDArray[np.int64]) -> DecodedLogs:
        """Decode a poll's messages. Never raises because of what they hold.

        Args:
            values: the messages.
            times: when each was put into Kafka, nanoseconds: its records were observed then,
                unless they say when.
        """
        ...

    def compile_kernels(self) -> None:
        """Compile the loops, or load them from the disk, before there is a message to wait for it."""
        ...


def log_records(columns: Mapping[str, pl.Series | NDArray[Any]], size: int) -> pl.DataFrame:
    """Return a LOG_RECORDS frame of the columns that are there; all else is empty or 0."""
    return pl.DataFrame([_column(name, columns.get(name), size) for name in LOG_RECORDS])


def _column(name: str, content: pl.Series | NDArray[Any] | None, size: int) -> pl.Series:
    if content is None:
        return _NOTHING[name].new_from_index(0, size)
    column = pl.Series(name, content)
    return column if column.dtype == LOG_RECORDS[name] else column.cast(LOG_RECORDS[name])
