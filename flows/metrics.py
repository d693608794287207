"""The flow ``metrics``: raw metrics from Kafka to rollups, scores, anomalies and alert events.

    raw metrics ─► decode ──────────► windows ─► scoring ─► rollups topic
                     ├─► admission ─────┘ │         ├─────► anomalies topic
                     │       └────────────│─────────┴─────► alerts topic
                     │                    └─ late ────────► late topic
                     ├─ what rules select ────────────────► samples topic
                     └─ rejected ─────────────────────────► dead-letter topic

It writes to Kafka alone: flow ``storage`` carries on to databases and files what is on the topics.

Run it with ``python -m bytewax.run flows.metrics``; add ``-w 2`` for two workers, and
``-r DIR -s 5 -b 0`` to survive a crash without a gap.
"""

from __future__ import annotations

from typing import Final

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from flows.inputs import kafka_source, metrics_decoding, metrics_tap
from flows.outputs import Outputs
from flows.process import serve
from flows.process.compiling import tell_compiling
from flows.rollups import rolled_up
from flows.rule_faults import refused_rules
from flows.settings import Settings
from flows.warm_up import compile_kernels
from operators.bytewax import only, read
from operators.contracts.items import Events, Rejected, ShadowEvents, Tapped, Timed
from operators.kafka.gaps import lost_events
from operators.kafka.low_water import LowWater
from operators.series.clock_alerts import clock_alerts

__all__ = ["build"]

NAME = "metrics"
HISTORY: Final = 300_000_000_000
"""Nanoseconds of input before an open window that a start without its recovery store reads at least,
so that counters that are written every few minutes have a point to rise from."""


def build(settings: Settings, outputs: Outputs) -> Dataflow:
    """Return the dataflow."""
    compile_kernels(
        {entry.encoding for entry in settings.inputs_of("metrics")}, settings.enrichment
    )
    flow = Dataflow(NAME)
    rollups = settings.rollups
    low_water = LowWater(rollups.windows[-1], max(rollups.counter_horizon, HISTORY))
    polled = read("kafka", flow, kafka_source(settings, NAME, low_water=low_water))
    tap = metrics_tap(settings)
    decoded = op.flat_map("decode", polled, metrics_decoding(settings, low_water, tap))

    events, late = rolled_up(
        settings,
        outputs,
        decoded,
        low_water,
        rollups,
        settings.kafka.readers,
        rollups.idle_timeout,
        silences=True,
    )
    outputs.late(late)
    if tap is not None:
        outputs.samples(op.filter_map("tapped", decoded, only(Tapped)))
    timed = op.key_on("partitions", op.filter_map("timed", decoded, only(Timed)), place_of)
    clocks = op.key_rm("clocks", clock_alerts("clock_alerts", timed, settings.limits.severity))
    losses = op.filter_map("losses", polled, lost_events)
    every: Stream[Events | ShadowEvents] = op.merge("all_events", events, losses, clocks)
    outputs.alerts(op.filter_map("events", every, only(Events, ShadowEvents)))
    outputs.dead_letters(op.filter_map("rejected", decoded, only(Rejected)))
    return flow


def place_of(item: Timed) -> str:
    """Return the partition that a report is of."""
    return item.place


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME)
        with refused_rules():
            flow = build(settings, Outputs(settings, NAME))
        tell_compiling()
        return flow
    raise AttributeError(name)
