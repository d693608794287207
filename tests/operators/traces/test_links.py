"""Links of windows that come one by one, and again with more spans, against a search through all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

import operators.traces.links
from operators.contracts.frames import OPERATIONS
from operators.traces.links import Links, LinkWindow
from operators.traces.rows import CLIENT, CONSUMER, PRODUCER, SERVER, TRACE_ROW
from operators.traces.table import OperationTable

HOLD = 3
KINDS = (1, SERVER, CLIENT, PRODUCER, CONSUMER)
DATABASE = 2  # calls of operations with this number go to a database


@dataclass(frozen=True)
class Call:
    """A span, told from all others by how long it took."""

    operation: int
    kind: int
    trace: int
    span: int
    parent: int
    number: int = 0

    @property
    def tenant(self) -> int:
        return self.operation % 2

    @property
    def calls(self) -> bool:
        return self.kind in {CLIENT, PRODUCER} and self.operation != DATABASE


CALLS = st.builds(
    Call,
    st.integers(0, 3),
    st.sampled_from(KINDS),
    st.integers(1, 2),
    st.integers(1, 4),
    st.integers(0, 4),
)
ROUNDS = st.lists(
    st.tuples(
        st.dictionaries(st.integers(-HOLD, 3), st.lists(CALLS, max_size=6), min_size=1, max_size=3),
        st.sampled_from(("goes on", "drops", "pauses")),
    ),
    max_size=10,
)


def table() -> OperationTable:
    """Return a table of four operations, of two tenants; the third calls a database."""
    found = OperationTable()
    rows = {
        "operation": range(4),
        "tenant": ["a", "b", "a", "b"],
        "service": ["one", "two", "three", "four"],
        "name": [""] * 4,
        "kind": [0] * 4,
        "status": [0] * 4,
        "resource": [""] * 4,
        "dimensions": [""] * 4,
        "peer": ["", "", "db", ""],
        "peer_type": ["", "", "database", ""],
        "wanted": [False] * 4,
    }
    found.learn(pl.DataFrame(rows).select(pl.col(n).cast(kind) for n, kind in OPERATIONS.items()))
    return found


def window(start: int, calls: list[Call]) -> LinkWindow:
    """Return what ended in a window as the flow has it."""
    rows = np.zeros(len(calls), TRACE_ROW)
    for row, call in zip(rows, calls, strict=True):
        row["trace_low"], row["span"], row["parent"] = call.trace, call.span, call.parent
        row["kind"], row["threshold"], row["ended"] = call.kind, -1, call.number
    return LinkWindow(start, rows, np.array([call.operation for call in calls], np.int32))


def search(held: dict[int, list[Call]], first: int) -> Iterator[tuple[int, int, int]]:
    """Yield receiver, caller and window of each call that met from ``first`` on, by looking at all pairs."""
    for start, receivers in sorted(held.items()):
        for receiver in receivers:
            if receiver.kind not in {SERVER, CONSUMER}:
                continue
            met = [
                (theirs, by, caller.kind, place, caller.number)
                for theirs, callers in held.items()
                if abs(theirs - start) <= HOLD
                for place, caller in enumerate(callers)
                for by, span in enumerate((receiver.span, receiver.parent))
                if caller.calls and span and caller.span == span
                and (caller.trace, caller.tenant) == (receiver.trace, receiver.tenant)
            ]  # fmt: skip
            if met:
                theirs, _, _, _, number = min(met)
                if max(start, theirs) >= first:
                    yield receiver.number, number, max(start, theirs)


@given(ROUNDS)
def test_links_meet_as_a_search_through_all_windows_has_it(
    rounds: list[tuple[dict[int, list[Call]], str]],
) -> None:
    # So the table grows, and numbers begin anew.
    with (
        patch.object(operators.traces.links, "_FEWEST", 2),
        patch.object(operators.traces.links, "_MOST", 40),
    ):
        search_again(rounds)


def search_again(rounds: list[tuple[dict[int, list[Call]], str]]) -> None:
    """Give the windows of each round to links, and compare."""
    links = Links(HOLD, table())
    held: dict[int, list[Call]] = {}
    unmet: dict[int, set[int]] = {}  # callers by window: one who met somebody once has met
    number = 0
    now = 10
    for changes, then in rounds:
        due: dict[int, list[Call]] = {}
        for offset, calls in sorted(changes.items()):
            numbered = [
                Call(c.operation, c.kind, c.trace, c.span, c.parent, number + at)
                for at, c in enumerate(calls, 1)
            ]
            number += len(calls)
            due[now + offset] = held.get(now + offset, []) + numbered
        held |= due
        now = max(now, *held)
        links.add([window(start, calls) for start, calls in sorted(due.items())])
        added = links.of(due)
        expected = [
            (start, call.number)
            for start, calls in sorted(due.items())
            for call in calls
            if call.kind >= SERVER
        ]
        found = zip(added.starts.tolist(), added.links["duration"].tolist(), strict=True)
        assert list(found) == expected
        met = links.meet(min(due))
        assert sorted(
            zip(
                met.servers["duration"].tolist(),
                met.clients["duration"].tolist(),
                met.starts.tolist(),
                strict=True,
            )
        ) == sorted(search(held, min(due)))
        everything = {client for _, client, _ in search(held, -100)}
        for start, calls in due.items():
            unmet[start] = {call.number for call in calls if call.calls}
        for start, alone in unmet.items():
            alone.difference_update(everything)
            of = links.of([start])
            callers = (of.links["kind"] == CLIENT) | (of.links["kind"] == PRODUCER)
            callers &= of.links["connection"] == 0
            assert set(of.links["duration"][callers & ~of.met].tolist()) == alone
        if then == "pauses":
            now += 10 * HOLD
        if then != "goes on":  # the search goes on to look at all
            links.drop(now - 3 * HOLD)
            unmet = {start: some for start, some in unmet.items() if start >= now - 3 * HOLD}


def test_links_of_several_windows_are_those_of_each_in_the_order_of_time() -> None:
    links = Links(HOLD, table())
    links.add([window(start, [Call(0, CLIENT, start, 1, 0, start)]) for start in (1, 2, 3)])
    assert links.of([3, 1])[0]["duration"].tolist() == [1, 3]
    assert links.of([3, 1]).starts.tolist() == [1, 3]
    assert not len(links.of([]).links)
