"""What a backend refuses as rows of a frame: each is a batch of that row on the dead-letter topic."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from operators.columns.batches import decode_batch, encode_batches
from operators.contracts.batch_form import BatchForm
from sinks.base import joined, rejects

__all__ = ["refused_rows", "restored_rows"]


def refused_rows(
    origin: str, reasons: list[str], rows: Sequence[pl.DataFrame], form: BatchForm
) -> pl.DataFrame | None:
    """Return a REJECTS frame of rows that a backend refused; None without any.

    Args:
        origin: the name of the destination.
        reasons: why, for each row.
        rows: frames of ``form.schema``, of one row each.
        form: of the batches.
    """
    if not rows:
        return None
    return rejects(origin, reasons, [value for row in rows for value in encode_batches(row, form)])


def restored_rows(origin: str, payloads: Sequence[bytes], form: BatchForm) -> pl.DataFrame:
    """Return the rows that payloads of ``refused_rows`` stand for, as a frame of ``form.schema``.

    Raises:
        ValueError: a payload is not one of these.
    """
    found = joined([decode_batch(memoryview(payload), form) for payload in payloads])
    if found is None or found.height != len(payloads):
        raise ValueError(f"not a row that {origin} refused")
    return found.select(form.schema.names())
