"""The lake gives each point once, whatever was replayed, merged or interrupted."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from flows.settings import LakeSection as Settings
from operators.contracts.clock import ManualClock
from operators.contracts.frames import QUANTILES, SCORES
from sinks.base import Unavailable
from sinks.lake import Lake, check, compact, read_rollups
from sinks.lake_compaction import GRACE, merge_small
from sinks.lake_files import Day, days, is_final, live_parts, parts
from tests.sinks.samples import DAY, HISTOGRAM, MIDNIGHT, MINUTE, SECOND, scores


def lake(path: Path, clock: ManualClock | None = None, compact_files: int = 1000) -> Lake:
    mine = Settings(path=path, compact_files=compact_files)
    return Lake(mine, clock or ManualClock(MIDNIGHT))


def contents(path: Path, **chosen: Any) -> dict[tuple[int, int, int], tuple[int, float]]:
    """Revision and sum by series, window and start; fails if a point is there twice."""
    rows = read_rollups(path, **chosen).collect()
    assert rows.schema == SCORES
    found = {
        (row["series"], row["window"], row["window_start"]): (row["revision"], row["sum"])
        for row in rows.iter_rows(named=True)
    }
    assert len(found) == rows.height
    return found


def at(*seconds: int, day: int = 0) -> pl.DataFrame:
    """A row of one series at each of these seconds of the day."""
    return scores(
        *({"series": 1, "window_start": MIDNIGHT + day * DAY + s * SECOND} for s in seconds)
    )


def test_a_row_of_fewer_points_never_replaces_one_of_more(tmp_path: Path) -> None:
    """As a flow writes it that has lost a part of its state; a histogram's count says nothing."""
    clock = ManualClock(MIDNIGHT)
    writer = lake(tmp_path, clock)
    histogram = HISTOGRAM | {"series": 2, "labels": {}}
    for points, total in ((114, 5.0), (7, 6.0), (114, 7.0), (113, 8.0)):
        number = {"series": 1, "labels": {}, "count": points, "sum": total}
        writer.write(scores(number, histogram | {"count": points, "sum": total}))
        clock.advance(1)
    expected = {(1, 10 * SECOND, MIDNIGHT): (0, 7.0), (2, 10 * SECOND, MIDNIGHT): (0, 8.0)}
    assert contents(tmp_path) == expected
    compact(tmp_path, MIDNIGHT + DAY, clock)
    assert contents(tmp_path) == expected


def test_a_row_comes_back_as_it_was(tmp_path: Path) -> None:
    row = {
        "tenant": "acme", "series": 2**64 - 1, "name": 'a "b" ü', "labels": {"ä": "1\n2"},
        "window_start": -5 * SECOND, "sum": 5e-324, "rate": 1 / 3, "increase": 1e300,
        "score": 1.5, "detector": "robust_ewma", "revision": 3,
    }  # fmt: skip
    lake(tmp_path).write(scores(row, {}))
    assert_frame_equal(
        read_rollups(tmp_path).collect(), scores(row, {}), check_row_order=False, check_exact=True
    )


def test_files_lie_by_signal_window_and_day_for_any_reader_of_parquet(tmp_path: Path) -> None:
    lake(tmp_path).write(
        scores({"window": 10 * SECOND}, {"window": MINUTE, "window_start": MIDNIGHT + DAY})
    )
    found = {str(path.parent.relative_to(tmp_path)) for path in tmp_path.rglob("*.parquet")}
    assert found == {
        "signal=rollups/window=10s/day=2026-11-23",
        "signal=rollups/window=1m/day=2026-11-24",
    }
    others = pl.scan_parquet(tmp_path / "**/*.parquet", hive_partitioning=True).collect()
    assert sorted(others["window"]) == ["10s", "1m"]


def test_only_what_is_asked_for_is_read(tmp_path: Path) -> None:
    writer = lake(tmp_path)
    for day in range(3):
        writer.write(at(0, 10, day=day))
    writer.write(scores({"window": MINUTE, "name": "other", "tenant": "acme"}))
    assert len(contents(tmp_path)) == 7
    assert len(contents(tmp_path, window=MINUTE)) == 1
    assert len(contents(tmp_path, names=["cpu.usage"])) == 6
    assert len(contents(tmp_path, tenant="acme")) == 1
    middle = contents(tmp_path, since=MIDNIGHT + 10 * SECOND, until=MIDNIGHT + DAY + 10 * SECOND)
    assert sorted(start for _, _, start in middle) == [MIDNIGHT + 10 * SECOND, MIDNIGHT + DAY]


def test_a_lake_that_is_not_there_is_empty(tmp_path: Path) -> None:
    assert contents(tmp_path / "nowhere") == {}


writes = st.lists(
    st.lists(
        st.tuples(
            st.integers(1, 3),  # series
            st.sampled_from([10 * SECOND, MINUTE]),
            st.sampled_from([0, 60, 86_340, 86_400]),  # second of its start
            st.integers(0, 2),  # revision
        ),
        min_size=1,
        max_size=5,
    ).map(tuple)
    | st.sampled_from(["merge", "finish", "an hour goes by"]),
    max_size=12,
)


@settings(max_examples=40, deadline=None)
@given(writes)
def test_each_point_is_there_once_as_it_was_written_last(steps: list[Any]) -> None:
    clock = ManualClock(MIDNIGHT)
    expected: dict[tuple[int, int, int], tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory)
        writer = lake(path, clock)
        for number, step in enumerate(steps):
            clock.advance(1)
            if step == "merge":
                for day in days(path):
                    merge_small(day, 2, clock)
            elif step == "finish":
                compact(path, MIDNIGHT + 9 * DAY, clock)
            elif step == "an hour goes by":
                clock.advance(3600)
            else:
                points = {(s, w, MIDNIGHT + start * SECOND): r for s, w, start, r in step}
                value = float(number)
                rows = [
                    {"series": s, "window": w, "window_start": start, "revision": r, "sum": value}
                    for (s, w, start), r in points.items()
                ]
                writer.write(scores(*rows))
                expected |= {point: (revision, value) for point, revision in points.items()}
            assert contents(path) == expected
        writer.close()


def test_many_small_files_of_a_live_day_become_few(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT)
    writer = lake(tmp_path, clock, compact_files=8)
    for number in range(200):
        writer.write(at(number * 10))
        clock.advance(60)
    (day,) = days(tmp_path)
    assert len(live_parts(day.path)) < 8
    assert len(parts(day.path)) < 8 + GRACE / (60 * SECOND) + 4
    assert len(contents(tmp_path)) == 200


def test_a_day_is_finished_an_hour_into_the_next(tmp_path: Path) -> None:
    writer = lake(tmp_path)
    writer.write(at(10, 0))
    writer.write(at(20, 0))
    writer.write(at(3580, day=1))
    first, second = days(tmp_path)
    assert not is_final(live_parts(first.path))
    writer.write(at(3590, day=1))
    writer.close()
    (whole,) = live_parts(first.path)
    assert (whole.kind, whole.rows) == ("final", 3)
    assert not is_final(live_parts(second.path))


def test_a_large_finished_day_is_cut_by_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sinks.lake_compaction.FINAL_ROWS", 100)
    writer = lake(tmp_path)
    seconds = range(0, 5000, 10)
    writer.write(at(*seconds))
    writer.write(at(*seconds[::2]))
    assert compact(tmp_path, MIDNIGHT + DAY) == 1
    assert compact(tmp_path, MIDNIGHT + DAY) == 0
    (day,) = days(tmp_path)
    spans = sorted(
        (rows["window_start"].min(), rows["window_start"].max())
        for rows in (pl.read_parquet(part.path) for part in live_parts(day.path))
    )
    assert len(spans) == 8
    assert all(before[1] < after[0] for before, after in pairwise(spans))
    assert len(contents(tmp_path)) == 500


def test_late_rows_re_open_a_finished_day(tmp_path: Path) -> None:
    writer = lake(tmp_path)
    writer.write(at(0))
    compact(tmp_path, MIDNIGHT + DAY)
    writer.write(scores({"series": 1, "revision": 1, "sum": 7.0}))
    assert contents(tmp_path) == {(1, 10 * SECOND, MIDNIGHT): (1, 7.0)}
    assert compact(tmp_path, MIDNIGHT + DAY) == 1
    assert contents(tmp_path) == {(1, 10 * SECOND, MIDNIGHT): (1, 7.0)}


def test_who_has_begun_to_read_can_end_after_a_compaction(tmp_path: Path) -> None:
    clock = ManualClock(MIDNIGHT)
    writer = lake(tmp_path, clock)
    for second in (0, 10, 20):
        writer.write(at(second))
    reading = read_rollups(tmp_path)
    compact(tmp_path, MIDNIGHT + DAY, clock)
    clock.advance(GRACE / SECOND - 1)
    compact(tmp_path, MIDNIGHT + DAY, clock)
    assert reading.collect().height == 3
    clock.advance(1)
    compact(tmp_path, MIDNIGHT + DAY, clock)
    (day,) = days(tmp_path)
    assert [part.kind for part in parts(day.path)] == ["final"]


class Crash(BaseException):
    """The power fails."""


@contextmanager
def crash_at(step: int) -> Iterator[Callable[[], bool]]:
    """Fail at the n-th change of the file system; tell whether it came to that."""
    count = 0

    def failing(change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*arguments: Any, **options: Any) -> Any:
            nonlocal count
            count += 1
            if count == step:
                raise Crash
            return change(*arguments, **options)

        return changed

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((os, "fsync"), (Path, "replace"), (Path, "unlink"), (Path, "mkdir")):
            patch.setattr(owner, name, failing(getattr(owner, name)))
        yield lambda: count >= step


@pytest.mark.parametrize("work", ["write", "merge", "finish", "finish in slices", "sweep"])
def test_a_crash_at_any_step_loses_nothing_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, work: str
) -> None:
    if work == "finish in slices":
        monkeypatch.setattr("sinks.lake_compaction.FINAL_ROWS", 3)
    step = 0
    crashed = True
    while crashed:
        step += 1
        path = tmp_path / str(step)
        clock = ManualClock(MIDNIGHT)
        writer = lake(path, clock)
        for seconds in ((0, 10), (10, 20), (20, 30), (30, 40)):
            writer.write(at(*seconds))
            clock.advance(1)
        if work == "sweep":
            compact(path, MIDNIGHT + DAY, clock)
            writer.write(at(50))
            compact(path, MIDNIGHT + DAY, clock)
            clock.advance(GRACE / SECOND)
        before = contents(path)
        (day,) = days(path)
        with crash_at(step) as came:
            try:
                if work == "write":
                    writer.write(at(70, day=1))
                elif work == "merge":
                    merge_small(day, 2, clock)
                else:
                    compact(path, MIDNIGHT + DAY, clock)
            except Crash:
                pass
            crashed = came()
        after = contents(path)
        assert after == before or (work == "write" and set(after) > set(before))
        clock.advance(2 * GRACE / SECOND)
        compact(path, MIDNIGHT + 2 * DAY, clock)
        clock.advance(2 * GRACE / SECOND)
        compact(path, MIDNIGHT + 2 * DAY, clock)
        assert contents(path) == after
        assert all(part.kind == "final" for part in parts(day.path))
    assert step > 3


def write_many(path: str, worker: int) -> None:
    """What one of several processes does."""
    clock = ManualClock(MIDNIGHT + worker)
    writer = lake(Path(path), clock, compact_files=4)
    for number in range(40):
        clock.advance(GRACE / SECOND)  # what is replaced goes at once
        writer.write(scores({"series": worker + 1, "window_start": MIDNIGHT + number * MINUTE}))
        if number % 10 == 9:
            compact(Path(path), MIDNIGHT + DAY, clock)


def test_several_processes_may_write_and_compact_at_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=write_many, args=(str(tmp_path), n)) for n in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0, 0, 0]
    assert len(contents(tmp_path)) == 3 * 40


FILL_DISK = """
import json, sys
from pathlib import Path
import polars as pl
from sinks.base import Unavailable
from tests.sinks.test_lake import at, contents, lake
path = Path(sys.argv[1])
ballast = path / "ballast"
ballast.write_bytes(bytes(900_000))
writer, written = lake(path), 0
try:
    while written < 1000:
        writer.write(at(written * 10))
        written += 1
except Unavailable as error:
    said = str(error)
left = [found.name for found in path.rglob("*unfinished*")]
ballast.unlink()
writer.write(at(written * 10))
print(json.dumps([said, written, len(contents(path)), left]))
"""


def test_a_full_disk_stops_writing_until_there_is_room(tmp_path: Path) -> None:
    command = f"mount -t tmpfs -o size=1m none {tmp_path} && exec {sys.executable} -c '{FILL_DISK}'"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", f"{command} {tmp_path}"],
        check=False, capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    if "unshare:" in done.stderr or "mount:" in done.stderr:
        pytest.skip("this user may not mount a small disk")
    assert done.returncode == 0, done.stderr
    said, written, found, left = json.loads(done.stdout)
    assert said == (
        f"lake: {tmp_path}: No space left on device; "
        "free some space, or point sinks.lake.path elsewhere"
    )
    assert found == written + 1
    assert left == []


def test_a_file_that_may_not_grow_is_not_left_half_written(tmp_path: Path) -> None:
    writer = lake(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(Unavailable, match=f"lake: {tmp_path}: File too large"):
            writer.write(at(0))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    writer.write(at(0))
    assert len(contents(tmp_path)) == 1


def test_a_lake_that_cannot_be_written_is_found_out_before_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match=f"lake: {tmp_path}/file/lake: Not a directory"):
        check(Settings(path=tmp_path / "file" / "lake"))
    check(Settings(path=tmp_path / "lake"))


def test_files_of_an_earlier_version_that_lack_a_column_are_read(tmp_path: Path) -> None:
    writer = lake(tmp_path)
    writer.write(at(0))
    (day,) = days(tmp_path)
    (part,) = parts(day.path)
    old = pl.read_parquet(part.path).drop("detector", *QUANTILES).with_columns(later=1)
    old.write_parquet(part.path)
    writer.write(scores(HISTOGRAM | {"series": 1, "window_start": MIDNIGHT + 10 * SECOND}))
    assert len(contents(tmp_path)) == 2
    rows = read_rollups(tmp_path).collect().sort("window_start")
    assert rows["p99"].to_list() == [None, 4.5]
    compact(tmp_path, MIDNIGHT + DAY)
    assert_frame_equal(read_rollups(tmp_path).collect().sort("window_start"), rows)
    assert Day.of(tmp_path, 10 * SECOND, MIDNIGHT) == day
