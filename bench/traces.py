"""What a span costs from message to rollup: ``python -m bench.traces [--spans N] [--by-id] [--json] [--collector [--live N]]``.

Traces of twelve services go through the very steps of the flow ``traces``, one after the other in this
process, without a broker or an engine: everything on (calls, service graph, and sampling by errors, the
operation's own percentile, an attribute, and the rest within a budget; causes are ranked), or with
``--no-sampling`` calls, graph and causes alone. CPU time of the process is taken by step, in nanoseconds a span.

With ``--collector`` the whole flow and OpenTelemetry's collector read the same spans from a broker
(``bench.beside_collector``), ``--turns`` times, and what is printed is microseconds of each and their ratio;
with ``--live N``, too, the spans come as they happen, so many a second.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections.abc import Sequence
from time import process_time
from typing import Any, Final

import numpy as np
import polars as pl
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from bench.beside_collector import compare, report
from flows.inputs import traces_decoding
from flows.settings import Settings
from operators.columns.messages import Messages
from operators.contracts.clock import SystemClock
from operators.contracts.frames import shard_of
from operators.contracts.items import (
    Admitted,
    Candidates,
    Closed,
    Kept,
    Named,
    Passed,
    Polled,
    ShardBatch,
)
from operators.contracts.watermark import Mark
from operators.kafka.low_water import LowWater
from operators.series.enrichment import Enricher
from operators.traces.explaining import CallsLogic, ExplainingLogic
from operators.traces.sampling import SamplingLogic
from operators.traces.step import TracingLogic
from operators.windows.step import WindowLogic

_SERVICES = 12
_SECOND = 1_000_000_000
_BEGIN = 1_767_225_600 * _SECOND
_A_MESSAGE = 1000
_A_SECOND = 10_000
_POLL = 25_000  # spans


def messages(spans: int, seed: int = 1, a_second: int = _A_SECOND) -> list[bytes]:
    """Return messages of about a thousand spans of some 300 bytes, ten to a trace, in order of time.

    Args:
        spans: how many there are in all.
        seed: of chance.
        a_second: how many of them ended in each second.
    """
    chance = random.Random(seed)
    found, groups, data = [], None, TracesData()
    written = 0
    at = _BEGIN
    while written < spans:
        if written % _A_MESSAGE == 0 or groups is None:
            if groups is not None:
                found.append(data.SerializeToString())
            data = TracesData()
            groups = []
            for service in range(_SERVICES):
                group = data.resource_spans.add()
                attributes = group.resource.attributes
                attributes.add(key="service.name").value.string_value = f"service-{service}"
                attributes.add(key="host.name").value.string_value = f"host-{service}"
                groups.append(group.scope_spans.add())
        trace, parent = chance.getrandbits(128).to_bytes(16, "big"), b""
        at += 10 * _SECOND // a_second
        for depth in range(10):
            service = (depth + 1) // 2 if depth else 0
            own = chance.getrandbits(64).to_bytes(8, "big")
            span = groups[service % _SERVICES].spans.add(
                trace_id=trace,
                span_id=own,
                parent_span_id=parent,
                name=f"GET /api/v1/resource/{chance.randrange(20)}/items",
                kind=3 if depth % 2 else 2,
                start_time_unix_nano=at - chance.randrange(1, 900_000_000),
                end_time_unix_nano=at,
            )
            span.name = f"operation-{service}-{chance.randrange(5)}"
            for key, value in (
                ("http.request.method", "GET"),
                ("http.route", "/api/v1/resource/{id}/items"),
                ("server.address", "service.default.svc"),
                ("network.protocol.version", "1.1"),
                ("user_agent.original", "Mozilla/5.0"),
            ):
                span.attributes.add(key=key).value.string_value = value
            span.attributes.add(key="http.response.status_code").value.int_value = 200
            if chance.random() < 0.01:
                span.status.code = 2
            parent = own
            written += 1
    if groups is not None:
        found.append(data.SerializeToString())
    return found


def by_trace(values: Sequence[bytes]) -> list[bytes]:
    """Return messages of which each has the spans of one resource and trace.

    So the collector's Kafka exporter writes them with ``partition_traces_by_id``.
    """
    found = []
    for value in values:
        for whole in TracesData.FromString(value).resource_spans:
            parts: dict[bytes, TracesData] = {}
            for scope in whole.scope_spans:
                for span in scope.spans:
                    part = parts.setdefault(span.trace_id, TracesData())
                    if not part.resource_spans:
                        part.resource_spans.add().resource.CopyFrom(whole.resource)
                        part.resource_spans[0].scope_spans.add()
                    part.resource_spans[0].scope_spans[0].spans.append(span)
            found += [part.SerializeToString() for part in parts.values()]
    return found


class Steps:
    """The steps of the flow, with the CPU seconds that each has taken."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.seconds = dict.fromkeys(("decode", "traces", "sampling", "windows", "causes"), 0.0)
        self.kept = 0
        self.rollups = 0
        low_water = LowWater()
        self.decode = traces_decoding(settings, low_water)
        enrichment = Enricher(settings.enrichment)
        self.traces = [
            TracingLogic(settings.tracing, enrichment, 1, SystemClock(), None)
            for _ in range(settings.traces.shards)
        ]
        rules = settings.tracing.sampling
        self.sampling = [
            SamplingLogic(rules, settings.traces.shards, 10**12, None)
            for _ in range(settings.traces.shards if rules is not None else 0)
            if rules is not None
        ]
        self.windows = [
            WindowLogic(settings.rollups_of_traces, settings.traces.shards, SystemClock(), None)
            for _ in range(settings.rollups_of_traces.shards)
        ]
        self.calls = [CallsLogic(settings.judged) for _ in self.windows]
        self.causes = ExplainingLogic(settings.judged, len(self.calls), SystemClock(), None)

    def take(self, polled: Polled) -> None:
        """Take a poll through all steps."""
        began = process_time()
        batches = self.decode(polled)
        decoded = process_time()
        told = [item for batch in batches for item in self.traces[batch.shard].on_batch([batch])]  # type: ignore[union-attr, list-item]
        traced = process_time()
        for item in told:
            if isinstance(item, Kept):
                self.kept += item.spans.height
            elif isinstance(item, Candidates):
                for kept in self.sampling[item.shard].on_batch([item]):
                    self.kept += kept.spans.height if isinstance(kept, Kept) else 0
        sampled = process_time()
        of_shards = []
        for item in told:
            if isinstance(item, Named):
                where = shard_of(item.series["series"].to_numpy(), len(self.windows))
                for shard, logic in enumerate(self.windows):
                    part = item.series.filter(pl.Series(where == shard))
                    if part.height:
                        logic.on_batch([Admitted(shard, item.tenant, part)])
            elif isinstance(item, ShardBatch):
                closed = self.windows[item.shard].on_batch([item])
                of_shards.append((item.shard, closed))
                self.rollups += sum(
                    getattr(each, "frame", pl.DataFrame()).height for each in closed
                )
        rolled_up = process_time()
        for shard, closed in of_shards:
            rollups = [each for each in closed if isinstance(each, Closed | Passed)]
            for seen in self.calls[shard].on_batch(rollups):
                self.causes.on_batch([(str(shard), seen)])
        self.seconds["causes"] += process_time() - rolled_up
        self.seconds["decode"] += decoded - began
        self.seconds["traces"] += traced - decoded
        self.seconds["sampling"] += sampled - traced
        self.seconds["windows"] += rolled_up - sampled


EVERYTHING: Final = {
    "slow_percentile": 99,
    "slow_history": "1m",
    "attributes": {"http.request.method": "DELETE"},
    "rest": 10,
    "spans_per_second": 2_000,
}


def measure(
    values: Sequence[bytes], spans: int, sampling: dict[str, Any] | None = EVERYTHING
) -> dict[str, Any]:
    """Take messages through the steps, and return nanoseconds a span by step."""
    settings = Settings(
        inputs=({"topic": "spans", "signal": "traces"},),  # type: ignore[arg-type]
        traces={"sampling": sampling},  # type: ignore[arg-type]
    )
    steps = Steps(settings)
    size = max(_POLL * len(values) // spans, 1)
    for first in range(0, len(values), size):
        part = values[first : first + size]
        steps.take(
            Polled(
                0, "spans", Messages.of(part), np.zeros(len(part), np.int32),
                np.arange(first, first + len(part)), {"spans/0": Mark.LIVE},
            )
        )  # fmt: skip
    steps.take(
        Polled(
            0, "spans", [], np.zeros(0, np.int32), np.zeros(0, np.int64), {"spans/0": Mark.ENDED}
        )
    )
    by_step = {name: seconds / spans * 1e9 for name, seconds in steps.seconds.items()}
    return {
        "spans": spans,
        "bytes_a_span": sum(map(len, values)) / spans,
        "rollups": steps.rollups,
        "kept": steps.kept,
        "ns_a_span": {**by_step, "all": sum(by_step.values())},
    }


def _beside(
    values: Sequence[bytes],
    spans: int,
    sampling: dict[str, Any] | None,
    turns: int,
    *,
    live: int | None,
    as_json: bool,
) -> int:
    def say(text: str) -> None:
        print(text, file=sys.stderr)

    found = compare(values, spans, sampling, turns, say, live=live)
    told = report(found)
    if as_json:
        print(json.dumps(told))
        return 0
    for turn in found:
        line = f"Headrace {turn.headrace:.2f} µs a span, the collector {turn.collector:.2f} µs"
        if live is not None:
            ours, theirs = (used * live / 1e4 for used in (turn.headrace, turn.collector))
            line += f": {ours:.1f} and {theirs:.1f} % of a processor"
        print(line)
    print(f"the collector takes {told['ratio']:.1f} times as much")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print a line a step."""
    parser = argparse.ArgumentParser(prog="python -m bench.traces", description=__doc__)
    parser.add_argument("--spans", type=int, default=600_000)
    parser.add_argument("--no-sampling", action="store_true")
    parser.add_argument("--collector", action="store_true")
    parser.add_argument(
        "--live", type=int, help="with --collector: so many spans a second, as they happen"
    )
    parser.add_argument(
        "--by-id", action="store_true", help="a message for each trace and resource"
    )
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    sampling = None if chosen.no_sampling else EVERYTHING
    values = messages(chosen.spans, a_second=chosen.live or _A_SECOND)
    if chosen.by_id:
        values = by_trace(values)
    if chosen.collector:
        return _beside(
            values, chosen.spans, sampling, chosen.turns, live=chosen.live, as_json=chosen.json
        )
    measure(messages(20_000), 20_000, sampling)  # compiles what is left
    found = measure(values, chosen.spans, sampling)
    if chosen.json:
        print(json.dumps(found))
        return 0
    print(
        f"{found['spans']:,} spans of {found['bytes_a_span']:.0f} bytes, {found['rollups']:,} rollups, "
        f"{found['kept']:,} kept"
    )
    for name, nanoseconds in found["ns_a_span"].items():
        print(f"{name:>8} {nanoseconds:7.0f} ns a span")
    return 0


if __name__ == "__main__":
    sys.exit(main())
