"""Rollups as lines of JSON: on the topic for subscribers, and where a backend refused them.

A line is one row of a SCORES frame under its own column names, with three differences: ``schema``
comes first and names the version; ``series`` is a string of digits, because a reader that knows
only doubles would lose some of its 64 bits; and ``labels``, which comes last, is an object. NaN and
infinities are written as null. ``rollup.schema.json`` says what each field means. A field is never
removed or given another meaning within a version.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import polars as pl

from operators.contracts.frames import SCORES, empty

__all__ = ["SCHEMA", "InvalidRollups", "decode_rollups", "encode_rollups"]

SCHEMA: Final = "headrace.rollup/v1"
_SCHEMA: Final = f'{{"schema":"{SCHEMA}",'
_LABELS: Final = ',"labels":'
_PLAIN: Final = pl.Schema(
    {
        name: pl.String() if name == "series" else kind
        for name, kind in SCORES.items()
        if name != "labels"
    }
)
_NEVER_NULL: Final = ("tenant", "series", "name", "labels", "window", "window_start", "revision")


class InvalidRollups(ValueError):
    """Bytes that are not lines of rollups; the text says what is wrong."""


def encode_rollups(frame: pl.DataFrame) -> pl.Series:
    """Return a JSON object, without a newline, for each row of a SCORES frame."""
    plain = [pl.col(name).cast(pl.String) if name == "series" else pl.col(name) for name in _PLAIN]
    row = pl.struct(plain).struct.json_encode().str.slice(1).str.head(-1)
    line = pl.concat_str(pl.lit(_SCHEMA), row, pl.lit(_LABELS), "labels", pl.lit("}"))
    return frame.select(line.alias("line")).to_series()


def decode_rollups(values: Sequence[bytes]) -> pl.DataFrame:
    """Return the SCORES frame in ``values``, each of which holds one line or more.

    Keys that it does not know are ignored: a later version may add some.

    Raises:
        InvalidRollups: not UTF-8, not JSON, a key without its value, or labels not at the end.
    """
    if not values:
        return empty(SCORES)
    try:
        text = b"\n".join(values).decode()
    except UnicodeDecodeError as error:
        raise InvalidRollups(f"not UTF-8: {error}") from None
    lines = pl.Series([text]).str.split("\n").explode()
    # A quote inside a JSON string is escaped, so the first match is the key itself.
    parts = lines.filter(lines != "").str.splitn(_LABELS, 2).struct.unnest()
    head, tail = parts.to_series(0), parts.to_series(1)
    if not head.len():
        return empty(SCORES)
    if not (tail.str.starts_with("{") & tail.str.ends_with("}}")).fill_null(value=False).all():
        raise InvalidRollups("a line does not end with its labels")
    document = (head + "}").str.join("\n").item().encode()
    try:
        plain = pl.read_ndjson(document, schema=_PLAIN)
        frame = plain.with_columns(
            series=pl.col("series").cast(pl.UInt64), labels=tail.str.head(-1)
        ).select(SCORES.names())
    except pl.exceptions.PolarsError as error:
        raise InvalidRollups(str(error).splitlines()[0][:200]) from None
    for name in _NEVER_NULL:
        if frame[name].null_count():
            raise InvalidRollups(f'a line without "{name}", or with a value that does not fit')
    return frame
