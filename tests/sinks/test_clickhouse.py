"""ClickHouse: what is in its tables is what the records and spans say, each once, whatever went wrong."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from datetime import UTC, datetime
from typing import Any

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from pydantic import ValidationError

from flows.settings import ClickHouseSection
from operators.contracts.frames import SPANS
from sinks import clickhouse_setup
from sinks.base import Unavailable
from sinks.clickhouse_logs import ClickHouseLogs
from sinks.clickhouse_maps import maps_of
from sinks.clickhouse_spans import ClickHouseSpans
from tests.backends.clickhouse import ClickHouseAccess
from tests.backends.proxy import Mode, Proxy
from tests.sinks.log_records import NOON, records
from tests.sinks.test_span_documents import spans

DAY = 86_400_000_000_000


def section(access: ClickHouseAccess, **more: Any) -> ClickHouseSection:
    """Return settings with a database of its own."""
    told = {"url": access.url, "user": access.user, "password": access.password}
    return ClickHouseSection(
        **{**told, "database": f"d{uuid.uuid4().hex[:12]}", "ttl": "9000d", **more}
    )


@pytest.fixture
def settings(clickhouse: ClickHouseAccess) -> ClickHouseSection:
    made = section(clickhouse)
    clickhouse_setup.ensure(made, logs=True, spans=True)
    return made


def told(
    access: ClickHouseAccess, settings: ClickHouseSection, table: str = "otel_logs"
) -> list[Any]:
    return access.rows(f"SELECT * FROM {settings.database}.{table}")


def instant(nanoseconds: int) -> str:
    """As ClickHouse writes a DateTime64(9) in UTC."""
    whole, rest = divmod(nanoseconds, 1_000_000_000)
    return f"{datetime.fromtimestamp(whole, UTC):%Y-%m-%d %H:%M:%S}.{rest:09d}"


def test_a_record_is_told_in_the_collectors_columns_and_ours(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection
) -> None:
    attributes = {
        "http.status": 200, "ok": True, "none": None, "share": 0.5, "path": 'a"\\\n\u00e9', "list": [1, "x"],
    }  # fmt: skip
    rows: list[dict[str, Any]] = [
        {"attributes": json.dumps(attributes), "trace_id": "ab" * 16, "span_id": "cd" * 8, "body": 'ü\n"',
         "exception": "f00", "weight": 7, "template": -2, "shape": 255, "marks": 3, "scope": "lib"},
        {"resource": "", "service": "pay", "ts": NOON + 999_999_999, "template": 0},
        {"ts": -5, "observed": NOON + 3, "resource": "", "service": ""},
        {"ts": 2**63 - 1, "attributes": "{}", "severity_text": "", "severity": 0},
    ]  # fmt: skip
    assert ClickHouseLogs(settings).write(records(*rows)) is None
    found = {row["Offset"]: row for row in told(clickhouse, settings)}
    first = found[0]
    assert first["LogAttributes"] == {
        key: value if isinstance(value, str) else "" if value is None else json.dumps(value, separators=(",", ":"))
        for key, value in attributes.items()
    } | {"list": first["LogAttributes"]["list"]}  # fmt: skip
    assert json.loads(first["LogAttributes"]["list"]) == [1, "x"]
    plain = {
        "Timestamp": instant(NOON), "TimestampTime": "2026-01-01 12:00:00", "TraceId": "ab" * 16, "SpanId": "cd" * 8,
        "TraceFlags": 0, "SeverityText": "INFO", "SeverityNumber": 9, "ServiceName": "shop", "Body": 'ü\n"',
        "ResourceAttributes": {"service.name": "shop"}, "ScopeName": "lib", "ScopeVersion": "",
        "ScopeAttributes": {}, "Tenant": "default", "Template": f"{2**64 - 2:016x}", "Shape": f"{255:016x}",
        "Exception": "f00", "Weight": 7, "Marks": 3, "Topic": "raw", "Partition": 3, "Index": 0,
    }  # fmt: skip
    assert {name: first[name] for name in plain} == plain
    assert found[1]["ResourceAttributes"] == {"service.name": "pay"}
    assert (found[1]["Timestamp"], found[1]["Template"]) == (instant(NOON + 999_999_999), "")
    assert (found[2]["Timestamp"], found[2]["ResourceAttributes"]) == (instant(NOON + 3), {})
    assert found[3]["Timestamp"] == instant(
        2**63 - 1
    )  # and not gone for being older than its time to live
    assert ClickHouseLogs(settings).write(records(*rows)) is None
    assert len(told(clickhouse, settings)) == len(rows)


def test_a_span_is_told_in_the_collectors_columns_and_ours(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection
) -> None:
    frame = spans()  # the first of them stands twice
    link = Span(name="linked")
    link.status.message = "no"
    link.links.add(trace_id=b"\x01" * 16, span_id=b"\x02" * 8, trace_state="a=1").attributes.add(
        key="why"
    ).value.bool_value = True
    other = frame[:1].with_columns(
        span_id=pl.lit("ff" * 8), span=pl.lit(link.SerializeToString()), status=pl.lit(2, pl.UInt8)
    )
    broken = frame[:1].with_columns(span_id=pl.lit("ee" * 8), span=pl.lit(b"\x2a\x05\xff"))
    whole = pl.concat([frame, other, broken]).cast(pl.Schema(SPANS))
    assert ClickHouseSpans(settings).write(whole) is None
    assert ClickHouseSpans(settings).write(whole[1:]) is None
    found = {row["SpanId"]: row for row in told(clickhouse, settings, "otel_traces")}
    assert len(told(clickhouse, settings, "otel_traces")) == len(found) == 4
    row = frame.row(0, named=True)
    plain = {
        "Timestamp": instant(row["begun"]), "TraceId": row["trace_id"], "ParentSpanId": "", "TraceState": "ot=th:8",
        "SpanName": "GET /cart/7", "SpanKind": "Server", "ServiceName": "shop", "Duration": 90,
        "ResourceAttributes": {"service.name": "shop"}, "SpanAttributes": {"http.route": "/cart/{id}"},
        "StatusCode": "Unset", "StatusMessage": "", "Events.Timestamp": [instant(row["begun"] + 5)],
        "Events.Name": ["retry"], "Events.Attributes": [{"n": "2"}], "Links.TraceId": [], "Tenant": "t",
        "Operation": "GET /cart/*", "Reason": "rest", "AdjustedCount": 2,
    }  # fmt: skip
    first = found[f"{1:016x}"]
    assert {name: first[name] for name in plain} == plain
    odd = found[f"{2:016x}"]["SpanAttributes"]
    assert (odd["app.user"], odd["app.user.id"], odd["long"]) == ("u", str(2**63 - 1), "y" * 40_000)
    linked = found["ff" * 8]
    assert (linked["StatusCode"], linked["StatusMessage"], linked["SpanName"]) == (
        "Error",
        "no",
        "linked",
    )
    assert (linked["Links.TraceId"], linked["Links.SpanId"]) == (["01" * 16], ["02" * 8])
    assert (linked["Links.TraceState"], linked["Links.Attributes"]) == (["a=1"], [{"why": "true"}])
    # What can't be read of it does not keep its numbers away.
    assert (found["ee" * 8]["SpanName"], found["ee" * 8]["Duration"]) == ("GET /cart/*", 90)
    query = f"SELECT TraceId, min(Start) AS s FROM {settings.database}.otel_traces_trace_id_ts GROUP BY TraceId"
    assert {row["TraceId"]: row["s"] for row in clickhouse.rows(query)} == dict.fromkeys(
        whole["trace_id"], "2026-01-01 00:00:00"
    )


scalars = st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.text()
values = scalars | st.lists(scalars, max_size=3)


@given(
    st.lists(st.none() | st.dictionaries(st.text(), values, max_size=6), max_size=20), st.booleans()
)
def test_objects_become_maps_of_texts(
    objects: list[dict[str, Any] | None], ascii_only: bool
) -> None:
    texts = [
        "" if each is None else json.dumps(each, ensure_ascii=ascii_only, separators=(",", ":"))
        for each in objects
    ]
    found: pa.Array = maps_of(pl.Series(texts, dtype=pl.String))
    expected = []
    for each in objects:
        pairs = [
            (key, value if isinstance(value, str) else "" if value is None
             else json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":")))
            for key, value in (each or {}).items()
        ]  # fmt: skip
        expected.append(pairs)
    assert found.to_pylist() == expected


def test_an_object_with_more_members_than_are_walked_is_whole() -> None:
    large = {f"k{n}": n for n in range(3000)}
    found = maps_of(pl.Series(['{"a":1}', json.dumps(large), "", '{"b":"x"}']))
    assert [dict(each) for each in found.to_pylist()] == [
        {"a": "1"}, {key: str(value) for key, value in large.items()}, {}, {"b": "x"},
    ]  # fmt: skip


def test_batches_that_begin_and_end_elsewhere_leave_each_record_once(
    clickhouse: ClickHouseAccess,
) -> None:
    settings = section(clickhouse, batch_rows=7)
    clickhouse_setup.ensure(settings, logs=True, spans=False)
    rows = [
        {"offset": n // 3, "index": n % 3, "topic": f"raw{n % 2}", "ts": NOON + n * DAY // 40,
         "service": f"s{n % 4}"} for n in range(60)
    ]  # fmt: skip
    for begin, end in ((0, 25), (10, 40), (40, 41), (0, 60), (33, 60)):
        # Each by a process that knows nothing of the others.
        ClickHouseLogs(settings).write(records(*rows[begin:end]))
    found = Counter(
        (row["Topic"], row["Offset"], row["Index"]) for row in told(clickhouse, settings)
    )
    assert found == Counter((row["topic"], row["offset"], row["index"]) for row in rows)
    # A topic that was made anew counts from the beginning again.
    ClickHouseLogs(settings).write(records({**rows[0], "ts": NOON + 1}))
    assert len(told(clickhouse, settings)) == len(rows) + 1


def test_an_insert_whose_answer_was_lost_is_dropped_though_nobody_could_look(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As where the first is still under way when the table is asked: nothing is there yet.
    monkeypatch.setattr(ClickHouseLogs, "written_before", lambda *_: "0")
    clickhouse.tell(f"SYSTEM STOP MERGES {settings.database}.otel_logs")
    frame = records(*({"offset": n} for n in range(5)))
    for _ in range(3):
        ClickHouseLogs(settings).write(frame)
    assert len(told(clickhouse, settings)) == 5
    # Other bounds are another token: of those rows one is left by merges, and shown by FINAL.
    ClickHouseLogs(settings).write(frame[2:])
    assert len(told(clickhouse, settings)) == 8
    query = f"SELECT Offset FROM {settings.database}.otel_logs FINAL"
    assert sorted(row["Offset"] for row in clickhouse.rows(query)) == list(range(5))


def test_a_lost_answer_is_waited_for_and_leaves_no_record_twice(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection
) -> None:
    with Proxy(clickhouse.url) as proxy:
        sink = ClickHouseLogs(settings.model_copy(update={"url": proxy.url}))
        frame = records(*({"offset": n} for n in range(5)))
        for mode in (Mode("cut"), Mode("answer", 503), Mode("answer", 429)):
            with proxy.misbehaving(mode) as affected, pytest.raises(Unavailable, match=proxy.url):
                sink.write(frame)
            assert affected()
        assert sink.write(frame) is None
        with proxy.misbehaving(Mode("cut")), pytest.raises(Unavailable, match=proxy.url):
            sink.write(records({"offset": 9}))
        assert sink.write(records({"offset": 9})) is None
    assert sorted(row["Offset"] for row in told(clickhouse, settings)) == [0, 1, 2, 3, 4, 9]


def test_what_was_refused_before_an_outage_is_told_once(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection, monkeypatch: pytest.MonkeyPatch
) -> None:
    clickhouse.tell(
        f"ALTER TABLE {settings.database}.otel_logs ADD CONSTRAINT c CHECK Body != 'bad'"
    )
    frame = records(*({"offset": n, "body": "bad" if n in (1, 4) else "good"} for n in range(8)))
    sink = ClickHouseLogs(settings.model_copy(update={"batch_rows": 4}))
    insert, tried = ClickHouseLogs._insert, []

    def breaking(self: ClickHouseLogs, client: Any, columns: pa.Table) -> None:
        tried.append(columns.num_rows)
        # After the refusal of the second batch's bad row.
        if len(tried) > 1 and columns["Offset"].to_pylist()[0] == 5:
            raise ConnectionResetError(104, "Connection reset by peer")
        insert(self, client, columns)

    monkeypatch.setattr(ClickHouseLogs, "_insert", breaking)
    with pytest.raises(Unavailable, match="reset by peer"):
        sink.write(frame)
    monkeypatch.undo()
    refused = sink.write(frame)
    assert refused is not None
    assert sorted(sink.restore(refused["payload"].to_list())["offset"]) == [1, 4]
    assert sorted(row["Offset"] for row in told(clickhouse, settings)) == [0, 2, 3, 5, 6, 7]


def test_what_is_wrong_is_said_with_the_way_out(clickhouse: ClickHouseAccess) -> None:
    settings = section(clickhouse)
    frame = records({})
    with pytest.raises(Unavailable, match="run `headrace setup`"):
        ClickHouseLogs(settings).write(frame)
    with pytest.raises(Unavailable, match=r"otel_traces.*run `headrace setup`"):
        clickhouse_setup.check(settings, logs=False, spans=True)
    wrong = settings.model_copy(update={"password": None})
    for attempt in (
        lambda: ClickHouseLogs(wrong).write(frame),
        lambda: clickhouse_setup.ensure(wrong, logs=True, spans=True),
    ):
        with pytest.raises(Unavailable, match=r"sinks\.clickhouse\.user and password") as raised:
            attempt()
        assert clickhouse.url in str(raised.value)
    # Tables that others made, in which a row could be twice, or two be taken for one.
    clickhouse.tell(f"CREATE DATABASE {settings.database}")
    for engine in ("MergeTree", "ReplacingMergeTree"):
        clickhouse.tell(
            f"CREATE TABLE {settings.database}.{engine} (Timestamp DateTime64(9)) "
            f"ENGINE = {engine} ORDER BY Timestamp"
        )
        theirs = section(clickhouse, database=settings.database, tables={"logs": engine})
        for look in (clickhouse_setup.ensure, clickhouse_setup.check):
            with pytest.raises(Unavailable, match=r"name another one in sinks\.clickhouse\.tables"):
                look(theirs, logs=True, spans=False)


def test_setup_is_safe_to_repeat_and_brings_tables_in_line(
    clickhouse: ClickHouseAccess, settings: ClickHouseSection
) -> None:
    logs = f"{settings.database}.otel_logs"
    assert clickhouse_setup.ensure(settings, logs=True, spans=True) == []
    shorter = settings.model_copy(update={"ttl": 8000 * DAY})
    clickhouse.tell(f"ALTER TABLE {logs} DROP COLUMN Weight")
    with pytest.raises(Unavailable, match="lacks Weight; run `headrace setup`"):
        clickhouse_setup.check(settings, logs=True, spans=True)
    # A writer waits, and goes on once the column is there.
    sink = ClickHouseLogs(settings)
    with pytest.raises(Unavailable, match="run `headrace setup`"):
        sink.write(records({}))
    assert clickhouse_setup.ensure(shorter, logs=True, spans=True) == [
        f"clickhouse: table {logs} now has Weight",
        f"clickhouse: table {logs} is now kept 8000d",
        f"clickhouse: table {settings.database}.otel_traces is now kept 8000d",
    ]
    assert clickhouse_setup.ensure(shorter, logs=True, spans=True) == []
    clickhouse_setup.check(shorter, logs=True, spans=True)
    assert sink.write(records({})) is None
    (made,) = clickhouse.rows(
        f"SELECT partition_key, primary_key FROM system.tables "
        f"WHERE database = '{settings.database}' AND name = 'otel_logs'"
    )
    # As the Collector's exporter has it.
    assert made == {
        "partition_key": "toDate(TimestampTime)", "primary_key": "ServiceName, TimestampTime",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"url": "http://me:secret@db:8123"}, "keys of their own"),
        ({"url": "clickhouse://db"}, "pattern"),
        ({"url": "http://db", "database": "a`b"}, "pattern"),
        ({"url": "http://db", "ttl": "1500ms"}, "whole seconds"),
        ({"url": "http://db", "ttl": "12001d"}, "at most"),
        ({"url": "http://db", "tables": {"logs": "a.b"}}, "pattern"),
    ],
)
def test_settings_that_can_t_be_right_are_refused(given: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        ClickHouseSection(**given)


def test_a_missing_client_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flows.settings.sinks.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"pip install 'headrace\[clickhouse\]'"):
        ClickHouseSection(url="http://db:8123")


def test_a_text_that_is_not_utf_8_costs_a_span_nothing_else() -> None:
    frame = spans()[:1]
    (content,) = frame["span"]
    broken = content.replace(b"retry", b"ret\xff\xfe")
    assert broken != content
    sink = ClickHouseSpans(ClickHouseSection(url="http://localhost:1"))
    rows = [
        sink.columns(frame.with_columns(span=pl.Series([each], dtype=pl.Binary))).to_pylist()[0]
        for each in (content, broken, b"\x2a\x05\xff")
    ]
    assert rows[1]["Events.Name"] == ["ret\ufffd\ufffd"]
    assert rows[1] == {**rows[0], "Events.Name": rows[1]["Events.Name"]}
    assert (rows[2]["SpanName"], rows[2]["Events.Name"]) == (rows[0]["Operation"], [])
