"""Records of logs in the lake: each once, by day, whatever was written again or merged."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.settings import LakeSection as Settings
from operators.contracts.clock import ManualClock
from operators.contracts.frames import GROUPED_LOGS
from sinks.lake_compaction import compact
from sinks.lake_files import DAY, log_days
from sinks.log_lake import LogLake, read_logs
from tests.sinks.log_records import NOON, records
from tests.sinks.samples import scores


def offsets(path: Path, **chosen: object) -> list[int]:
    return sorted(read_logs(path, **chosen).collect()["offset"])  # type: ignore[arg-type]


def test_records_come_back_as_they_were_and_only_those_asked_for(tmp_path: Path) -> None:
    frame = records(
        {"body": 'ü\n"', "attributes": '{"a":1}'},
        {"ts": NOON + DAY, "tenant": "acme"},
        {"ts": -5, "service": "pay"},
    )
    sink = LogLake(Settings(path=tmp_path))
    sink.write(frame)
    found = read_logs(tmp_path).collect()
    assert found.schema == GROUPED_LOGS
    assert found.sort("offset").equals(frame)
    assert {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")} == {
        f"signal=logs/day={day}" for day in ("2026-01-01", "2026-01-02", "1969-12-31")
    }
    assert offsets(tmp_path, since=NOON, until=NOON + 1) == [0]
    assert offsets(tmp_path, tenant="acme") == [1]
    assert offsets(tmp_path, service="pay", until=0) == [2]
    assert offsets(tmp_path / "nowhere") == []


writes = st.lists(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), min_size=1), max_size=12
)


@settings(max_examples=25)
@given(writes, st.integers(2, 5), st.sets(st.integers(0, 11)))
def test_each_record_is_there_once_however_often_it_was_written(
    tmp_path_factory: object, batches: list[list[tuple[int, int]]], files: int, ends: set[int]
) -> None:
    path: Path = tmp_path_factory.mktemp("lake")  # type: ignore[attr-defined]
    clock = ManualClock(NOON)
    sink = LogLake(Settings(path=path, compact_files=files), clock)
    expected: set[int] = set()
    for number, batch in enumerate(batches):
        # A record is the same whenever it is written: its day is of its offset.
        sink.write(records(*({"offset": n, "ts": NOON + n % 3 * DAY} for n, _ in batch)))
        expected |= {n for n, _ in batch}
        clock.advance(1)
        if number in ends:
            compact(path, NOON + 2 * DAY, clock, log_days)
        assert offsets(path) == sorted(expected)
    sink.close()


def test_a_day_that_is_over_becomes_one_file_and_rollups_are_left_alone(tmp_path: Path) -> None:
    from sinks.lake import Lake, read_rollups  # noqa: PLC0415

    Lake(Settings(path=tmp_path)).write(scores({"series": 1}))
    sink = LogLake(Settings(path=tmp_path, compact_files=100), ManualClock(NOON))
    for number in range(3):
        sink.write(records({"offset": number}))
    sink.write(records({"offset": 9, "ts": NOON + DAY}))
    sink.close()
    (first, second) = log_days(tmp_path)
    assert [len(list(day.path.glob("final-*"))) for day in (first, second)] == [1, 0]
    assert offsets(tmp_path) == [0, 1, 2, 9]
    assert read_rollups(tmp_path).collect().height == 1
    assert pl.scan_parquet(f"{first.path}/final-*.parquet").collect().height == 3
