"""Attributes in OTLP's JSON: their hashes, and what a label shows of them."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray
from polars.expr.struct import ExprStructNameSpace

from operators.columns.json_text import quoted
from operators.columns.nested import combine_hashes, offsets, owners
from operators.contracts.frames import ATTRIBUTES
from operators.decoders.otlp.attribute_texts import ARRAY_MARK, MAP_MARK, exact_text, value_text
from operators.decoders.otlp.json_columns import texts

__all__ = ["attribute_hashes", "attributes_of"]


def attribute_hashes(lists: pa.ListArray) -> NDArray[np.uint64]:
    """Return one hash a list of attributes, whatever their order."""
    frame, exact = attributes_of(lists)
    each = combine_hashes(frame["key"].hash().to_numpy(), exact.hash().to_numpy())
    sums = np.concatenate((np.zeros(1, np.uint64), np.cumsum(each, dtype=np.uint64)))
    bounds = offsets(lists)
    # Unsigned differences of running sums wrap around as the sums do.
    return combine_hashes(sums[bounds[1:]] - sums[bounds[:-1]], np.diff(bounds).astype(np.uint64))


def attributes_of(lists: pa.ListArray) -> tuple[pl.DataFrame, pl.Series]:
    """Return attributes as an ATTRIBUTES frame owned by the rows of ``lists``.

    With it comes a text of each that tells types apart, see ``contracts.decoder.Description``.
    """
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
    found = entry.select(
        "owner",
        "key",
        string=value.field("stringValue"),
        bool=value.field("boolValue").cast(pl.String),
        int=value.field("intValue"),
        double=_double(value),
        bytes=value.field("bytesValue"),
        **_composites(value),
    )
    # What was nested more deeply is a marked text already.
    shown = pl.col("string").str.strip_prefix(ARRAY_MARK).str.strip_prefix(MAP_MARK)
    told = found.select("owner", "key", value=value_text(shown))
    return told.cast(ATTRIBUTES), found.select(exact_text(pl.col("string"))).to_series()


def _double(value: ExprStructNameSpace) -> pl.Expr:
    """Return a double as the decoder of protobuf writes it, whatever way JSON did."""
    return value.field("doubleValue").cast(pl.Float64, strict=False).cast(pl.String)


def _composites(value: ExprStructNameSpace) -> dict[str, pl.Expr]:
    """Return an array and a map as JSON, null where the value is none."""
    array, mapping = value.field("arrayValue"), value.field("kvlistValue")
    elements = array.struct.field("values").fill_null([])
    entries = mapping.struct.field("values").fill_null([])
    item = pl.element().struct
    pair = pl.concat_str(
        quoted(item.field("key").fill_null("")), pl.lit(":"), _as_json(item.field("value").struct)
    )
    return {
        "array": pl.when(array.is_not_null()).then(
            pl.format("[{}]", elements.list.eval(_as_json(item)).list.join(","))
        ),
        "map": pl.when(mapping.is_not_null()).then(
            pl.concat_str(pl.lit("{"), entries.list.eval(pair).list.join(","), pl.lit("}"))
        ),
    }


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
