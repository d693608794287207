"""What becomes of a write that InfluxDB does not take, or not all of."""

from __future__ import annotations

import gzip
import time
import uuid
from typing import Any

import httpx
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flows.settings import InfluxDBSection as Settings
from operators.contracts.durations import format_duration
from sinks.base import Unavailable
from sinks.influxdb import InfluxDB, bucket_name
from sinks.influxdb_setup import check, ensure
from sinks.line_protocol import UNITS
from tests.backends.influxdb import InfluxdbAccess
from tests.sinks.samples import DAY, MINUTE, SECOND, points, scores

WINDOW = 10 * SECOND


def own_settings(access: InfluxdbAccess, **others: Any) -> Settings:
    """Settings whose buckets no other test uses."""
    given = {"bucket": f"{uuid.uuid4().hex[:12]}_{{window}}", "token": access.token} | others
    return Settings(url=access.url, org=access.org, **given)


@pytest.fixture
def configuration(influxdb: InfluxdbAccess) -> Settings:
    mine = own_settings(influxdb, retention={"10s": "7d"})
    ensure(mine, [WINDOW])
    return mine


def hosts(access: InfluxdbAccess, mine: Settings) -> set[str]:
    return {
        point["tags"].get("host", "")
        for point in points(access.url, access.token, bucket_name(mine, WINDOW))
    }


def test_a_missing_bucket_is_waited_for_and_named(influxdb: InfluxdbAccess) -> None:
    mine = own_settings(influxdb)
    bucket = bucket_name(mine, WINDOW)
    with pytest.raises(Unavailable) as raised:
        InfluxDB(mine).write(scores({}))
    assert str(raised.value) == (
        f'influxdb: {influxdb.url}, org {influxdb.org}, bucket {bucket}: 404 bucket "{bucket}" not '
        "found; run `headrace setup` to create the buckets, or correct sinks.influxdb"
    )
    ensure(mine, [WINDOW])
    assert InfluxDB(mine).write(scores({})) is None


def test_a_wrong_token_is_waited_for_and_not_said(influxdb: InfluxdbAccess) -> None:
    mine = own_settings(influxdb, token="wrong-token")
    for attempt in (lambda: InfluxDB(mine).write(scores({})), lambda: check(mine, [WINDOW])):
        with pytest.raises(
            Unavailable, match=r"401 unauthorized.*; set sinks.influxdb.token"
        ) as it:
            attempt()
        assert "wrong-token" not in str(it.value)


def test_a_token_without_the_permission_is_told_apart(
    influxdb: InfluxdbAccess, configuration: Settings
) -> None:
    headers = {"Authorization": f"Token {influxdb.token}"}
    org = httpx.get(f"{influxdb.url}/api/v2/orgs", headers=headers).json()["orgs"][0]["id"]
    permission = {"action": "read", "resource": {"type": "dashboards", "orgID": org}}
    answer = httpx.post(
        f"{influxdb.url}/api/v2/authorizations", headers=headers,
        json={"orgID": org, "permissions": [permission]},
    )  # fmt: skip
    mine = configuration.model_copy(
        update={"token": type(configuration.token)(answer.json()["token"])}
    )
    with pytest.raises(Unavailable, match=r": 403 .*; the token of sinks.influxdb may not"):
        InfluxDB(mine).write(scores({}))


def now() -> int:
    return time.time_ns() // WINDOW * WINDOW


def test_points_older_than_the_retention_are_refused_and_the_others_kept(
    influxdb: InfluxdbAccess, configuration: Settings
) -> None:
    mine = configuration.model_copy(update={"batch_lines": 1000})
    rows = [
        {"series": n, "labels": {"host": str(n)}, "window_start": now() - (n % 4) * 3 * DAY}
        for n in range(400)
    ]
    began = time.monotonic()
    refused = InfluxDB(mine).write(scores(*rows))
    assert time.monotonic() - began < 5
    assert refused is not None
    assert refused.height == 100
    assert "outside retention policy" in refused["reason"][0]
    assert bucket_name(mine, WINDOW) in refused["reason"][0]
    assert hosts(influxdb, mine) == {str(n) for n in range(400) if n % 4 < 3}


def test_a_field_that_is_another_type_there_is_refused(
    influxdb: InfluxdbAccess, configuration: Settings
) -> None:
    httpx.post(
        f"{influxdb.url}/api/v2/write",
        params={"org": influxdb.org, "bucket": bucket_name(configuration, WINDOW)},
        headers={"Authorization": f"Token {influxdb.token}"},
        content="theirs count=1.5",
    ).raise_for_status()
    rows = [{"name": "theirs" if n in (3, 7) else "ours", "window_start": now()} for n in range(9)]
    destination = InfluxDB(configuration)
    refused = destination.write(scores(*rows))
    assert refused is not None
    assert refused.height == 2
    assert 'input field "count" on measurement "theirs" is type integer' in refused["reason"][0]
    assert hosts(influxdb, configuration) == {""} | {
        f"web-{n}" for n in range(9) if n not in (3, 7)
    }
    again = destination.restore(refused["payload"].to_list())
    assert again.sort("series").equals(scores(*rows)[[3, 7]])


def test_setup_creates_buckets_once_and_follows_the_retention(influxdb: InfluxdbAccess) -> None:
    windows = (WINDOW, MINUTE)
    mine = own_settings(influxdb, retention={"10s": "7d"})
    names = [bucket_name(mine, window) for window in windows]
    with pytest.raises(Unavailable, match=f"{names[0]}: 404"):
        check(mine, windows)
    assert ensure(mine, windows) == [
        f"influxdb: created bucket {names[0]}, kept 1w",
        f"influxdb: created bucket {names[1]}, kept for ever",
    ]
    assert ensure(mine, windows) == []
    check(mine, windows)
    longer = mine.model_copy(update={"retention": {format_duration(WINDOW): 14 * DAY}})
    assert ensure(longer, windows) == [f"influxdb: bucket {names[0]} is now kept 2w"]
    assert ensure(longer, windows) == []


def at_server(server: HTTPServer, **others: Any) -> Settings:
    """For answers that the real server gives only in trouble that can't be made here."""
    return Settings(url=server.url_for("/"), org="o", token="t0k3n", **others)


@pytest.mark.parametrize("status", [429, 503])
def test_when_the_server_asks_for_time_it_is_told_how_much(
    httpserver: HTTPServer, status: int
) -> None:
    httpserver.expect_request("/api/v2/write").respond_with_json(
        {"code": "too many requests", "message": "slow down"}, status, {"Retry-After": "17"}
    )
    with pytest.raises(Unavailable, match=f"{status} slow down") as raised:
        InfluxDB(at_server(httpserver)).write(scores({}))
    assert raised.value.retry_after == 17


def test_one_batch_that_fails_is_not_followed_by_the_hundred_behind_it(
    httpserver: HTTPServer,
) -> None:
    httpserver.expect_request("/api/v2/write").respond_with_data("down", 503)
    with pytest.raises(Unavailable):
        InfluxDB(at_server(httpserver, batch_lines=1)).write(scores(*[{}] * 100))
    assert len(httpserver.log) < 10


def test_what_was_confirmed_before_the_fault_is_not_sent_again(httpserver: HTTPServer) -> None:
    healthy = False
    sent: list[str] = []

    def answer(request: Request) -> Response:
        lines = gzip.decompress(request.data).decode().splitlines()
        if not healthy and len(sent) >= 4:
            return Response("overloaded", 503)
        sent.extend(line.split()[0] for line in lines)
        return Response("", 204)

    httpserver.expect_request("/api/v2/write").respond_with_handler(answer)
    destination = InfluxDB(at_server(httpserver, batch_lines=2, requests=1))
    frame = scores(*[{}] * 10)
    with pytest.raises(Unavailable):
        destination.write(frame)
    assert len(sent) == 4
    healthy = True
    assert destination.write(frame) is None
    *rows, unit = sent
    assert len(rows) == len(set(rows)) == 10
    assert unit.startswith(UNITS)


def test_units_that_could_not_be_written_are_written_later(httpserver: HTTPServer) -> None:
    sent: list[str] = []
    down = True

    def answer(request: Request) -> Response:
        lines = gzip.decompress(request.data).decode().splitlines()
        if down and lines[0].startswith(UNITS):
            return Response("overloaded", 503)
        sent.extend(line.split()[0] for line in lines)
        return Response("", 204)

    httpserver.expect_request("/api/v2/write").respond_with_handler(answer)
    destination = InfluxDB(at_server(httpserver))
    frame = scores({}, {"name": "disk", "unit": "By"})
    for _ in range(2):
        with pytest.raises(Unavailable):
            destination.write(frame)
    assert len(sent) == 2
    down = False
    assert destination.write(frame) is None
    assert [line.startswith(UNITS) for line in sent] == [False, False, True, True]


def test_a_body_that_is_too_large_is_sent_in_parts(httpserver: HTTPServer) -> None:
    sent: list[str] = []

    def answer(request: Request) -> Response:
        lines = request.data.decode().splitlines()
        if len(lines) > 3:
            return Response("Request Entity Too Large", 413)
        sent.extend(lines)
        return Response("", 204)

    httpserver.expect_request("/api/v2/write").respond_with_handler(answer)
    assert InfluxDB(at_server(httpserver, gzip=False)).write(scores(*[{}] * 20)) is None
    assert sum(not line.startswith(UNITS) for line in sent) == 20


@pytest.mark.parametrize(
    ("status", "body"),
    [(400, "Client sent an HTTP request to an HTTPS server."), (502, "<html>"), (301, "")],
)
def test_an_answer_that_is_not_influxdbs_refuses_nothing(
    httpserver: HTTPServer, status: int, body: str
) -> None:
    httpserver.expect_request("/api/v2/write").respond_with_data(body, status)
    with pytest.raises(Unavailable, match=f"org o, bucket rollups_10s: {status} "):
        InfluxDB(at_server(httpserver)).write(scores({}, {}))


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(
    httpserver: HTTPServer,
) -> None:
    def sleep(_request: Request) -> Response:
        time.sleep(2)
        return Response("", 204)

    httpserver.expect_request("/api/v2/write").respond_with_handler(sleep)
    with pytest.raises(Unavailable, match=r"influxdb: http://localhost:\d+/: .*[Tt]imed? ?out"):
        InfluxDB(at_server(httpserver, timeout="300ms")).write(scores({}))
