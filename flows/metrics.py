"""The flow ``metrics``: raw metrics from Kafka to rollups, scores, anomalies and alert events.

    raw metrics ─► decode ──────────► windows ─► scoring ─► rollups: InfluxDB, lake, rollups topic
                     ├─► admission ─────┘ │         ├─────► anomalies: Elasticsearch
                     │       └────────────│─────────┴─────► alert events: alerts topic, Elasticsearch
                     │                    └─ late ────────► late topic
                     └─ rejected ─────────────────────────► dead-letter topic

Run it with ``python -m bytewax.run flows.metrics``; add ``-w 2`` for two workers, and
``-r DIR -s 5 -b 0`` to survive a crash without a gap.
"""

from __future__ import annotations

import bytewax.operators as op
from bytewax.dataflow import Dataflow, Stream

from flows.inputs import kafka_source, metrics_decoding
from flows.outputs import Outputs
from flows.serving import serve
from flows.settings import Settings
from operators.admission import Admitted, Refused, admission
from operators.cardinality import Named
from operators.decoding import Rejected, ShardBatch
from operators.events import Events
from operators.low_water import LowWater
from operators.routing import only
from operators.scoring import Scored, scoring
from operators.warm_up import compile_kernels
from operators.windows import Closed, Late, windows

__all__ = ["build"]

NAME = "metrics"


def build(settings: Settings, outputs: Outputs) -> Dataflow:
    """Return the dataflow."""
    compile_kernels({entry.encoding for entry in settings.inputs}, settings.enrichment)
    flow = Dataflow(NAME)
    low_water = LowWater()
    polled = op.input("kafka", flow, kafka_source(settings, NAME, low_water=low_water))
    decoded = op.flat_map("decode", polled, metrics_decoding(settings, low_water))

    named = op.key_on("tenants", op.filter_map("named", decoded, only(Named)), tenant_of)
    limits, evict_after = settings.limits, settings.rollups.evict_after
    answers = op.key_rm("answers", admission("admission", named, limits, evict_after))
    verdicts: Stream[Admitted | Refused] = op.filter_map(
        "verdicts", answers, only(Admitted, Refused)
    )

    batches = op.filter_map("batches", decoded, only(ShardBatch))
    shards = op.key_on("shards", op.merge("to_shards", batches, verdicts), shard_of)
    windowed = windows("windows", shards, settings.rollups, settings.kafka.readers, low_water)

    closed = op.filter_map_value("closed", windowed, only(Closed))
    scored = op.key_rm("scored", scoring("scoring", closed, settings.scoring, settings.judged))

    outputs.rollups(op.filter_map("rollups", scored, only(Scored)))
    events = op.merge("all_events", scored, answers)
    outputs.alerts(op.filter_map("events", events, only(Events)))
    outputs.late(op.filter_map("late", op.key_rm("refused", windowed), only(Late)))
    outputs.dead_letters(op.filter_map("rejected", decoded, only(Rejected)))
    return flow


def shard_of(item: ShardBatch | Admitted | Refused) -> str:
    """Return the key of the shard that an item is for."""
    return str(item.shard)


def tenant_of(item: Named) -> str:
    """Return the tenant that names are of."""
    return item.tenant


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME)
        return build(settings, Outputs(settings, NAME))
    raise AttributeError(name)
