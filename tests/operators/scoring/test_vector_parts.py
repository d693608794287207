"""What producers call rate, errors, duration and saturation, and what rollups add to them."""

import json
from typing import Any

import polars as pl
import pytest

from flows.settings.vectors import SignalVector
from operators.contracts.frames import ROLLUPS
from operators.contracts.items import Closed
from operators.scoring.vector_parts import UNIT, VectorPartsLogic

MINUTE = 60 * 10**9


def parts(*rows: tuple[str, str, str, dict[str, str], dict[str, Any]], **given: Any) -> dict:
    """Amount and weight by signal, of rollups: name, kind, unit, labels and numbers of each."""
    frame = pl.DataFrame(
        [
            {
                "tenant": "default", "series": at, "name": name, "kind": kind, "unit": unit,
                "labels": json.dumps({"service.name": "shop", **labels}, separators=(",", ":")),
                "window": MINUTE, "window_start": 0, "revision": 0, **numbers,
            }
            for at, (name, kind, unit, labels, numbers) in enumerate(rows)
        ],
        schema=ROLLUPS,
        orient="row",
    )  # fmt: skip
    vector = SignalVector.model_validate({"name": "golden", **given}).vector(MINUTE)
    out = VectorPartsLogic([vector]).on_batch([Closed(frame)])
    return {
        row["signal"]: (row["amount"] * UNIT, row["weight"] * UNIT)
        for item in out
        for row in item.frame.iter_rows(named=True)
    }


def test_spans_of_the_flow_traces_that_were_received_count_in_seconds() -> None:
    name, kind = "traces.span.metrics.duration", "delta_histogram"
    server, client = {"span.kind": "SPAN_KIND_SERVER"}, {"span.kind": "SPAN_KIND_CLIENT"}
    found = parts(
        (name, kind, "ms", server | {"status.code": "STATUS_CODE_UNSET"}, {"count": 30, "sum": 900.0}),
        (name, kind, "ms", server | {"status.code": "STATUS_CODE_ERROR"}, {"count": 10, "sum": 100.0}),
        (name, kind, "ms", client | {"status.code": "STATUS_CODE_ERROR"}, {"count": 99, "sum": 9e9}),
    )  # fmt: skip
    assert found["rate"][0] == 40.0
    assert found["errors"] == (10.0, 40.0)
    assert found["duration"] == (pytest.approx(1.0), 40.0)
    assert "saturation" not in found


def test_counters_of_prometheus_and_idle_processors() -> None:
    counter, cpu = (
        ("http_requests_total", "cumulative", ""),
        ("system.cpu.utilization", "gauge", "1"),
    )
    found = parts(
        (*counter, {"code": "200"}, {"increase": 50.0}),
        (*counter, {"code": "503"}, {"increase": 2.0}),
        (*cpu, {"state": "idle", "cpu": "0"}, {"mean": 0.75, "count": 4}),
        (*cpu, {"state": "idle", "cpu": "1"}, {"mean": 0.25, "count": 4}),
        (*cpu, {"state": "user", "cpu": "1"}, {"mean": 0.7, "count": 4}),
    )
    assert found["rate"][0] == 52.0
    assert found["errors"] == (2.0, 52.0)
    assert found["saturation"] == (1.0, 2.0)


def test_failures_that_are_a_metric_of_their_own_and_what_is_of_nobody() -> None:
    signals = {
        "lost": {"metric": "lost_total", "of": "sent_total", "take": "ratio"},
        "depth": {"metric": "depth", "take": "mean"},
    }
    found = parts(
        ("lost_total", "delta", "", {}, {"increase": 3.0}),
        ("sent_total", "delta", "", {}, {"increase": 60.0}),
        ("depth", "gauge", "", {"service.name": ""}, {"mean": 5.0, "count": 1}),
        signals=signals,
    )
    assert found == {"lost": (3.0, 60.0)}


def test_numbers_that_are_none_add_nothing() -> None:
    name, kind = "http.server.request.duration", "delta_histogram"
    found = parts(
        (name, kind, "s", {}, {"count": 3, "sum": float("nan")}),
        (name, kind, "s", {"http.route": "/"}, {"count": 3, "sum": 6.0}),
    )
    assert found["duration"] == (6.0, 3.0)
    assert found["rate"][0] == 6.0
