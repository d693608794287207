"""What batches of each contract look like on a topic between our own flows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import polars as pl

from operators.contracts.frames import GROUPED_LOGS, SAMPLES, SCORES, SERVICE_CALLS, SPANS

__all__ = [
    "LOG_BATCHES",
    "ROLLUP_BATCHES",
    "SAMPLE_BATCHES",
    "SERVICE_CALL_BATCHES",
    "SPAN_BATCHES",
    "BatchForm",
]


@dataclass(frozen=True)
class BatchForm:
    """Name and version of a contract on the wire, and where its texts repeat.

    A version may add columns that can be null: a reader of an older one ignores them, and a reader
    of a newer one takes null for those that are missing. Any other change is a new version.

    Attributes:
        name: of the contract, as ``rollups``.
        version: from 1.
        schema: the frame's columns.
        described_by: a text column, and the ``UInt64`` column that decides what it says: rows with
            the same number have the same text. Such texts are written once a number.
        words: text columns of few different values, which are written once each.
        same_as: a column of floats, and the one that it often equals in all rows of a batch. Then
            it is not written, and the metadata ``same_as`` of its field names the other. In a
            window with one point the sum is also the mean, the extremes and the last value.
        apart: the column whose values do not share a batch; empty for none. Every frame has one.
    """

    name: str
    version: int
    schema: pl.Schema
    described_by: Mapping[str, str] = field(default_factory=dict)
    words: frozenset[str] = frozenset()
    same_as: Mapping[str, str] = field(default_factory=dict)
    apart: str = ""

    @property
    def label(self) -> str:
        """Name and version, as ``rollups/1``."""
        return f"{self.name}/{self.version}"


ROLLUP_BATCHES: Final = BatchForm(
    "rollups",
    2,
    SCORES,
    described_by=dict.fromkeys(("tenant", "name", "labels", "unit", "kind"), "series"),
    words=frozenset({"detector"}),
    same_as=dict.fromkeys(("min", "max", "mean", "last"), "sum"),
    apart="window",
)

SAMPLE_BATCHES: Final = BatchForm(
    "samples",
    1,
    SAMPLES,
    described_by=dict.fromkeys(("tenant", "labels"), "series"),
    words=frozenset({"place", "mark"}),
)

LOG_BATCHES: Final = BatchForm(
    "logs",
    1,
    GROUPED_LOGS,
    words=frozenset(
        {"topic", "tenant", "severity_text", "service", "resource", "scope", "exception"}
    ),
)

SPAN_BATCHES: Final = BatchForm(
    "spans",
    1,
    SPANS,
    words=frozenset({"tenant", "trace_id", "service", "operation", "reason", "resource", "scope"}),
)

SERVICE_CALL_BATCHES: Final = BatchForm(
    "service-calls",
    1,
    SERVICE_CALLS,
    described_by=dict.fromkeys(("client", "server"), "series"),
)
