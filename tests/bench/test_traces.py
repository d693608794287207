"""The bench of traces: its messages are what it says, and every step of the flow is measured."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from bench.beside_collector import Turn, report
from bench.traces import measure, messages

SPANS = 3_000


def test_messages_hold_so_many_spans_ten_to_a_trace() -> None:
    values = messages(SPANS)
    assert values == messages(SPANS)
    spans = [
        span
        for value in values
        for group in TracesData.FromString(value).resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    assert len(spans) == SPANS
    assert len({span.trace_id for span in spans}) == SPANS / 10


def test_each_step_is_measured() -> None:
    found = measure(messages(SPANS), SPANS)
    assert set(found["ns_a_span"]) == {"decode", "traces", "sampling", "windows", "causes", "all"}
    assert found["rollups"] > 0
    assert 0 < found["kept"] < SPANS


def test_the_ratio_is_of_each_turn() -> None:
    found = report([Turn(1.0, 10.0), Turn(2.0, 10.0), Turn(4.0, 48.0)])
    assert found == {"headrace": 2.0, "collector": 10.0, "ratio": 10.0}
