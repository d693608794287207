"""What is refused for its time is kept: runs too late, or too far in the future, as messages."""

from __future__ import annotations

import polars as pl

from operators.frames import MESSAGES

__all__ = ["late_messages"]


def late_messages(frame: pl.DataFrame, topic: str) -> pl.DataFrame:
    """Return a MESSAGES frame with one message: a line of JSON a run.

    Args:
        frame: PARTIALS with tenant, name, labels (JSON) and reason.
        topic: where it goes.
    """
    lines = frame.with_columns(pl.col("identity").cast(pl.String)).write_ndjson()
    return pl.DataFrame(
        {"topic": [topic], "key": [b""], "value": [lines.encode()]}, schema=MESSAGES
    )
