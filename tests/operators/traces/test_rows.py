"""Spans on their way: rows that point into the bytes of a poll, and rows that take theirs along."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from operators.contracts.items import Polled, SpanBatch
from operators.contracts.watermark import Mark
from operators.traces.decoding import EncodedSpans, TraceDecoding
from operators.traces.operations import Operations
from operators.traces.rows import (
    TRACE_ROW,
    chosen,
    ended_between,
    joined,
    joined_chosen,
    own,
    starts_of,
)
from tests.operators.traces.shop import SECOND, otlp, shop


def batches(traces: int) -> list[SpanBatch]:
    """Decode a shop's traces, in three messages, for four shards."""
    calls = shop(1, traces)
    values = [otlp(calls[part::3]) for part in range(3)]
    decode = TraceDecoding(
        {"spans": EncodedSpans("otlp_proto", "default")},
        lambda topic: Operations(topic.tenant),
        shards=4,
        future=SECOND,
        content=True,
    )
    times = np.full(3, max(call.ended for call in calls) + SECOND)
    polled = Polled(
        0, "spans", values, np.zeros(3, np.int32), np.arange(3), {"spans/0": Mark.LIVE}, times=times
    )
    return [item for item in decode(polled) if isinstance(item, SpanBatch)]


def pieces(rows: NDArray[Any], content: NDArray[np.uint8]) -> list[tuple[bytes, bytes, bytes]]:
    """Return resource, scope and span of each row."""
    return [
        tuple(
            content[row[start] : row[start] + row[size]].tobytes()
            for start, size in (
                ("resource", "resource_size"), ("scope", "scope_size"), ("start", "size"),
            )
        )
        for row in rows
    ]  # fmt: skip


def test_a_batch_that_goes_to_another_process_takes_its_own_bytes_along_and_no_others() -> None:
    sent = batches(200)
    poll = len(sent[0].content)
    for batch in sent:
        assert batch.content is sent[0].content
        got = pickle.loads(pickle.dumps(batch))
        assert len(got.content) < poll / 2
        assert pieces(got.rows, got.content) == pieces(batch.rows, batch.content)
        for name in set(TRACE_ROW.names or ()) - {"start", "resource", "scope"}:
            assert (got.rows[name] == batch.rows[name]).all()
        assert (got.shard, got.marks, got.largest) == (batch.shard, batch.marks, batch.largest)


@given(st.data())
def test_rows_that_are_chosen_keep_what_they_point_at(data: st.DataObject) -> None:
    (batch,) = (each for each in batches(8) if each.shard == 1)
    size = len(batch.rows)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)), np.bool_)
    alone = own(chosen(batch.rows, mask), batch.content)
    all_ = pieces(batch.rows, batch.content)
    assert pieces(*alone) == [each for each, mine in zip(all_, mask, strict=True) if mine]


ROWS = st.lists(st.integers(0, 2**40), max_size=6)


def made(ended: list[int]) -> NDArray[Any]:
    """Return rows that ended at some times, whose other numbers are anything."""
    rows = np.frombuffer(np.random.default_rng(1).bytes(TRACE_ROW.itemsize * len(ended)), TRACE_ROW)
    rows = rows.copy()
    rows["ended"] = ended
    return rows


@given(st.lists(st.lists(st.tuples(st.integers(0, 2**40), st.booleans()), max_size=6), min_size=1))
def test_rows_are_joined_and_chosen_as_numpy_does_it(parts: list[list[tuple[int, bool]]]) -> None:
    rows = [made([ended for ended, _ in part]) for part in parts]
    masks = [np.array([mine for _, mine in part], np.bool_) for part in parts]
    expected = np.concatenate(rows)
    for name in TRACE_ROW.names or ():
        assert (joined(rows)[name] == expected[name]).all()
        some = expected[np.concatenate(masks)][name]
        assert (joined_chosen(rows, masks)[name] == some).all()
        assert (chosen(expected, np.concatenate(masks))[name] == some).all()


@given(st.lists(ROWS, min_size=1), st.integers(0, 2**40), st.integers(0, 2**40))
def test_what_ended_between_two_times_is_put_together(
    parts: list[list[int]], first: int, end: int
) -> None:
    rows = [made(ended) for ended in parts]
    all_ = np.concatenate(rows)
    within = (all_["ended"] >= first) & (all_["ended"] < end)
    found = ended_between(rows, first, end, int(within.sum()))
    for name in TRACE_ROW.names or ():
        assert (found[name] == all_[within][name]).all()


@given(ROWS, st.integers(1, 2**30))
def test_the_window_of_a_span_is_the_one_in_which_it_ended(ended: list[int], window: int) -> None:
    assert starts_of(made(ended), window).tolist() == [each // window * window for each in ended]
