"""Columns of text: as bytes and back they are what they were, however they were made."""

import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from operators.columns.changing_texts import ChangingTexts
from operators.columns.repeated_texts import repeated
from operators.columns.replacing import constant, replaced
from operators.columns.text_column import TextColumn, compact, text_column, texts_at, texts_of

# Of the lengths at which a view holds a text itself, and at which its parts begin.
_texts = st.sampled_from(["", "a", "abcd", "abcde", "é" * 6, "a" * 12, "a" * 13, "a" * 12 + "b", "ab" * 20]) | st.text(
    st.characters(exclude_categories=["Cs"]), max_size=20
)  # fmt: skip
_columns = st.lists(_texts | st.none(), max_size=12)
# Characters, parts of them, and what begins like one.
_bytes = st.lists(
    st.sampled_from(b"a\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xe0\xe1\xed\xf0\xf1\xf4\xf5").map(lambda byte: bytes([byte]))
    | st.sampled_from(["é", "日", "🌊"]).map(str.encode),
    max_size=12,
).map(b"".join)  # fmt: skip


def read(column: TextColumn) -> list[str]:
    buffer, starts, ends = column
    return [
        buffer[a:b].tobytes().decode() for a, b in zip(starts.tolist(), ends.tolist(), strict=True)
    ]


@given(_columns, st.integers(0, 12), st.integers(0, 12))
@example(["abcd", None, "x" * 30], 1, 3)
def test_a_column_is_the_same_as_bytes_and_back(texts, begin, end):
    whole = pl.Series(texts, dtype=pl.String)
    rows = np.arange(len(texts))[::-1]
    for column in (whole, whole[begin:end], whole[rows], pl.concat([whole[end:], whole[:begin]])):
        expected = [text or "" for text in column.to_list()]
        found = text_column(column)
        assert read(found) == expected
        assert texts_at(*found).to_list() == expected
        assert texts_of(*found)[0].to_list() == expected
        assert read(compact(found)) == expected


@given(st.lists(_bytes, max_size=8))
@example([b"\xff", b"a" * 20, b"\xc3", "é".encode()])
@example([b"a\xe2\x82", b"\xacb\xf0\x9f\x92", b"\xed\xa0\x80", b"\xf0\x80\x80\x80" * 9])
def test_what_is_not_utf_8_is_replaced_and_told(values):
    bounds = np.cumsum([0, *map(len, values)])
    buffer = np.frombuffer(b"".join(values) + bytes(16), np.uint8)
    found, broken = texts_of(buffer, bounds[:-1], bounds[1:])
    assert found.to_list() == [value.decode(errors="replace") for value in values]
    assert broken.tolist() == [
        value.decode(errors="replace") != value.decode(errors="ignore") for value in values
    ]


@given(st.lists(_texts, max_size=30), st.integers(1, 6))
@example(["a" * 12 + "b", "a" * 12 + "c", "a" * 12 + "b"], 6)
def test_repeated_texts_are_each_there_once_as_they_come(texts, most):
    """Copies lie at other places, and what was gathered lies at the same."""
    for column in (
        pl.Series(texts, dtype=pl.String),
        pl.Series(list(dict.fromkeys(texts)), dtype=pl.String)[
            [list(dict.fromkeys(texts)).index(text) for text in texts]
        ],
    ):
        found = repeated(column, most)
        different = list(dict.fromkeys(texts))
        if len(different) > most:
            assert found is None
            continue
        assert found is not None
        assert found.texts == different
        assert [found.texts[code] for code in found.codes.tolist()] == texts
        assert found.firsts.tolist() == [texts.index(text) for text in different]


def test_a_column_with_nulls_is_not_numbered():
    assert repeated(pl.Series(["a", None])) is None


_changes = st.lists(
    st.tuples(st.booleans(), st.lists(st.tuples(st.integers(0, 4), _texts), max_size=4)), max_size=5
)


@given(st.lists(_texts, min_size=5, max_size=5), _changes)
def test_changing_texts_are_what_a_list_would_be(texts, changes):
    before = pl.Series(texts, dtype=pl.String)
    column, expected = ChangingTexts(before), list(texts)
    for cuts, pairs in changes:
        put = dict(pairs)
        rows = np.array(list(put), np.intp)
        if cuts:  # the second half of what is there
            _, starts, ends = column.at(rows)
            halves = [text.encode()[len(text.encode()) // 2 :] for text in expected]
            whole = [
                row
                for row in rows.tolist()
                if halves[row].decode(errors="ignore").encode() == halves[row]
            ]
            kept = np.isin(rows, whole)
            column.cut(rows[kept], (starts + (ends - starts) // 2)[kept], ends[kept])
            for row in whole:
                expected[row] = halves[row].decode()
        else:
            column.put(rows, text_column(pl.Series(list(put.values()), dtype=pl.String)))
            for row, text in put.items():
                expected[row] = text
        every = np.arange(5)
        assert read(column.at(every)) == expected
        assert column.absent(every).tolist() == [not text for text in expected]
    assert column.series().to_list() == expected
    assert before.to_list() == texts


def test_a_frame_gets_other_columns_and_stays_as_it_was():
    frame = pl.DataFrame({"a": [1, 2], "b": ["x", "y"]})
    made = replaced(frame, b=np.array([3, 4]), c=constant("z", 2, pl.String))
    assert made.to_dict(as_series=False) == {"a": [1, 2], "b": [3, 4], "c": ["z", "z"]}
    assert frame.to_dict(as_series=False) == {"a": [1, 2], "b": ["x", "y"]}
