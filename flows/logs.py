"""The flow ``logs``: raw logs from Kafka to records that are parsed, scrubbed and grouped.

    raw logs ─► decode, join lines, parse, scrub, mask ─► group ─► records: logs topic
                   └─ rejected ─► dead-letter       ▲   ├────► changes of templates: templates topic
    commands topic ─► what is asked of exceptions ──┘   ├────► counts: a topic of OTLP metrics
                                                        └────► events: alerts topic
                   └─ lines of spans ─► what follows what ───► changes of services: causes topic

Run it with ``python -m bytewax.run flows.logs``; add ``-w 2`` for two workers, and
``-r DIR -s 5 -b 0`` to remember templates and exceptions over a restart.
"""

from __future__ import annotations

import sys

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.exception_commands import ExceptionCommands
from flows.inputs import kafka_source, logs_decoding
from flows.outputs import Outputs
from flows.process import serve
from flows.process.compiling import tell_compiling
from flows.settings import Settings
from operators.bytewax import by_shard, only, read
from operators.contracts.items import (
    Events,
    Grouped,
    LogBatch,
    Rejected,
    SpanLines,
)
from operators.kafka import fetching
from operators.kafka.gaps import lost_events
from operators.logs.courses import span_lines
from operators.logs.courses.changing import log_changes
from operators.logs.courses.span_lines import SpanLineReading
from operators.logs.decoding import compile_kernels
from operators.logs.joining.held_lines import HeldLines
from operators.logs.step import grouping

__all__ = ["build"]

NAME = "logs"


def build(settings: Settings, outputs: Outputs) -> Dataflow:
    """Return the dataflow; at least one input must bring logs."""
    asked = settings.topics.commands
    topics = (*(entry.topic for entry in settings.inputs_of(NAME)), asked)
    fetching.compile_kernels()
    compile_kernels({entry.encoding for entry in settings.inputs_of(NAME)})
    span_lines.compile_kernels()
    flow = Dataflow(NAME)
    held = HeldLines()
    # What waits for more lines is let go when nothing came for as long as it would be joined.
    source = kafka_source(settings, NAME, topics, held, idle_timeout=settings.logs.line_timeout)
    polled = read("kafka", flow, source)
    lines = SpanLineReading(
        logs_decoding(settings, held),
        topics[:-1],
        shards=settings.logs.shards,
        disorder=settings.rollups.disorder,
    )
    decoded = op.flat_map("decode", polled, lines)
    batches = op.filter_map("batches", decoded, only(LogBatch))
    commands = op.flat_map("commands", polled, ExceptionCommands(asked, settings.logs.shards))
    shards = by_shard("shards", op.merge("for_shards", batches, commands))
    grouped = op.key_rm("grouped", grouping("grouping", shards, settings.logs))

    of_spans = by_shard("of_spans", op.filter_map("lines", decoded, only(SpanLines)))
    changes = log_changes(
        "changes",
        of_spans,
        settings.judged,
        settings.kafka.readers,
        settings.rollups.disorder,
        settings.rollups.partition_lag,
    )
    outputs.causes(op.key_rm("all_changes", changes))
    outputs.logs(op.filter_map("records", grouped, only(Grouped)))
    losses = op.filter_map("losses", polled, lost_events)
    outputs.alerts(op.merge("all_events", op.filter_map("events", grouped, only(Events)), losses))
    outputs.dead_letters(op.filter_map("rejected", decoded, only(Rejected)))
    return flow


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME)
        if not settings.inputs_of(NAME):
            print("headrace: inputs: none has signal: logs", file=sys.stderr)
            raise SystemExit(2)
        flow = build(settings, Outputs(settings, NAME))
        tell_compiling()
        return flow
    raise AttributeError(name)
