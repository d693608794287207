"""A person's records are gone from Elasticsearch, ClickHouse and the lake, and nobody else's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.settings import LakeSection as Settings
from operators.contracts.clock import ManualClock
from sinks import clickhouse_setup
from sinks.clickhouse_erasing import erase_rows
from sinks.clickhouse_logs import ClickHouseLogs
from sinks.erasing import Person, erase_documents, erase_records
from sinks.erasing import _named as named
from sinks.lake_compaction import compact
from sinks.lake_files import DAY, log_days
from sinks.log_lake import LogLake, read_logs
from tests.backends.clickhouse import ClickHouseAccess
from tests.sinks.log_records import NOON, records
from tests.sinks.test_clickhouse import section
from tests.sinks.test_log_documents import Stream

ANN = "ann@shop.example"
OF_ANN = [
    {"body": f"mail from <{ANN}> came"},
    {"body": "Ann@Shop.Example."},
    {"attributes": '{"user.mail":"' + ANN + '","n":1}'},
    {"attributes": '{"long":"' + "x" * 2000 + f' {ANN}"}}'},
    {"resource": '{"owner":"(' + ANN + ')"}', "service": "s"},
    {"body": f"card of {ANN}", "tenant": "acme"},
]
OTHERS = [
    {"body": "joann@shop.example wrote"},
    {"body": "ann@shop.example.org wrote"},
    {"body": "ann shop.example"},
    {"attributes": '{"user.mail":"bob@shop.example"}'},
]


def feed() -> pl.DataFrame:
    return records(*OF_ANN, *OTHERS)


def test_documents_are_erased_wherever_they_name_the_subject(elasticsearch: str) -> None:
    stream = Stream(elasticsearch)
    stream.write(feed())
    stream.roll_over()
    stream.write(records({"offset": 99, "body": f"again {ANN}"}))
    (name,) = erase_documents(stream.settings, Person([ANN]), dry_run=True)
    assert erase_documents(stream.settings, Person([ANN], "acme"), dry_run=False) == {name: 1}
    assert erase_documents(stream.settings, Person([ANN]), dry_run=True) == {name: len(OF_ANN)}
    assert len(stream.hits()) == len(OF_ANN) + len(OTHERS)
    assert erase_documents(stream.settings, Person([ANN]), dry_run=False) == {name: len(OF_ANN)}
    assert sorted(int(hit["_id"].split("-")[2]) for hit in stream.hits()) == [6, 7, 8, 9]
    assert erase_documents(stream.settings, Person([ANN]), dry_run=False) == {name: 0}


def test_rows_are_erased_wherever_they_name_the_subject(clickhouse: ClickHouseAccess) -> None:
    settings = section(clickhouse)
    clickhouse_setup.ensure(settings, logs=True, spans=False)
    quoted = {
        "offset": 99,
        "body": "x",
        "attributes": orjson.dumps({"o'neill\\": f"'{ANN}'"}).decode(),
    }
    # Of a topic that was made anew: another's record at a place where there is one of Ann's.
    anew = records({"offset": 0, "body": "of bob", "ts": NOON + 1})
    ClickHouseLogs(settings).write(pl.concat([feed(), records(quoted), anew]))

    def left() -> list[int]:
        rows = clickhouse.rows(f"SELECT Offset FROM {settings.database}.otel_logs ORDER BY Offset")
        return [row["Offset"] for row in rows]

    assert erase_rows(settings, Person(["o'neill\\"]), dry_run=True) == 1
    assert erase_rows(settings, Person([ANN], "acme"), dry_run=False) == 1
    assert erase_rows(settings, Person([ANN]), dry_run=True) == len(OF_ANN)
    assert len(left()) == len(OF_ANN) + len(OTHERS) + 1
    assert erase_rows(settings, Person([ANN]), dry_run=False) == len(OF_ANN)
    assert left() == [0, 6, 7, 8, 9]
    assert erase_rows(settings, Person([ANN]), dry_run=False) == 0


@pytest.mark.parametrize("finished", [False, True])
def test_the_lake_has_no_byte_of_the_subject_left(tmp_path: Path, finished: bool) -> None:
    clock = ManualClock(NOON)
    sink = LogLake(Settings(path=tmp_path, compact_files=3), clock)
    for start in (0, DAY):
        for part in feed().iter_slices(3):
            sink.write(part.with_columns(ts=pl.col("ts") + start))
            clock.advance(1)
    sink.close()
    if finished:
        compact(tmp_path, NOON + 2 * DAY, clock, log_days)
    assert erase_records(tmp_path, Person([ANN], "acme"), dry_run=True) == 2
    assert erase_records(tmp_path, Person([ANN]), dry_run=True) == 2 * len(OF_ANN)
    assert erase_records(tmp_path, Person([ANN]), dry_run=False) == 2 * len(OF_ANN)
    left = read_logs(tmp_path).collect().sort("ts", "offset")
    assert left["offset"].to_list() == [6, 7, 8, 9] * 2
    # Not only from what counts: no file has it any more.
    for file in tmp_path.rglob("*.parquet"):
        assert not pl.read_parquet(file)["body"].str.contains(f"(?i)<{ANN}>").any()
    assert erase_records(tmp_path, Person([ANN]), dry_run=False) == 0
    LogLake(Settings(path=tmp_path), clock).write(records({"offset": 50}))
    assert read_logs(tmp_path).collect().height == 9


@given(st.text(st.sampled_from('an@.x -<\n"\\ä'), max_size=12))
def test_a_name_is_found_as_a_whole_also_in_json(text: str) -> None:
    subject = Person(["a.n@x.ä"])
    for each in (text, f"{text}a.n@X.Ä{text[::-1]}"):
        for encode in (orjson.dumps, lambda value: json.dumps(value).encode()):
            rows = records({"attributes": encode({"k": each}).decode()})
            padded = f" {each} "
            whole = any(
                padded[at : at + 7].lower() == "a.n@x.ä"
                and not re.match(r"[\w.@-]", padded[at - 1])
                and not re.match(r"[\w@-]|\.\w", padded[at + 7 :])
                for at in range(1, len(padded) - 7)
            )
            assert named(rows, subject).to_list() == [whole]


def test_whose_records_are_meant_must_be_said() -> None:
    with pytest.raises(ValueError, match="empty"):
        Person([" "])
