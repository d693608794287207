"""JSON objects as ClickHouse's maps of texts, as the OpenTelemetry Collector writes attributes."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
import polars as pl
import pyarrow as pa

from operators.columns.text_column import text_column
from operators.decoders.json.flattening import COMPLETE, NULL, flatten, gathered

__all__ = ["TEXTS", "maps_of", "maps_of_members"]

TEXTS: Final = pa.map_(pa.large_string(), pa.large_string())
_PLAIN: Final = pl.CompatLevel.oldest()


def maps_of(objects: pl.Series) -> pa.Array:
    """Return flat objects of JSON as maps; an empty text is an empty map.

    A value that is no text is its JSON, and null is an empty text.
    """
    members = flatten(*text_column(objects))
    values = gathered(members, np.arange(len(members.owner)))
    nulls = np.flatnonzero(members.kind == NULL)
    if len(nulls):
        values = values.scatter(nulls, "")
    paths = pl.Series(members.paths, dtype=pl.String)
    keys = paths.gather(members.path) if len(paths) else paths
    found = maps_of_members(members.owner, keys, values, len(objects))
    filled = np.array(objects.str.len_bytes().fill_null(0).to_numpy() > 0)
    cut = np.flatnonzero((members.status != COMPLETE) & filled)
    return _mended(found, objects, cut) if len(cut) else found


def maps_of_members(owner: Any, keys: pl.Series, values: pl.Series, size: int) -> pa.Array:
    """Return maps of their members.

    Args:
        owner: by member the row of its map, ascending.
        keys: by member.
        values: by member.
        size: how many maps there are.
    """
    offsets = np.zeros(size + 1, np.int32)
    np.cumsum(np.bincount(owner, minlength=size), out=offsets[1:])
    return pa.MapArray.from_arrays(pa.array(offsets), _texts(keys), _texts(values), type=TEXTS)


def _texts(column: pl.Series) -> pa.Array:
    return column.to_arrow(compat_level=_PLAIN)


def _mended(maps: pa.Array, objects: pl.Series, rows: Any) -> pa.Array:
    """Return maps in which the objects of some rows, with more members than are walked, are whole."""
    whole = {row: list(_pairs(objects[row])) for row in rows.tolist()}
    parts, at = [], 0
    for row, pairs in whole.items():
        parts += [maps[at:row], pa.array([pairs], TEXTS)]
        at = row + 1
    return pa.concat_arrays([*parts, maps[at:]])


def _pairs(text: str) -> Any:
    try:
        members = orjson.loads(text)
    except ValueError:  # no object: nothing that could be asked for by a key
        return
    if isinstance(members, dict):
        for key, value in members.items():
            text = value if isinstance(value, str) else orjson.dumps(value).decode()
            yield key, "" if value is None else text
