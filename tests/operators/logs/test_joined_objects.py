"""Objects are joined by a compiled loop as expressions of Polars would join them."""

import orjson
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from operators.columns.text_column import text_column, texts_at
from operators.logs.parsing.joined_objects import differing, joined_objects

_object = st.sampled_from(["", "{}"]) | st.dictionaries(
    st.sampled_from("abé"), st.integers(0, 3) | st.sampled_from(["x", "é}"]), max_size=3
).map(lambda each: orjson.dumps(each).decode())
_pairs = st.lists(st.tuples(_object, _object), max_size=8)


def by_polars(first: pl.Series, second: pl.Series) -> list[str]:
    frame = pl.DataFrame({"first": first, "second": second})
    both = pl.format("{},{}", pl.col("first").str.head(-1), pl.col("second").str.slice(1))
    joined = (
        pl.when(pl.col("first").is_in(["", "{}"]))
        .then("second")
        .when(pl.col("second").is_in(["", "{}"]))
        .then("first")
        .otherwise(both)
    )
    return frame.select(joined).to_series().to_list()


def not_there_yet(first: pl.Series, second: pl.Series) -> pl.Series:
    """Return the second, empty where all of its members are the last ones of the first."""
    ends = pl.col("first").str.ends_with(pl.lit(",") + pl.col("second").str.slice(1))
    frame = pl.DataFrame({"first": first, "second": second})
    has = frame.select((pl.col("first") == pl.col("second")) | ends).to_series()
    return second.set(has, "")


@given(_pairs)
@example(
    [('{"a":1,"b":2}', '{"b":2}'), ('{"ab":2}', '{"b":2}'), ('{"a":1}', '{"a":1}'), ("", "{}")]
)
def test_objects_are_joined_as_by_expressions(pairs):
    first, second = (
        pl.Series([pair[number] for pair in pairs], dtype=pl.String) for number in (0, 1)
    )
    columns = text_column(first), text_column(second)
    assert texts_at(*joined_objects(*columns)).to_list() == by_polars(first, second)
    expected = by_polars(first, not_there_yet(first, second))
    assert texts_at(*joined_objects(*columns, once=True)).to_list() == expected
    assert differing(*columns).tolist() == (first != second).to_list()
