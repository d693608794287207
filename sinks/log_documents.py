"""Log records as documents for Elasticsearch, laid out as OpenTelemetry's own are.

The id says where the message was, so a record that comes again is the same document. Attributes are
flat: no key is an object in one record and a text in the other. What Headrace found out about a
record is beside it, under ``headrace``.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import orjson
import polars as pl

from operators.columns.json_text import quoted
from operators.columns.text_column import text_column
from operators.contracts.frames import DOCUMENTS
from operators.decoders.json.keys import doubtful_objects
from operators.logs.parsing.marks import MARKS
from sinks.log_resources import hexadecimal, with_service

__all__ = ["DATASET", "LOGS", "compile_kernels", "is_final", "log_documents", "log_stream"]

LOGS: Final = "logs"
DATASET: Final = "headrace.otel"
"""Of the data stream. ``.otel`` says that its documents are laid out as OpenTelemetry's."""

_NULL: Final = r',"[a-z_]+":null'
"""A null and its key; a quote inside a JSON string is escaped, so nothing else looks like that."""
_ISO: Final = "%Y-%m-%dT%H:%M:%S%.9fZ"
_MARKS: Final = {
    bits: orjson.dumps([name for bit, name in MARKS.items() if bits & bit]).decode()
    for bits in range(1, 2 * max(MARKS))
}


def log_stream(namespace: str) -> str:
    """Return the data stream of log records; what shows logs looks for ``logs-*``.

    >>> log_stream("default")
    'logs-headrace.otel-default'
    """
    return f"{LOGS}-{DATASET}-{namespace}"


def is_final(stream: str) -> bool:
    """Say whether a document of this stream that is there already needs no second look."""
    return stream.startswith(f"{LOGS}-")


def compile_kernels() -> None:
    """Compile the loop, or load it from the disk, before there is a record."""
    doubtful_objects(*text_column(pl.Series(['{"a":1}'])))


def log_documents(frame: pl.DataFrame, namespace: str) -> pl.DataFrame:
    """Return a DOCUMENTS frame of a GROUPED_LOGS frame, a document a record.

    Args:
        frame: the records; their ``attributes`` and ``resource`` are JSON objects without nesting.
        namespace: the last part of the data stream's name.
    """
    stream = orjson.dumps(
        {"type": LOGS, "dataset": DATASET, "namespace": namespace}
    ).decode()  # fmt: skip
    plain = pl.struct(
        _instant("ts").alias("@timestamp"),
        _instant("observed").alias("observed_timestamp"),
        _there("severity_text"),
        pl.when(pl.col("severity") > 0).then("severity").alias("severity_number"),
        _there("trace_id"),
        _there("span_id"),
    )
    found = pl.struct(
        _there("tenant"),
        pl.when(pl.col("template") != 0).then("template_hex").alias("template"),
        pl.col("shape_hex").alias("shape"),
        _there("exception"),
        "weight",
    )
    marks = pl.col("marks").replace_strict(_MARKS, default=None, return_dtype=pl.String)
    return (
        frame.with_columns(
            attributes=_fit(frame["attributes"]),
            resource=_resources(frame),
            template_hex=hexadecimal(frame["template"]),
            shape_hex=hexadecimal(frame["shape"]),
        )
        .select(
            stream=pl.lit(log_stream(namespace)),
            # A topic that is made anew counts its messages anew: only the time tells them apart.
            id=pl.concat_str("topic", "partition", "offset", "index", "ts", separator="-"),
            document=pl.concat_str(
                plain.struct.json_encode().str.head(-1).str.replace_all(_NULL, ""),
                pl.lit(f',"data_stream":{stream},"body":'),
                pl.struct(text="body").struct.json_encode(),
                _member("attributes", pl.col("attributes")),
                _member(
                    "resource",
                    pl.concat_str(pl.lit('{"attributes":'), _there("resource"), pl.lit("}")),
                ),
                _member(
                    "scope", pl.concat_str(pl.lit('{"name":'), quoted(_there("scope")), pl.lit("}"))
                ),
                pl.lit(',"headrace":'),
                found.struct.json_encode().str.head(-1).str.replace_all(_NULL, ""),
                _member("marks", marks),
                pl.lit("}}"),
            ),
        )
        .cast(DOCUMENTS)
    )


def _instant(name: str) -> pl.Expr:
    # Elasticsearch keeps nanoseconds since 1970, and no time before.
    fallback = pl.max_horizontal("observed", 0) if name == "ts" else pl.lit(None)
    there = pl.when(pl.col(name) > 0).then(name).otherwise(fallback)
    return pl.from_epoch(there, "ns").dt.strftime(_ISO)


def _there(name: str) -> pl.Expr:
    return pl.when(pl.col(name) != "").then(name).alias(name)


def _resources(frame: pl.DataFrame) -> pl.Series:
    """Return what sent each record, with the name of its service; few are different."""
    keys = frame.select("resource", "service").unique()
    named = [with_service(*key) for key in keys.rows()]
    made = keys.with_columns(whole=_fit(pl.Series(named, dtype=pl.String)))
    on = ("resource", "service")
    return frame.select(on).join(made, on=on, how="left", maintain_order="left")["whole"]


def _fit(objects: pl.Series) -> pl.Series:
    """Return objects as Elasticsearch takes them: it refuses a key that is blank, or there twice."""
    rows = np.flatnonzero(doubtful_objects(*text_column(objects)))
    if not len(rows):
        return objects
    mended = [_mended(text) for text in objects.gather(rows).to_list()]
    return objects.clone().scatter(rows, pl.Series(mended, dtype=pl.String))


def _mended(text: str) -> str:
    members = orjson.loads(text)
    return orjson.dumps(
        {key if key.strip() else "_": each for key, each in members.items()}
    ).decode()


def _member(name: str, value: pl.Expr) -> pl.Expr:
    """Return a further member of an object, nothing where the value is null or empty."""
    return (
        pl.when(value.is_not_null() & ~value.is_in(["", "{}"]))
        .then(pl.concat_str(pl.lit(f',"{name}":'), value))
        .otherwise(pl.lit(""))
    )
