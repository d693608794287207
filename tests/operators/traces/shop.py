"""Traces of a shop whose every call is known, and what there is to tell of them, worked out in plain Python."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

SECOND = 1_000_000_000
BEGIN = 1_767_225_600 * SECOND
WINDOW = 10 * SECOND
INTERNAL, SERVER, CLIENT, PRODUCER, CONSUMER = 1, 2, 3, 4, 5


@dataclass(frozen=True)
class Call:
    """A span."""

    trace: int
    id: int
    parent: int
    service: str
    name: str
    kind: int
    begun: int
    ended: int
    failed: bool = False
    attributes: dict[str, Any] = field(default_factory=dict)
    state: str = ""


def shop(seed: int, traces: int, seconds: float = 60.0) -> list[Call]:
    """Return traces of a web shop: a call from outside, one to a cart, to a database in old and new
    conventions, to a third party, and a message that two consumers get."""
    chance = random.Random(seed)
    calls: list[Call] = []
    for _ in range(traces):
        trace = chance.getrandbits(128)
        ids = [chance.getrandbits(63) | 1 for _ in range(9)]
        at = BEGIN + int(chance.random() * seconds * SECOND)

        def took(least: float, most: float) -> int:
            return int(chance.uniform(least, most) * 1e6)

        failed = chance.random() < 0.05
        lasted = took(5, 3000)
        front = Call(trace, ids[0], 0, "web", "GET /cart", SERVER, at, at + lasted, failed)
        calls.append(front)
        inner = Call(
            trace, ids[1], ids[0], "web", "cart", CLIENT, at + 10, at + lasted - 10, failed
        )
        calls.append(inner)
        calls.append(
            Call(
                trace, ids[2], ids[1], "cart", "Get", SERVER, at + 1000, at + lasted - 1000, failed
            )
        )
        old = chance.random() < 0.5
        database = {"db.system": "pg", "db.name": "carts"} if old else {
            "db.system.name": "pg", "db.namespace": "carts"
        }  # fmt: skip
        calls.append(
            Call(
                trace,
                ids[3],
                ids[2],
                "cart",
                "SELECT",
                CLIENT,
                at + 2000,
                at + lasted // 2,
                False,
                database,
            )
        )
        if chance.random() < 0.3:
            third = {"server.address" if old else "net.peer.name": "pay.example"}
            calls.append(
                Call(
                    trace, ids[4], ids[0], "web", "POST", CLIENT, at, at + lasted // 3, False, third
                )
            )
        if chance.random() < 0.4:
            sent = at + lasted // 2
            queue = {"messaging.system": "kafka", "messaging.destination.name": "orders"}
            calls.append(
                Call(
                    trace, ids[5], ids[0], "web", "send", PRODUCER, sent, sent + 1000, False, queue
                )
            )
            for number, service in ((6, "mail"), (7, "stock")):
                later = sent + took(100, 15_000)
                calls.append(
                    Call(
                        trace,
                        ids[number],
                        ids[5],
                        service,
                        "receive",
                        CONSUMER,
                        later,
                        later + took(0, 50),
                    )
                )
    return calls


def otlp(calls: Iterable[Call]) -> bytes:
    """Return a message of spans."""
    data = TracesData()
    groups: dict[str, Any] = {}
    for call in calls:
        if call.service not in groups:
            group = data.resource_spans.add()
            group.resource.attributes.add(key="service.name").value.string_value = call.service
            groups[call.service] = group.scope_spans.add()
        span = groups[call.service].spans.add(
            trace_id=call.trace.to_bytes(16, "big"),
            span_id=call.id.to_bytes(8, "big"),
            parent_span_id=call.parent.to_bytes(8, "big") if call.parent else b"",
            name=call.name,
            kind=call.kind,
            start_time_unix_nano=call.begun,
            end_time_unix_nano=call.ended,
            trace_state=call.state,
        )
        if call.failed:
            span.status.code = 2
        for key, value in call.attributes.items():
            pair = span.attributes.add(key=key).value
            if isinstance(value, str):
                pair.string_value = value
            else:
                pair.int_value = value
    return data.SerializeToString()


Key = tuple[str, tuple[tuple[str, str], ...], int]
"""Metric, labels, start of the window."""


def told(calls: Sequence[Call], hold: int) -> dict[Key, tuple[float, float]]:
    """Return what there is to tell of spans: of each series and window count and sum.

    The sum of a histogram is in its unit; a sum's count and sum are its increase.
    """
    found: dict[Key, list[float]] = defaultdict(list)
    once = {(call.trace, call.id, call.kind): call for call in calls}

    def window(call: Call) -> int:
        return call.ended - call.ended % WINDOW

    def tell(metric: str, start: int, value: float, **labels: str) -> None:
        found[
            metric,
            tuple(
                sorted(
                    (k.replace("_", ".") if k != "connection_type" else k, v)
                    for k, v in labels.items()
                    if v
                )
            ),
            start,
        ].append(value)

    def edge(
        start: int, client: str, server: str, kind: str, failed: bool, *took: float | None
    ) -> None:
        labels = {"client": client, "server": server, "connection_type": kind}
        tell("traces_service_graph_request_total", start, 1, **labels)
        tell("traces_service_graph_request_failed_total", start, float(failed), **labels)
        for side, value in zip(("client", "server"), took, strict=True):
            if value is not None:
                tell(f"traces_service_graph_request_{side}", start, value / 1e9, **labels)

    clients = {(c.trace, c.id): c for c in once.values() if c.kind in (CLIENT, PRODUCER)}
    received = set()
    kinds = {
        INTERNAL: "INTERNAL",
        SERVER: "SERVER",
        CLIENT: "CLIENT",
        PRODUCER: "PRODUCER",
        CONSUMER: "CONSUMER",
    }
    for call in once.values():
        labels = {
            "service_name": call.service,
            "span_name": call.name,
            "span_kind": f"SPAN_KIND_{kinds[call.kind]}",
        }
        status = "STATUS_CODE_ERROR" if call.failed else "STATUS_CODE_UNSET"
        tell("traces.span.metrics.calls", window(call), 1, **labels, status_code=status)
        tell("traces.span.metrics.errors", window(call), float(call.failed), **labels)
        tell(
            "traces.span.metrics.duration",
            window(call),
            (call.ended - call.begun) / 1e6,
            **labels,
            status_code=status,
        )
        if call.kind not in (SERVER, CONSUMER):
            continue
        took = call.ended - call.begun
        caller = clients.get((call.trace, call.id)) or clients.get((call.trace, call.parent))
        if call.parent == 0 and caller is None:
            edge(window(call), "user", call.service, "virtual_node", call.failed, None, took)
        elif caller is not None and abs(window(caller) - window(call)) <= hold:
            received.add((caller.trace, caller.id))
            kind = "messaging_system" if caller.kind == PRODUCER else ""
            edge(
                max(window(call), window(caller)), caller.service, call.service, kind,
                call.failed or caller.failed, caller.ended - caller.begun, took,
            )  # fmt: skip
    for call in clients.values():
        took, says = call.ended - call.begun, call.attributes
        if "db.system" in says or "db.system.name" in says:
            edge(window(call), call.service, "carts", "database", call.failed, took, took)
        elif (call.trace, call.id) not in received:
            for key, kind in (
                ("messaging.destination.name", "messaging_system"),
                ("server.address", "virtual_node"), ("net.peer.name", "virtual_node"),
            ):  # fmt: skip
                if key in says:
                    edge(window(call), call.service, says[key], kind, call.failed, took, took)
    return {key: (float(len(values)), math.fsum(values)) for key, values in found.items()}
