"""The flow ``traces``: raw spans from Kafka to rates, errors, durations and the map of services.

    raw spans ─► decode ─► traces ─► windows ─► scoring ─► rollups topic
                   │          │         │          └─────► anomalies topic, alerts topic
                   │          ├► sampling ───────────────► spans topic
                   │          └─ late ──┴────────────────► late topic
                   └─ rejected ──────────────────────────► dead-letter topic

What comes after the traces is as in the flow ``metrics``: rollups of what was counted are rollups as any. An
alert of a service names what is probably behind it.

Run it with ``python -m bytewax.run flows.traces``; add ``-w 2`` for two workers, and
``-r DIR -s 5 -b 0`` to survive a crash without a gap.
"""

from __future__ import annotations

import sys

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from flows.inputs import kafka_source, traces_decoding
from flows.outputs import Outputs
from flows.process import serve
from flows.process.compiling import tell_compiling
from flows.rollups import rolled_up
from flows.settings import Settings
from flows.warm_up import compile_kernels
from operators.bytewax import by_shard, only, read
from operators.contracts.items import (
    Candidates,
    Events,
    Kept,
    Late,
    Rejected,
    ShadowEvents,
    SpanBatch,
)
from operators.kafka.gaps import lost_events
from operators.kafka.low_water import LowWater
from operators.series.enrichment import Enricher
from operators.traces import warm_up
from operators.traces.sampling import sampling
from operators.traces.step import traces

__all__ = ["build"]

NAME = "traces"
_POLL_BYTES = 16 << 20
"""What shards do once a poll is much of what a poll of half the size costs."""


def build(settings: Settings, outputs: Outputs) -> Dataflow:
    """Return the dataflow; at least one input must bring traces."""
    compile_kernels((), settings.enrichment)
    enrichment = Enricher(settings.enrichment)
    warm_up.compile_kernels({entry.encoding for entry in settings.inputs_of(NAME)}, enrichment)
    flow = Dataflow(NAME)
    rollups, rules = settings.rollups, settings.traces
    low_water = LowWater(rollups.windows[-1], 0, held_by_traces(settings))
    topics = tuple(entry.topic for entry in settings.inputs_of(NAME))
    source = kafka_source(settings, NAME, topics, low_water, poll_bytes=_POLL_BYTES)
    polled = read("kafka", flow, source)
    decoded = op.flat_map("decode", polled, traces_decoding(settings, low_water))
    shards = by_shard("traces_shards", op.filter_map("spans", decoded, only(SpanBatch)))
    traced = op.key_rm(
        "traced",
        traces("traces", shards, settings.tracing, enrichment, settings.kafka.readers),
    )
    late_spans: Stream[Late] = op.filter_map("late_spans", traced, only(Late))
    keeping = settings.tracing.sampling
    all_kept: Stream[Kept] | None = None
    if keeping is not None:
        candidates = by_shard(
            "root_operations", op.filter_map("candidates", traced, only(Candidates))
        )
        memory = 2 * (keeping.max_age + rules.hold)
        sampled = op.key_rm(
            "sampled",
            sampling("sampling", candidates, keeping, rules.shards, memory),
        )
        kept: Stream[Kept] = op.filter_map(
            "kept", op.merge("all_kept", traced, sampled), only(Kept)
        )
        outputs.spans(kept)
        all_kept = kept
        lost: Stream[Late] = op.filter_map("lost_spans", sampled, only(Late))
        late_spans = op.merge("all_late_spans", late_spans, lost)
    events, late = rolled_up(
        settings,
        outputs,
        traced,
        low_water,
        settings.rollups_of_traces,
        rules.shards,
        rollups.idle_timeout,
        silences=False,  # the flow metrics tells of them
        causes=True,
        kept=all_kept,
    )
    outputs.late(op.merge("all_late", late, late_spans))
    losses = op.filter_map("losses", polled, lost_events)
    named: Stream[Events] = op.filter_map("named_with_ids", decoded, only(Events))
    every: Stream[Events | ShadowEvents] = op.merge("all_events", events, losses, named)
    outputs.alerts(op.filter_map("events", every, only(Events, ShadowEvents)))
    outputs.dead_letters(op.filter_map("rejected", decoded, only(Rejected)))
    return flow


def held_by_traces(settings: Settings) -> int:
    """Return how long before the first window of rollups that can change spans are needed."""
    rules, window = settings.traces, settings.rollups.windows[0]
    waits = rules.sampling.max_age if rules.sampling is not None else 0
    return rules.hold + 2 * window + waits


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME)
        if not settings.inputs_of(NAME):
            print("headrace: inputs: none has signal: traces", file=sys.stderr)
            raise SystemExit(2)
        flow = build(settings, Outputs(settings, NAME))
        tell_compiling()
        return flow
    raise AttributeError(name)
