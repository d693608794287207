"""The flow ``alerting``: samples of series that rules select, to alerts and recorded series.

    samples topic ─► decode ─► rules ─┬─► events: alerts topic
                       │              └─► recorded series: rollups topic
                       └─ rejected ─────► dead-letter topic

The flow ``metrics`` writes the samples. Rules are evaluated at multiples of their interval, as event
time passes, so a replay gives the same alerts. Beside ``/metrics`` the process answers
``/api/v1/rules`` and ``/api/v1/alerts`` as Prometheus does, of the rules that it has.

Run it with ``python -m bytewax.run flows.alerting``; add ``-w 2`` for two workers, and
``-r DIR -s 5 -b 0`` to remember over a restart which alerts are pending.
"""

from __future__ import annotations

import sys

import bytewax.operators as op
from bytewax.dataflow import Dataflow

from flows.inputs import kafka_source
from flows.outputs import Outputs
from flows.process import serve
from flows.process.compiling import tell_compiling
from flows.process.endpoint import offer
from flows.rule_faults import refused_rules
from flows.rule_places import agreed_rules
from flows.settings import Settings
from operators.bytewax import by_shard, only, read
from operators.columns import batches
from operators.contracts.items import Events, Recorded, Rejected, SampleBatch
from operators.kafka import fetching
from operators.kafka.gaps import lost_events
from operators.kafka.low_water import LowWater
from operators.rules.sampling import SampleReading
from operators.rules.state_view import Board
from operators.rules.step import rules
from operators.rules.warm_up import compile_kernels

__all__ = ["build"]

NAME = "alerting"


def build(settings: Settings, outputs: Outputs) -> Dataflow:
    """Return the dataflow; there must be rules."""
    asked = settings.rules
    loaded = agreed_rules(settings)
    fetching.compile_kernels()
    batches.compile_kernels()
    compile_kernels()
    flow = Dataflow(NAME)
    board = Board()
    low_water = LowWater()
    source = kafka_source(settings, NAME, (settings.topics.samples,), low_water)
    polled = read("kafka", flow, source)
    sampled = op.flat_map("decode", polled, SampleReading(loaded, asked.shards, low_water))
    shards = by_shard("shards", op.filter_map("batches", sampled, only(SampleBatch)))
    evaluated = rules(
        "rules",
        shards,
        loaded,
        asked,
        readers=settings.kafka.readers,
        tenants=settings.fixed_tenants,
        window=settings.rollups.windows[0] if asked.rollups else 0,
        rollup_shards=settings.rollups.shards,
        low_water=low_water,
        watch=board,
    )
    offer("/api/v1/rules", board.rules)
    offer("/api/v1/alerts", board.alerts)
    made = op.key_rm("evaluated", evaluated)
    losses = op.filter_map("losses", polled, lost_events)
    outputs.alerts(op.merge("all_events", op.filter_map("events", made, only(Events)), losses))
    outputs.recorded(op.filter_map("recorded", made, only(Recorded)))
    outputs.dead_letters(op.filter_map("rejected", sampled, only(Rejected)))
    return flow


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME)
        if not settings.rules.active:
            print("headrace: rules: there are neither files nor thresholds", file=sys.stderr)
            raise SystemExit(2)
        with refused_rules():
            flow = build(settings, Outputs(settings, NAME))
        tell_compiling()
        return flow
    raise AttributeError(name)
