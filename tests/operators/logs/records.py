"""Records for tests: a frame as decoders make it, from bodies."""

from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

from operators.contracts.frames import LOG_RECORDS

OBSERVED = 1_767_225_603_000_000_000  # 2026-01-01T00:00:03Z


def records_of(bodies: Sequence[str], observed: int = OBSERVED, **columns: object) -> pl.DataFrame:
    """Return a LOG_RECORDS frame of which nothing but the bodies is known, and what is given."""
    size = len(bodies)
    content = {
        name: [""] * size if kind == pl.String else [0] * size for name, kind in LOG_RECORDS.items()
    }
    content |= {"body": list(bodies), "observed": [observed] * size, "index": list(range(size))}
    content |= {name: [value] * size for name, value in columns.items()}
    return pl.DataFrame(content, schema=LOG_RECORDS)


def ns(text: str) -> int:
    """Return nanoseconds, by the standard library."""
    return round(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1_000_000) * 1000
