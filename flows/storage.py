"""The flow ``storage``: from Kafka to databases and files.

    rollups topic ─┬─► InfluxDB
                   ├─► lake
                   └─► rollups as JSON, for subscribers
    anomalies topic ─────┬─► Elasticsearch
    alerts topic ────────┤
    notifications topic ─┤
    incidents topic ─────┘
    logs topic ─┬─► Elasticsearch, ClickHouse, lake
    spans topic ┘

Each destination reads for itself, with a consumer group of its own, so none waits for another.

Run it with ``python -m bytewax.run flows.storage``. It needs no recovery store: what is done is in
the offsets that its groups have committed. ``-w`` and a cluster spread destinations, and their
``storage.readers``, over workers and machines.
"""

from __future__ import annotations

from typing import Any

from bytewax.dataflow import Dataflow

from flows.destinations import destinations, intakes
from flows.outputs import dead_letter
from flows.process import serve
from flows.settings import Settings
from operators.bytewax import read, write
from operators.contracts.engine import Writer
from sinks.carriers import Carriers

__all__ = ["build"]

NAME = "storage"


def build(settings: Settings) -> Dataflow:
    """Return the dataflow."""
    flow = Dataflow(NAME)
    carriers = Carriers(
        settings.kafka,
        intakes(settings),
        lambda: dead_letter(settings, NAME),
        flow=NAME,
        readers=settings.storage.readers,
        until_end=settings.run.until == "end",
        since=settings.run.since,
    )
    write("carried", read("destinations", flow, carriers), _Nothing)
    return flow


class _Nothing(Writer[Any]):
    """The end that a dataflow must have: what there is was written by the carriers."""

    def write(self, items: list[Any]) -> None:
        pass

    def close(self) -> None:
        pass


def __getattr__(name: str) -> Dataflow:
    """Make the flow when the Bytewax runner asks for it, not when this module is imported."""
    if name == "flow":
        settings = serve(NAME, destinations=destinations, keeps_state=False)
        return build(settings)
    raise AttributeError(name)
