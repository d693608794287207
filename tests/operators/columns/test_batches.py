"""Frames as batches between our own flows: what is read is what was written, or a clear error."""

from __future__ import annotations

import io
from dataclasses import replace

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.columns.batches import InvalidBatch, decode_batch, decode_batches, encode_batches
from operators.contracts.batch_form import ROLLUP_BATCHES, SPAN_BATCHES, BatchForm
from operators.contracts.frames import SCORES, SPANS, empty

FORM = BatchForm(
    "trial",
    2,
    pl.Schema(
        {
            "series": pl.UInt64, "labels": pl.String, "unit": pl.String, "word": pl.String,
            "value": pl.Float64, "at": pl.Int64, "raw": pl.Binary, "twin": pl.Float64,
        }
    ),
    described_by={"labels": "series", "unit": "series"},
    words=frozenset({"word"}),
    same_as={"twin": "value"},
)  # fmt: skip
text = st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
described = st.tuples(st.integers(0, 2**64 - 1), text, text)


@st.composite
def frames(draw: st.DrawFn) -> pl.DataFrame:
    """Rows of a few series, each with its own texts."""
    known = draw(st.lists(described, min_size=1, max_size=4, unique_by=lambda each: each[0]))
    row = st.tuples(
        st.sampled_from(known), text, st.none() | st.floats(), st.none() | st.integers(-9, 2**62),
        st.none() | st.binary(max_size=3), st.none() | st.floats(),
    )  # fmt: skip
    rows = [(*series, *rest) for series, *rest in draw(st.lists(row, max_size=20))]
    if draw(st.booleans()):
        rows = [(*others, value, at, raw, value) for *others, value, at, raw, _ in rows]
    return pl.DataFrame(rows, schema=FORM.schema, orient="row")


@settings(max_examples=40, deadline=None)
@given(frames(), st.integers(1, 5_000))
def test_what_is_read_is_what_was_written_however_it_was_cut(frame, most):
    assert decode_batches(encode_batches(frame, FORM, most), FORM).equals(frame)


def rollups(rows: int, series: int = 100) -> pl.DataFrame:
    number = pl.int_range(rows, eager=True)
    texts = (number % series).cast(pl.String)
    given = {"series": (number % series).cast(pl.UInt64), "labels": '{"host":"' + texts + '"}',
             "window_start": number, "sum": number.cast(pl.Float64).sqrt()}  # fmt: skip
    return pl.DataFrame(
        [given.get(name, pl.Series([None] * rows, dtype=kind)).cast(kind).alias(name)
         for name, kind in SCORES.items()]
    )  # fmt: skip


@given(
    st.lists(st.tuples(st.binary(max_size=30), st.text(max_size=30)), min_size=1, max_size=20),
    st.integers(1, 5),
)
def test_words_may_be_bytes_that_are_no_text(words, times):
    rows = words * times
    resources, services = ([row[at] for row in rows] for at in (0, 1))
    frame = pl.DataFrame(
        {
            **{name: [None] * len(rows) for name in SPANS},
            "resource": resources,
            "scope": resources[::-1],
            "service": services,
        },
        schema=SPANS,
    )
    (value,) = encode_batches(frame, SPAN_BATCHES)
    assert decode_batch(value, SPAN_BATCHES).equals(frame)
    with pa.ipc.open_stream(value) as reader:
        assert reader.schema.field("resource").type.value_type == pa.large_binary()


def test_no_value_is_larger_than_a_message_may_be():
    frame = rollups(30_000)
    values = list(encode_batches(frame, ROLLUP_BATCHES, 50_000))
    assert max(map(len, values)) <= 50_000 < sum(map(len, values))
    assert decode_batches(values, ROLLUP_BATCHES).equals(frame)


def test_texts_are_written_once_a_series_and_empty_columns_take_no_room():
    (value,) = encode_batches(rollups(8_000), ROLLUP_BATCHES)
    table = pa.ipc.open_stream(value).read_all()
    assert len(table.column("labels").chunk(0).dictionary) == 100
    assert pa.types.is_null(table.schema.field("p99").type)


def test_a_column_that_equals_another_in_all_bits_takes_no_room():
    frame = rollups(100).with_columns(mean="sum", last=-pl.col("sum"), max=0.0)
    (value,) = encode_batches(frame.with_columns(sum=-0.0, mean=-0.0), ROLLUP_BATCHES)
    fields = pa.ipc.open_stream(value).schema
    assert [name for name in fields.names if (fields.field(name).metadata or {})] == ["mean"]
    assert fields.field("mean").metadata == {b"same_as": b"sum"}
    read = decode_batch(value, ROLLUP_BATCHES)
    assert read.select("mean", "max").cast(pl.String).row(0) == ("-0.0", "0.0")


def test_any_reader_of_arrow_reads_a_batch():
    frame = rollups(50)
    (value,) = encode_batches(frame, ROLLUP_BATCHES)
    seen = pl.read_ipc_stream(io.BytesIO(value))
    assert seen.columns == frame.columns
    assert seen["sum"].equals(frame["sum"])
    assert seen["labels"].cast(pl.String).equals(frame["labels"])


def test_no_batches_and_batches_without_rows_are_an_empty_frame():
    assert decode_batches([], ROLLUP_BATCHES).equals(empty(SCORES))
    assert (
        decode_batches(encode_batches(empty(SCORES), ROLLUP_BATCHES), ROLLUP_BATCHES).schema
        == empty(SCORES).schema
    )


def test_columns_of_a_later_minor_change_are_ignored_and_missing_ones_are_null():
    more = replace(FORM, schema=pl.Schema({**FORM.schema, "new": pl.Float64}))
    old = pl.DataFrame([(1, "a", "s", "w", 1.0, 2, b"", 1.0)], schema=FORM.schema, orient="row")
    new = old.with_columns(new=pl.lit(0.5))
    assert decode_batches(encode_batches(new, more), FORM).equals(old)
    assert decode_batches(encode_batches(old, FORM), more)["new"].to_list() == [None]


def test_a_batch_of_a_later_version_or_another_contract_is_refused_by_name():
    frame = empty(FORM.schema).clear(1)
    (value,) = encode_batches(frame, replace(FORM, version=3))
    with pytest.raises(InvalidBatch, match=r"trial/3.*reads trial/2"):
        decode_batch(value, FORM)
    with pytest.raises(InvalidBatch, match=r'rollups/2: its contract is "trial/3"'):
        decode_batch(value, ROLLUP_BATCHES)


@pytest.mark.parametrize("value", [b"", b'{"name":"cpu"}', b"\xff" * 40, bytes(64)])
def test_what_is_no_batch_is_refused(value):
    with pytest.raises(InvalidBatch, match="rollups/2"):
        decode_batch(value, ROLLUP_BATCHES)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_damaged_batch_is_refused_or_a_whole_frame(data):
    (value,) = encode_batches(rollups(20, 3), ROLLUP_BATCHES)
    damaged = bytearray(value[: data.draw(st.integers(1, len(value)))])
    for _ in range(data.draw(st.integers(0, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        frame = decode_batch(bytes(damaged), ROLLUP_BATCHES)
    except InvalidBatch:
        return
    assert frame.schema == SCORES
    assert frame.write_ndjson().count("\n") == frame.height
