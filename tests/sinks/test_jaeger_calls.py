"""Calls between services in a real Elasticsearch, asked as Jaeger asks: each is counted once, and none is cut."""

from __future__ import annotations

import re
import threading
import uuid
from collections import Counter
from typing import Any

import httpx
import numpy as np
import polars as pl
import pytest
from pytest_httpserver import HTTPServer
from werkzeug import Request, Response

from flows.settings import ElasticsearchSection as Settings
from operators.contracts.frames import SERVICE_CALLS
from sinks.base import Unavailable
from sinks.documents import instant
from sinks.jaeger import ensure_jaeger
from sinks.jaeger_calls import JaegerCalls
from tests.backends.proxy import Mode, Proxy
from tests.sinks.samples import DAY, MIDNIGHT, MINUTE
from tests.sinks.test_jaeger_hours import HOUR, Told, calls_of

_MOST = 10_000
"""Documents that Jaeger reads for one query, by its defaults."""


class Place:
    """Indices of a test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.prefix = f"{uuid.uuid4().hex[:8]}-"
        self.settings = Settings(hosts=(url,), timeout="1m")
        self.day = f"{url}/{self.prefix}jaeger-dependencies-2026-11-23"

    def sink(self) -> JaegerCalls:
        return JaegerCalls(self.settings, self.prefix, MINUTE)

    def documents(self, begin: int = MIDNIGHT, end: int = MIDNIGHT + DAY) -> list[dict[str, Any]]:
        """Return what Jaeger reads: its own query, both bounds included."""
        httpx.post(f"{self.day}/_refresh", timeout=60).raise_for_status()
        times = {"range": {"timestamp": {"gte": instant(begin), "lte": instant(end)}}}
        answer = httpx.post(f"{self.day}/_search", json={"query": times, "size": _MOST}, timeout=60)
        return [hit["_source"] for hit in answer.raise_for_status().json()["hits"]["hits"]]

    def calls(self, begin: int = MIDNIGHT, end: int = MIDNIGHT + DAY) -> dict[str, int]:
        """Return what Jaeger shows of them: the sum of each pair."""
        found: Counter[str] = Counter()
        for document in self.documents(begin, end):
            for link in document["dependencies"]:
                found[f"{link['parent']}>{link['child']}"] += link["callCount"]
        return dict(found)


@pytest.fixture
def place(elasticsearch: str) -> Place:
    return Place(elasticsearch)


def a_day(edges: int) -> pl.DataFrame:
    """Return a day of one-minute windows, as the shards of an edge tell them."""
    size, minutes = edges * 1_440, np.tile(np.arange(1_440), edges)
    edge = np.repeat(np.arange(edges), 1_440)
    return pl.DataFrame(
        {
            "series": edge.astype(np.uint64),
            "client": [f"c{n}" for n in edge.tolist()],
            "server": [f"s{n}" for n in edge.tolist()],
            "window_start": MIDNIGHT + minutes * MINUTE,
            "count": np.ones(size, np.int64),
            "calls": (1.0 + edge % 7),
        },
        schema=SERVICE_CALLS,
    )


def test_a_day_of_two_hundred_edges_is_whole(place: Place) -> None:
    ensure_jaeger(place.settings, place.prefix)
    assert place.sink().write(a_day(200)) is None
    assert place.calls() == {f"c{n}>s{n}": 1_440 * (1 + n % 7) for n in range(200)}
    assert len(place.documents()) == 24
    # A range counts the hours that end in it.
    assert place.calls(MIDNIGHT + HOUR, MIDNIGHT + 2 * HOUR)["c0>s0"] == 60


@pytest.mark.parametrize("templates", ["ours", "none"])
def test_replays_restarts_and_late_revisions_count_once(place: Place, templates: str) -> None:
    if templates == "ours":
        ensure_jaeger(place.settings, place.prefix)
    rows: list[Told] = [(edge, minute, 1, 5.0) for minute in (0, 1) for edge in range(3)]
    sink = place.sink()
    sink.write(calls_of(rows))
    assert place.calls() == {"c0>s0": 10, "c1>s0": 10, "c0>s1": 10}
    sink.write(calls_of([(0, 0, 1, 7.0)]))  # late spans
    assert place.calls()["c0>s0"] == 12
    place.sink().write(calls_of(rows[:3]))  # after a crash, from the last commit on
    place.sink().write(calls_of([(0, 0, 1, 7.0), (0, 70, 1, 1.0)]))
    assert place.calls() == {"c0>s0": 13, "c1>s0": 10, "c0>s1": 10}
    # A query of the last minutes finds the hour that is under way.
    assert place.calls(MIDNIGHT + 69 * MINUTE, MIDNIGHT + 72 * MINUTE) == {"c0>s0": 1}


def test_several_writers_share_an_hour(place: Place) -> None:
    """Each brings edges of its own, and both write the same documents all the time."""

    def carry(edge: int) -> None:
        sink = place.sink()
        for minute in range(4):
            while True:
                try:
                    sink.write(
                        calls_of([(edge, minute, 1, 2.0), (edge, max(0, minute - 1), 1, 3.0)])
                    )
                    break
                except Unavailable:  # the flow writes it again
                    continue

    threads = [threading.Thread(target=carry, args=(edge,)) for edge in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    total = 3 * 3 + 2
    assert place.calls() == {"c0>s0": total, "c1>s0": total, "c0>s1": total}
    assert len(place.documents()) == 1


def test_who_was_late_does_not_take_back_what_another_has_told(place: Place) -> None:
    first, second = place.sink(), place.sink()
    first.write(calls_of([(0, 0, 1, 1.0)]))
    second.write(calls_of([(0, 0, 1, 9.0), (1, 0, 1, 1.0)]))
    first.write(calls_of([(0, 0, 1, 2.0), (2, 0, 1, 4.0)]))  # it knows nothing of 9
    assert place.calls() == {"c0>s0": 9, "c1>s0": 1, "c0>s1": 4}


def test_an_answer_that_was_lost_counts_nothing_twice(place: Place) -> None:
    with Proxy(place.url) as proxy:
        place.settings = Settings(hosts=(proxy.url,), timeout="1m")
        sink = place.sink()
        sink.write(calls_of([(0, 0, 1, 1.0)]))
        told = calls_of([(0, 0, 1, 2.0), (0, 1, 1, 3.0), (1, 70, 1, 4.0)])
        with proxy.misbehaving(Mode("cut")), pytest.raises(Unavailable, match=proxy.url):
            sink.write(told)
        assert sink.write(told) is None
    assert place.calls() == {"c0>s0": 5, "c1>s0": 4}


def test_documents_of_the_layout_before_are_taken_in(place: Place) -> None:
    """A document an edge and window, as it was until now; Jaeger's own are left alone."""

    def before(id_: str, minute: int, calls: int, pair: str = "c0>s0") -> None:
        parent, _, child = pair.partition(">")
        link = {"parent": parent, "child": child, "callCount": calls}
        document = {"timestamp": instant(MIDNIGHT + minute * MINUTE), "dependencies": [link]}
        httpx.put(f"{place.day}/_create/{id_}", json=document, timeout=60).raise_for_status()

    for minute in range(3):
        before(f"team-a-0-{MIDNIGHT + minute * MINUTE}", minute, 5)
    before(f"team-a-1-{MIDNIGHT + 90 * MINUTE}", 90, 8, "c1>s0")
    before("AXz-1_of-a-job", 0, 1, "x>y")
    assert place.calls() == {"c0>s0": 15, "c1>s0": 8, "x>y": 1}
    sink = place.sink()
    sink.write(calls_of([(0, 2, 3, 6.0), (0, 3, 3, 1.0)]))  # one of them again
    assert place.calls() == {"c0>s0": 5 + 5 + 6 + 1, "c1>s0": 8, "x>y": 1}
    assert len(place.documents()) == 3  # the hour, Jaeger's, and the hour that nobody wrote to
    # Killed before the earlier ones were removed: the next one does.
    before(f"team-a-0-{MIDNIGHT}", 0, 5)
    place.sink().write(calls_of([(0, 2, 3, 6.0)]))
    assert place.calls() == {"c0>s0": 17, "c1>s0": 8, "x>y": 1}


def test_a_ledger_that_can_not_be_read_is_named(place: Place) -> None:
    place.sink().write(calls_of([(0, 0, 1, 1.0)]))
    ledger = f"{place.day}/_doc/ledger-{instant(MIDNIGHT)}"
    httpx.put(ledger, json={"headrace_ledger": "other"}, timeout=60).raise_for_status()
    with pytest.raises(Unavailable, match=r"ledger-2026-11-23T00:00:00.000000000Z can't be read"):
        place.sink().write(calls_of([(0, 1, 1, 1.0)]))
    httpx.delete(ledger, timeout=60).raise_for_status()
    place.sink().write(calls_of([(0, 1, 1, 4.0)]))
    assert place.calls() == {"c0>s0": 4}


def test_of_an_hour_that_is_too_large_few_letters_say_what_to_do(httpserver: HTTPServer) -> None:
    """As http.max_content_length has it: an answer without a body."""

    def answer(request: Request) -> Response:
        status = 413 if request.method in {"PUT", "POST"} and "_doc" in request.path else 404
        if "_create" in request.path:
            status = 413
        return Response("", status, {"X-Elastic-Product": "Elasticsearch"})

    httpserver.expect_request(re.compile(".*")).respond_with_handler(answer)
    sink = JaegerCalls(Settings(hosts=(httpserver.url_for("").rstrip("/"),)), "", MINUTE)
    frame = a_day(50).filter(pl.col("window_start") < MIDNIGHT + HOUR)
    refused = sink.write(frame)
    assert refused is not None
    assert refused.height == 3  # of 3,000 rows
    said = set(refused["reason"])
    assert all(
        "413; the calls of an hour are more than http.max_content_length" in one for one in said
    )
    restored = sink.restore(refused["payload"].to_list())
    assert restored.sort("series", "window_start").equals(frame.sort("series", "window_start"))
    with pytest.raises(ValueError, match=r"\w"):
        sink.restore([b"{}"])
