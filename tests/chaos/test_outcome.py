"""What is lost, doubled or changed is found: a comparison that never fails shows nothing."""

from __future__ import annotations

import polars as pl
import pytest

from tests.chaos.expectation import WINDOWS, expected_rollups, rollup_differences
from tests.chaos.outcome import document_differences
from tests.chaos.stream import Stream

DOCUMENTS = [
    {"_id": "a", "score": 1.5, "labels": {"host": "h1"}, "upper": None},
    {"_id": "b", "score": 2.5, "labels": {"host": "h2"}, "upper": 3.0},
]


def test_equal_documents_in_any_order_do_not_differ() -> None:
    other = [DOCUMENTS[1], DOCUMENTS[0] | {"score": 1.5 + 1e-12}]
    assert document_differences(DOCUMENTS, other) == ""


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (DOCUMENTS[:1], "1 of 2 missing"),
        ([*DOCUMENTS, {"_id": "c"}], "1 of 2 too many"),
        ([*DOCUMENTS, DOCUMENTS[0]], "1 are there twice"),
        ([DOCUMENTS[0] | {"score": 1.6}, DOCUMENTS[1]], "1 differ"),
        ([DOCUMENTS[0] | {"labels": {}}, DOCUMENTS[1]], "1 differ"),
    ],
)
def test_documents_that_differ_are_told(found: list[dict[str, object]], said: str) -> None:
    assert said in document_differences(found, DOCUMENTS)


def test_rollups_may_differ_in_their_revision_and_in_nothing_else() -> None:
    stream = Stream("rollups", 800, 3)
    for _ in range(30):
        list(stream.second())
    expected = expected_rollups(stream, WINDOWS["10s"])
    # By hand: 30 s touch four windows, of 800 series and a few awkward ones.
    assert expected.filter(pl.col("series").str.starts_with("bench")).height == 4 * 800
    assert not rollup_differences(expected.with_columns(revision=pl.lit(3)), expected)
    assert "1 of" in rollup_differences(expected[1:], expected)
    assert "twice" in rollup_differences(pl.concat([expected, expected[:1]]), expected)
    wrong = expected.with_columns(count=pl.col("count") + pl.int_range(pl.len()).eq(7))
    assert "count differs in 1" in rollup_differences(wrong, expected)
    first = expected["p99"].is_not_null().arg_true()[0]
    wrong = expected.with_columns(p99=pl.col("p99") * (1 + 1e-6 * pl.int_range(pl.len()).eq(first)))
    assert "p99 differs in 1" in rollup_differences(wrong, expected)


def test_a_stream_is_a_function_of_its_seed() -> None:
    one, same, other = (Stream(seed, 800, 3) for seed in ("x", "x", "y"))
    messages = [[message for _ in range(25) for message in s.second()] for s in (one, same, other)]
    assert messages[0] == messages[1] != messages[2]
    assert one.points == same.points
