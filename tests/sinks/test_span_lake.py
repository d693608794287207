"""Spans in the lake: each once, by day, whatever was written again or merged."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import LakeSection as Settings
from operators.contracts.clock import ManualClock
from operators.contracts.frames import SPANS
from sinks.lake_compaction import compact
from sinks.lake_files import DAY, span_days
from sinks.span_lake import SpanLake, read_spans
from tests.sinks.test_otlp import frame_of, span_row

NOON = 20_454 * DAY + DAY // 2


def ids(path: Path, **chosen: object) -> list[int]:
    return sorted(int(span, 16) for span in read_spans(path, **chosen).collect()["span_id"])  # type: ignore[arg-type]


def test_spans_come_back_as_they_were_and_only_those_asked_for(tmp_path: Path) -> None:
    frame = frame_of(
        span_row(1, ended=NOON),
        span_row(2, ended=NOON + DAY, tenant="acme"),
        span_row(3, ended=NOON + 7, trace_id="f" * 32),
    )
    SpanLake(Settings(path=tmp_path)).write(frame)
    found = read_spans(tmp_path).collect()
    assert found.schema == SPANS
    assert found.sort("span_id").equals(frame)
    assert len(list(tmp_path.glob("signal=spans/day=*/*.parquet"))) == 2
    assert ids(tmp_path, since=NOON, until=NOON + 1) == [1]
    assert ids(tmp_path, tenant="acme") == [2]
    assert ids(tmp_path, trace="f" * 32) == [3]
    assert ids(tmp_path / "nowhere") == []


@settings(max_examples=10)
@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1), max_size=9),
    st.integers(2, 4), st.sets(st.integers(0, 8)),
)  # fmt: skip
def test_each_span_is_there_once_however_often_it_was_written(
    tmp_path_factory: object, batches: list[list[int]], files: int, ends: set[int]
) -> None:
    path: Path = tmp_path_factory.mktemp("lake")  # type: ignore[attr-defined]
    clock = ManualClock(NOON)
    sink = SpanLake(Settings(path=path, compact_files=files), clock)
    for number, batch in enumerate(batches):
        sink.write(frame_of(*(span_row(n, ended=NOON + n % 2 * DAY) for n in batch)))
        if number in ends:
            compact(path, NOON + 3 * DAY, clock, span_days)
    sink.close()
    assert ids(path) == sorted({n for batch in batches for n in batch})
    one = read_spans(path).filter(pl.col("trace_id") == f"{1:032x}").collect()
    assert one.height <= 1


def test_tenants_with_one_trace_id_have_each_their_own_rows(tmp_path: Path) -> None:
    frame = frame_of(
        *(span_row(n, ended=NOON + n, tenant=tenant) for tenant in ("acme", "b") for n in (1, 2))
    )
    lake = SpanLake(Settings(path=tmp_path))
    for _ in range(2):  # a replay writes them again
        lake.write(frame)
    assert read_spans(tmp_path).collect().sort("tenant", "span_id").equals(frame)
    assert ids(tmp_path, trace=f"{1:032x}") == [1, 1]
    assert ids(tmp_path, trace=f"{1:032x}", tenant="b") == [1]
