"""Frames as values of Kafka messages between our own flows: Arrow IPC streams, compressed by zstd.

Any reader of Arrow reads them: a value is one IPC stream with one record batch, and the metadata
``headrace`` of its schema names the contract and its version, as ``rollups/2``. No text is written
and no Python object is made for a row: texts that repeat are a dictionary and an index for each
row, and a column without any value takes no room. Nor does one that equals another in all rows: it
is written without values, and the metadata ``same_as`` of its field names the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import numpy as np
import polars as pl
import pyarrow as pa
from numpy.typing import NDArray

from operators.columns.hash_index import HashIndex, numbered
from operators.columns.repeated_texts import repeated
from operators.contracts.batch_form import BatchForm

__all__ = [
    "MOST_BYTES",
    "InvalidBatch",
    "decode_batch",
    "decode_batches",
    "encode_batches",
    "halve_batch",
]

MOST_BYTES: Final = 900_000
"""Of a value: with headers a little less than what brokers take by default, 1 MiB."""
_MOST_ROWS: Final = 8_192
_CONTRACT: Final = b"headrace"
_SAME: Final = b"same_as"
_REPEATED: Final = 2
"""Texts are written once for each number where rows are so many times the numbers."""
# Level 1 takes half as long again, for 6 % less; LZ4 takes as long as this, and makes 4 % more.
_ZSTD: Final = pa.Codec("zstd", compression_level=-1)
_OPTIONS: Final = pa.ipc.IpcWriteOptions(compression=_ZSTD, use_threads=False)
_PLAIN: Final = pl.CompatLevel.oldest()


class InvalidBatch(ValueError):
    """Bytes that are no batch of the expected contract; the text says what is wrong."""


def compile_kernels() -> None:
    """Compile the loops, or load them from the disk, before there is a batch to wait for them."""
    HashIndex().number(np.zeros(1, np.uint64))
    repeated(pl.Series([""]))


def encode_batches(frame: pl.DataFrame, form: BatchForm, most: int = MOST_BYTES) -> Iterator[bytes]:
    """Give the values of the messages that hold the rows of ``frame``, in their order.

    Args:
        frame: of ``form.schema``.
        form: the contract.
        most: bytes of a value. A single row that needs more is a value of its own.
    """
    for part in frame.iter_slices(_MOST_ROWS):
        yield from _encode(part, form, most)


def _encode(frame: pl.DataFrame, form: BatchForm, most: int) -> Iterator[bytes]:
    value = _value(frame, form)
    if len(value) <= most or frame.height == 1:
        yield value
        return
    middle = frame.height // 2
    yield from _encode(frame[:middle], form, most)
    yield from _encode(frame[middle:], form, most)


def _value(frame: pl.DataFrame, form: BatchForm) -> bytes:
    described = _Descriptions(frame, form)
    columns = []
    same = {name: other for name, other in form.same_as.items() if _same(frame[name], frame[other])}
    for name in form.schema:
        column = frame[name]
        if name in same or column.null_count() == frame.height:
            columns.append(pa.nulls(frame.height))
        elif name in form.words:
            columns.append(_words(column))
        elif name in form.described_by:
            columns.append(described.column(name))
        else:
            columns.append(column.to_arrow(compat_level=_PLAIN))
    schema = pa.schema(
        [
            pa.field(name, column.type, metadata={_SAME: same[name]} if name in same else None)
            for name, column in zip(form.schema, columns, strict=True)
        ],
        metadata={_CONTRACT: form.label.encode()},
    )
    return _written(pa.RecordBatch.from_arrays(columns, schema=schema))


def _words(column: pl.Series) -> Any:
    """Return texts, or bytes, as Arrow: a dictionary."""
    found = repeated(column)
    if found is None:
        return column.to_arrow(compat_level=_PLAIN).dictionary_encode()
    words = column[found.firsts].to_arrow(compat_level=_PLAIN)
    return pa.DictionaryArray.from_arrays(pa.array(found.codes), words)


def _same(column: pl.Series, other: pl.Series) -> bool:
    """Say whether two columns of floats have the same bits in all rows, and no nulls."""
    if not len(column) or column.null_count() or other.null_count():
        return False
    return np.array_equal(column.to_numpy().view(np.int64), other.to_numpy().view(np.int64))


def _written(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema, options=_OPTIONS) as writer:
        writer.write_batch(batch)
    value: bytes = sink.getvalue().to_pybytes()
    return value


def _number(
    keys: NDArray[np.uint64],
) -> tuple[NDArray[np.int32], NDArray[np.int64]] | None:
    """Number different keys as they come; return each row's number, and where each is first.

    None where too few of them repeat to be worth it.
    """
    codes, first = numbered(keys)
    return None if len(first) * _REPEATED > len(keys) else (codes, first)


class _Descriptions:
    """The columns of a frame that numbers decide, each number's texts taken once.

    Args:
        frame: of ``form.schema``.
        form: says which columns those are.
    """

    def __init__(self, frame: pl.DataFrame, form: BatchForm) -> None:
        self._frame = frame
        self._form = form
        self._made: dict[str, tuple[pl.DataFrame, NDArray[np.int32]] | None] = {}

    def column(self, name: str) -> Any:
        """Return a column as Arrow: a dictionary, unless too few of the numbers repeat."""
        key = self._form.described_by[name]
        if key not in self._made:
            self._made[key] = self._distinct(key)
        made = self._made[key]
        if made is None:
            return self._frame[name].to_arrow(compat_level=_PLAIN)
        distinct, codes = made
        texts = distinct[name].to_arrow(compat_level=_PLAIN).dictionary_encode()
        if not texts.null_count:
            indices = texts.indices.to_numpy()[codes]
            return pa.DictionaryArray.from_arrays(pa.array(indices), texts.dictionary)
        # A null among the texts is a null index, which NumPy can't hold: -1 stands for it.
        indices = texts.indices.fill_null(-1).to_numpy()[codes]
        absent = pa.array(indices, mask=indices < 0)
        return pa.DictionaryArray.from_arrays(absent, texts.dictionary)

    def _distinct(self, key: str) -> tuple[pl.DataFrame, NDArray[np.int32]] | None:
        numbered = _number(self._frame[key].to_numpy())
        if numbered is None:
            return None
        codes, first = numbered
        names = [name for name, of in self._form.described_by.items() if of == key]
        # All columns at once: a gather of its own for each costs several times as much. And not
        # ``select``, which plans a query.
        texts = pl.DataFrame([self._frame.get_column(name) for name in names])
        return texts[first], codes


def decode_batches(values: Iterable[bytes | memoryview], form: BatchForm) -> pl.DataFrame:
    """Return the frame of ``form.schema`` whose rows ``values`` hold, in their order.

    Raises:
        InvalidBatch: one of them is no batch of this contract, or of a later version.
    """
    frames = [decode_batch(value, form) for value in values]
    return pl.concat(frames) if frames else pl.DataFrame(schema=form.schema)


def decode_batch(value: bytes | memoryview, form: BatchForm) -> pl.DataFrame:
    """Return the frame of ``form.schema`` that one value holds.

    Raises:
        InvalidBatch: it is no batch of this contract, or of a later version.
    """
    try:
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            _check(reader.schema, form)
            batches = list(reader)
        frames = [_frame(batch, form) for batch in batches]
    except (pa.ArrowException, pl.exceptions.PolarsError, OSError, ValueError) as error:
        if isinstance(error, InvalidBatch):
            raise
        reason = " ".join(str(error).split())[:200]
        raise InvalidBatch(f"not a batch of {form.label}: {reason}") from None
    return pl.concat(frames) if frames else pl.DataFrame(schema=form.schema)


def halve_batch(value: bytes) -> tuple[bytes, bytes] | None:
    """Cut a batch of whatever contract into two; None if it is none, or has a single row."""
    try:
        with pa.ipc.open_stream(pa.py_buffer(value)) as reader:
            batch = reader.read_next_batch()
    except (pa.ArrowException, StopIteration, OSError):
        return None
    middle = batch.num_rows // 2
    return (_written(batch[:middle]), _written(batch[middle:])) if middle else None


def _check(schema: pa.Schema, form: BatchForm) -> None:
    label = (schema.metadata or {}).get(_CONTRACT, b"").decode(errors="replace")
    name, _, version = label.partition("/")
    if name != form.name or not version.isdecimal():
        raise InvalidBatch(f'not a batch of {form.label}: its contract is "{label[:50]}"')
    if int(version) > form.version:
        raise InvalidBatch(
            f"a batch of {label}, and this Headrace reads {form.label}: read it with the version "
            "that wrote it, or a later one"
        )


def _frame(batch: pa.RecordBatch, form: BatchForm) -> pl.DataFrame:
    batch.validate(full=True)  # else an offset that lies is followed wherever it points
    known = {field.name: (field.metadata or {}).get(_SAME, b"").decode() for field in batch.schema}
    return pl.DataFrame(
        [
            _column(batch.column(known[name] or name), kind).alias(name)
            if name in known
            else pl.Series(name, [None], dtype=kind).new_from_index(0, batch.num_rows)
            for name, kind in form.schema.items()
        ]
    )


def _column(column: Any, kind: pl.DataType) -> pl.Series:
    if pa.types.is_null(column.type):
        return pl.Series([None], dtype=kind).new_from_index(0, len(column))
    if pa.types.is_dictionary(column.type):
        texts = pl.DataFrame([pl.from_arrow(column.dictionary)])
        rows = pl.Series(pl.from_arrow(column.indices))
        return _of_kind(texts[rows].to_series(), kind)  # of views: no text is copied
    return _of_kind(pl.Series(pl.from_arrow(column)), kind)


def _of_kind(column: pl.Series, kind: pl.DataType) -> pl.Series:
    return column if column.dtype == kind else column.cast(kind)
