"""Calls between services: what Jaeger tells of our documents, and what the spans say.

Jaeger's own documents of them come from a Spark job, which is no part of it. What is expected is worked
out from the spans in plain Python, by the rules of the service graph.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import httpx
import numpy as np
import polars as pl

from operators.contracts.frames import SERVICE_CALLS
from tests.jaeger.golden import GoldenTrace
from tests.operators.traces.shop import CLIENT, CONSUMER, PRODUCER, SECOND, SERVER, Call, told

__all__ = ["a_day_of_calls", "expected_calls", "told_calls"]

_EDGES, _MINUTES, _MINUTE = 200, 1_440, 60 * SECOND
_HOLD = 30 * SECOND
_TOTAL = "traces_service_graph_request_total"

Links = dict[str, int]


def told_calls(client: httpx.Client, now: int) -> Links:
    """Return what Jaeger tells of the last week, which is what its page asks for."""
    parameters = {"endTs": str(now // 1_000_000 + 60_000), "lookback": str(7 * 86_400_000)}
    answer = client.get("/api/dependencies", params=parameters)
    answer.raise_for_status()
    return {f"{one['parent']} > {one['child']}": one["callCount"] for one in answer.json()["data"]}


def a_day_of_calls(now: int) -> tuple[pl.DataFrame, Links]:
    """Return a day of 200 edges in windows of a minute, up to this hour, and what Jaeger is to tell of it.

    Returns:
        A SERVICE_CALLS frame of 288,000 rows, and the calls.
    """
    begin = now // (60 * _MINUTE) * 60 * _MINUTE - _MINUTES * _MINUTE
    edge = np.repeat(np.arange(_EDGES), _MINUTES)
    calls = edge % 7 + 1
    rows = pl.DataFrame(
        {
            "series": edge.astype(np.uint64),
            "client": [f"client-{number}" for number in edge.tolist()],
            "server": [f"server-{number}" for number in edge.tolist()],
            "window_start": begin + np.tile(np.arange(_MINUTES), _EDGES) * _MINUTE,
            "count": np.ones(len(edge), np.int64),
            "calls": calls.astype(np.float64),
        },
        schema=SERVICE_CALLS,
    )
    return rows, {f"client-{n} > server-{n}": _MINUTES * (n % 7 + 1) for n in range(_EDGES)}


def expected_calls(traces: Sequence[GoldenTrace]) -> Links:
    """Return what the spans say, each tenant by itself."""
    calls: defaultdict[str, list[Call]] = defaultdict(list)
    for trace in traces:
        of_trace = _calls(trace)
        clients = {call.id for call in of_trace if call.kind == CLIENT}
        for call in of_trace:
            # Zipkin's: a call has one id on both of its sides.
            shared = call.kind == SERVER and call.id in clients
            calls[trace.tenant].append(replace(call, parent=call.id) if shared else call)
    found: Counter[str] = Counter()
    for of_tenant in calls.values():
        for (metric, labels, _), (count, _) in told(of_tenant, _HOLD).items():
            if metric == _TOTAL:
                pair = dict(labels)
                found[f"{pair['client']} > {pair['server']}"] += int(count)
    return dict(found)


def _calls(trace: GoldenTrace) -> list[Call]:
    found = []
    for group in trace.data.resource_spans:
        service = ""
        for pair in group.resource.attributes:
            if pair.key == "service.name":
                service = pair.value.string_value
        for span in (span for scope in group.scope_spans for span in scope.spans):
            if span.kind not in (SERVER, CLIENT, PRODUCER, CONSUMER):
                continue
            attributes: dict[str, Any] = {p.key: p.value.string_value for p in span.attributes}
            found.append(
                Call(
                    trace.number,
                    int.from_bytes(span.span_id, "big"),
                    int.from_bytes(span.parent_span_id, "big"),
                    service,
                    span.name,
                    span.kind,
                    span.start_time_unix_nano,
                    span.end_time_unix_nano,
                    span.status.code == 2,
                    attributes,
                )
            )
    return found
