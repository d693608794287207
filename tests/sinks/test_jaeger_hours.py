"""Calls in documents of an hour: what is told again replaces, in whatever pieces it comes."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.contracts.frames import SERVICE_CALLS, empty
from operators.traces.metrics import REQUESTS
from sinks.jaeger_hours import (
    by_hour,
    dependencies_of,
    hour_for,
    ledger_of,
    merged,
    read_ledger,
    service_calls,
)
from tests.sinks.samples import DAY, MIDNIGHT, MINUTE, scores

HOUR = 60 * MINUTE
Told = tuple[int, int, int, float]
"""Edge, minute, points and calls."""

told = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 3), st.integers(0, 9).map(float)),
    max_size=30,
)  # fmt: skip


def calls_of(rows: Sequence[Told]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            (edge, f"c{edge % 2}", f"s{edge // 2}", MIDNIGHT + minute * MINUTE, count, calls)
            for edge, minute, count, calls in rows
        ],
        schema=SERVICE_CALLS,
        orient="row",
    )


def expected(rows: Sequence[Told]) -> dict[tuple[int, int], tuple[int, float]]:
    found: dict[tuple[int, int], tuple[int, float]] = {}
    for edge, minute, count, calls in rows:
        if count >= found.get((edge, minute), (0, 0.0))[0]:
            found[edge, minute] = count, calls
    return found


@settings(max_examples=60)
@given(told, st.lists(st.integers(0, 30), max_size=6))
def test_what_is_told_again_replaces_in_whatever_pieces_it_comes(
    rows: list[Told], starts: list[int]
) -> None:
    """Each piece begins where the last commit was, or before it, and goes on to the end."""
    state = empty(SERVICE_CALLS)
    for start in [0, *sorted(starts)]:
        state = merged(state, calls_of(rows[start:]))
        state = read_ledger(ledger_of(state))  # as after a restart
    at = {(row[0], (row[3] - MIDNIGHT) // MINUTE): row[4:] for row in state.rows()}
    assert at == expected(rows)
    links: dict[tuple[str, str], float] = {}
    for (edge, _), (_, calls) in expected(rows).items():
        if calls > 0:
            pair = f"c{edge % 2}", f"s{edge // 2}"
            links[pair] = links.get(pair, 0) + calls
    document = dependencies_of(state, MIDNIGHT)
    shown = {(one["parent"], one["child"]): one["callCount"] for one in document["dependencies"]}
    assert shown == links
    newest = max((minute for (_, minute), (_, n) in expected(rows).items() if n > 0), default=0)
    assert document["timestamp"] == f"2026-11-23T00:{newest:02}:00.000000000Z"


def test_edges_are_taken_from_rollups_of_one_resolution() -> None:
    edge = {"client": "web", "server": "cart", "connection_type": ""}
    rollups = scores(
        {"name": REQUESTS, "labels": edge, "increase": 41.0, "count": 2},
        {"name": REQUESTS, "labels": edge, "increase": 41.0, "window": MINUTE},
        {"name": REQUESTS, "labels": {"client": "web"}, "increase": 4.0},
        {"name": REQUESTS, "labels": {"client": "", "server": "b"}, "increase": 4.0},
        {"name": REQUESTS, "labels": edge, "increase": None},
        {"name": "other", "labels": edge, "increase": 4.0},
    )
    found = service_calls(rollups, rollups["window"][0])
    assert found.rows() == [(1, "web", "cart", MIDNIGHT, 2, 41.0)]
    assert found.schema == SERVICE_CALLS
    assert service_calls(rollups, 7).equals(empty(SERVICE_CALLS))


def test_an_hour_is_one_document_and_a_longer_window_too() -> None:
    assert (hour_for(10 * MINUTE), hour_for(DAY)) == (HOUR, DAY)
    rows = calls_of([(0, minute, 1, 1.0) for minute in (0, 59, 60, 61, 150)])
    assert [(begin - MIDNIGHT, part.height) for begin, part in by_hour(rows, HOUR)] == [
        (0, 2), (HOUR, 2), (2 * HOUR, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    "document", [{}, {"headrace_ledger": ["ä"]}, {"headrace_ledger": ["AAAA"]}]
)
def test_what_is_no_ledger_is_not_taken_for_an_empty_one(document: dict[str, list[str]]) -> None:
    with pytest.raises(ValueError, match=r"^not a "):
        read_ledger(document)
