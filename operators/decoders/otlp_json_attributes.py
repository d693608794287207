"""Attributes in OTLP's JSON: their hashes, and what a label shows of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from polars.expr.struct import ExprStructNameSpace

from operators.decoders.nested import combine_hashes, offsets, owners
from operators.decoders.otlp_json_columns import texts
from operators.frames import ATTRIBUTES
from operators.json_text import quoted

__all__ = ["attribute_hashes", "attributes_of"]


def attribute_hashes(lists: pa.ListArray) -> NDArray[np.uint64]:
    """Return one hash a list of attributes, whatever their order."""
    frame = attributes_of(lists)
    each = combine_hashes(frame["key"].hash().to_numpy(), frame["value"].hash().to_numpy())
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)))
    bounds = offsets(lists)
    # Unsigned differences of running sums wrap around as the sums do.
    return combine_hashes(sums[bounds[1:]] - sums[bounds[:-1]], np.diff(bounds).astype(np.uint64))


def attributes_of(lists: pa.ListArray) -> pl.DataFrame:
    """Return attributes as an ATTRIBUTES frame owned by the rows of ``lists``."""
    start, end = (int(bound) for bound in offsets(lists)[[0, -1]])
    encoded = lists.values.slice(start, end - start)
    entry = pl.DataFrame(
        {
            "owner": owners(lists).astype(np.uint32),
            "key": texts(encoded.field("key")),
            "value": pl.Series(pl.from_arrow(encoded.field("value"))),
        }
    )
    value = pl.col("value").struct
    array, mapping = value.field("arrayValue"), value.field("kvlistValue")
    elements = array.struct.field("values").fill_null([])
    entries = mapping.struct.field("values").fill_null([])
    item = pl.element().struct
    pair = pl.concat_str(
        quoted(item.field("key").fill_null("")), pl.lit(":"), _as_json(item.field("value").struct)
    )
    text = pl.coalesce(
        value.field("stringValue"),
        value.field("boolValue").cast(pl.String),
        value.field("intValue"),
        _double(value),
        value.field("bytesValue"),
        pl.when(array.is_not_null()).then(
            pl.format("[{}]", elements.list.eval(_as_json(item)).list.join(","))
        ),
        pl.when(mapping.is_not_null()).then(
            pl.concat_str(pl.lit("{"), entries.list.eval(pair).list.join(","), pl.lit("}"))
        ),
    )
    return entry.select("owner", "key", text.fill_null("").alias("value")).cast(ATTRIBUTES)


def _double(value: ExprStructNameSpace) -> pl.Expr:
    """Return a double as the decoder of protobuf writes it, whatever way JSON did."""
    return value.field("doubleValue").cast(pl.Float64, strict=False).cast(pl.String)


def _as_json(value: ExprStructNameSpace) -> pl.Expr:
    """Return a scalar AnyValue inside of an array or a map."""
    return pl.coalesce(
        quoted(value.field("stringValue")),
        value.field("boolValue").cast(pl.String),
        value.field("intValue"),
        _double(value),
        quoted(value.field("bytesValue")),
        pl.lit("null"),
    )
